"""A handle on one timeline: append to it, range over it, take care of it.

Rule: a handle keeps only a name, so it stays valid whatever happens to the timeline. A call that
writes returns when its commit is durable, unless its name says otherwise. What a handle reads is
in `reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

from timeline.admin.compact import compact
from timeline.commit.draft import Draft
from timeline.commit.group import Group
from timeline.embedded.calls.arguments import amount, whole, writable
from timeline.embedded.reader import TimelineReader
from timeline.engine.callbacks import Outcome
from timeline.errors import NotFoundError, shown
from timeline.formats import keys
from timeline.formats.given import FieldsLike, encode_fields
from timeline.formats.names import CONVERSATIONS
from timeline.formats.rows import Retention

T = TypeVar("T")


class TimelineHandle(TimelineReader):
    """One timeline, by name."""

    def append(self, fields: FieldsLike, *, seq: int | None = None) -> int:
        """Append one entry and return its number, durable.

        An explicit `seq` must exceed the head, else `SequenceError`.
        """
        writable(self.name)
        engine = self._engine
        items = encode_fields(fields)
        with engine.lock:
            if seq is None:
                number = engine.appender.append(self.name, items)
            else:
                given = whole(seq, "seq")
                draft = engine.begin()
                number = draft.append(draft.find_or_create(self.name), items, given)
                draft.commit()
            group = engine.group
        engine.wait(group)
        return number

    def append_many(self, entries: Iterable[FieldsLike]) -> range:
        """Append entries as one commit and return their numbers, durable."""
        writable(self.name)
        many = [encode_fields(fields) for fields in entries]
        if not many:
            return range(0)
        first = self._engine.commit(
            lambda draft: draft.append_many(draft.find_or_create(self.name), many)
        )
        return range(first, first + len(many))

    def append_async(self, fields: FieldsLike) -> Future[int]:
        """Append one entry; the future gives its number once it is durable, or the error.

        Callbacks of futures are called one after another in the order of commits, on a thread of
        their own. They may do what any other thread may. Raises `BusyError` also when very many of
        them are due.
        """
        writable(self.name)
        engine = self._engine
        items = encode_fields(fields)
        engine.callbacks.check_room()
        future = Outcome(engine.callbacks)
        with engine.lock:
            number = engine.appender.append(self.name, items)

            def settle(group: Group) -> None:
                if group.error is None:
                    future.set_result(number)
                else:
                    future.set_exception(group.error)

            engine.group.on_done(settle)
            engine.staged.notify()
        return future

    def trim(
        self,
        *,
        before: int | None = None,
        length: int | None = None,
        age_ms: int | None = None,
    ) -> int:
        """Remove entries numbered below `before`, all but the newest `length`, or those older than
        `age_ms`; how many were removed. The head stays: no number is given twice.
        """
        below = None if before is None else whole(before, "before")
        kept, age = amount(length, "length"), amount(age_ms, "age_ms")

        def work(draft: Draft) -> int:
            timeline = draft.find(self.name)
            if timeline is None:
                return 0
            removed = 0
            if below is not None:
                removed += draft.trim(timeline, below)
            if age is not None:
                removed += draft.trim_to_age(timeline, age)
            if kept is not None:
                removed += draft.trim_to_length(timeline, kept)
            return removed

        return self._commit(work)

    def delete(self, *seqs: int) -> int:
        """Delete single entries; how many of them were there."""
        which = [whole(seq, "seq") for seq in seqs]

        def work(draft: Draft) -> int:
            timeline = draft.find(self.name)
            return 0 if timeline is None else draft.delete(timeline, which)

        return self._commit(work)

    def replace(self, seq: int, fields: FieldsLike) -> None:
        """Give entry `seq` other fields. Raises `NotFoundError`."""
        which, items = whole(seq, "seq"), encode_fields(fields)

        def work(draft: Draft) -> None:
            timeline = draft.find(self.name)
            if timeline is None:
                raise NotFoundError(f"there is no timeline {shown(self.name)}")
            draft.replace(timeline, which, items)

        self._commit(work)

    def drop(self) -> bool:
        """Delete the timeline with everything in it; whether there was one."""

        def work(draft: Draft) -> bool:
            timeline = draft.find(self.name)
            if timeline is not None:
                draft.drop(timeline)
            return timeline is not None

        return self._commit(work)

    def set_metadata(self, fields: FieldsLike) -> dict[bytes, bytes]:
        """Merge fields into the metadata; an empty value removes. All of it then."""
        items = encode_fields(fields)

        def work(draft: Draft) -> dict[bytes, bytes]:
            timeline = draft.find_or_create(self.name)
            return draft.merge_metadata(timeline, zip(items[::2], items[1::2], strict=True))

        return self._commit(work)

    def set_retention(self, *, age_ms: int = 0, length: int = 0, bytes_: int = 0) -> None:
        """Have the timeline trimmed to these bounds from now on. Zero is no bound, all zero no
        retention. The name may be that of a conversation's messages (`@conv:…`), which must be
        there, else `NotFoundError`.
        """
        bounds = Retention(
            whole(age_ms, "age_ms", 0, keys.MAX),
            whole(length, "length", 0, keys.MAX),
            whole(bytes_, "bytes_", 0, keys.MAX),
        )

        def work(draft: Draft) -> None:
            if self.name.startswith(CONVERSATIONS):
                timeline = draft.find(self.name)
                if timeline is None:
                    raise NotFoundError(f"there is no timeline {shown(self.name)}")
            else:
                timeline = draft.find_or_create(writable(self.name))
            draft.set_retention(timeline, bounds)

        self._engine.commit(work)

    def compact(self) -> int:
        """Merge this timeline's small segments; how many segments fewer there are."""
        return compact(self._engine, self.name)

    def _commit(self, work: Callable[[Draft], T]) -> T:
        writable(self.name)
        return self._engine.commit(work)
