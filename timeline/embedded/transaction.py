"""A transaction: several operations on raw timelines as one commit.

Rule: nothing happens before the `with` block ends without an error; then all of it does. The block
holds the engine's lock.
"""

from __future__ import annotations

from typing import Self

from timeline.commit.draft import Draft
from timeline.commit.group import Group
from timeline.embedded.calls.arguments import whole, writable
from timeline.embedded.calls.lease import Lease
from timeline.errors import ClosedError
from timeline.formats.given import FieldsLike, Value, encode_fields, encode_name


class Transaction:
    """Operations that become durable together when the `with` block ends without an error."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._engine = lease.engine
        self._draft: Draft | None = None

    def __enter__(self) -> Self:
        self._engine.lock.acquire()
        try:
            self._draft = self._engine.begin()
        except BaseException:
            self._engine.lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        draft, self._draft = self._draft, None
        group: Group | None = None
        try:
            if kind is None and draft is not None:
                group = draft.commit().group
        finally:
            self._engine.lock.release()
        if group is not None and draft is not None and not draft.empty:
            self._engine.wait(group)

    @property
    def draft(self) -> Draft:
        if self._draft is None:
            raise ClosedError("a transaction is used inside its `with` block")
        return self._draft

    def append(self, name: Value, fields: FieldsLike, *, seq: int | None = None) -> int:
        target = writable(encode_name(name))
        draft = self.draft
        given = None if seq is None else whole(seq, "seq")
        return draft.append(draft.find_or_create(target), encode_fields(fields), given)

    def delete(self, name: Value, *seqs: int) -> int:
        timeline = self.draft.find(writable(encode_name(name)))
        which = [whole(seq, "seq") for seq in seqs]
        return 0 if timeline is None else self.draft.delete(timeline, which)

    def trim(self, name: Value, *, before: int) -> int:
        timeline = self.draft.find(writable(encode_name(name)))
        below = whole(before, "before")
        return 0 if timeline is None else self.draft.trim(timeline, below)

    def drop(self, name: Value) -> bool:
        timeline = self.draft.find(writable(encode_name(name)))
        if timeline is not None:
            self.draft.drop(timeline)
        return timeline is not None
