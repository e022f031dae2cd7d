"""Idempotency keys: a send that is sent again stores nothing, whatever happened in between.

Responsibility: remember what a key stored, for each conversation and sender, for at least one
window and at most about two. Give back the number and the time of the first send, or refuse the key
when the content differs.

Rule: the key is part of the commit of its message, so neither is there without the other. It keeps
a digest of what was first sent, so a later edit changes nothing.

Keys fill one generation at a time. A generation ends with the window, or early when it holds
`idempotency_bytes`. A key is looked for in the filling generation and the one before. Older ones
are swept away, some keys at a time.

The size of the filling generation is counted in memory, as commits are staged. It is written every
`_NOTED_KEYS` keys, so a restart forgets fewer keys than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import ConflictError, UsageError
from timeline.formats.conversations import (
    GENERATION,
    KEY,
    GenerationRow,
    KeyRow,
    decode_generation,
    decode_key,
    encode_generation,
    encode_key,
    idempotency_key,
)
from timeline.options import Options

LONGEST_KEY_BYTES: Final = 255
_NOTED_KEYS: Final = 256  # after which the size of a generation is written
_ROW_BYTES: Final = 96  # of a key's row besides the key itself
_SWEPT_KEYS: Final = 256  # that one commit removes


def digest_of(parts: Sequence[Sequence[bytes]]) -> bytes:
    """A digest of content. Lengths are part of it, so that other content never looks the same."""
    state = blake2b(digest_size=16)
    for part in parts:
        state.update(b"%d;" % len(part))
        for item in part:
            state.update(b"%d:" % len(item))
            state.update(item)
    return state.digest()


class _Added(NamedTuple):
    """What is in the filling generation beyond its row."""

    size: int
    keys: int

    def one(self, size: int) -> _Added:
        return _Added(self.size + size, self.keys + 1)


_NOTHING: Final = _Added(0, 0)


class Keys:
    """The keys of one store."""

    def __init__(self, options: Options) -> None:
        self._window = options.idempotency_window_ms
        self._most = options.idempotency_bytes
        self._added = _NOTHING
        self._draft: Draft | None = None  # the one that added the last key, until it is committed
        self._staged = _NOTHING  # what `_added` becomes with it

    def find(
        self,
        view: View,
        conversation: int,
        sender: int,
        key: bytes,
        digest: bytes,
        what: str = "message",
    ) -> KeyRow | None:
        """What `key` stored; None for nothing. Raises `ConflictError` for other content."""
        if not 1 <= len(key) <= LONGEST_KEY_BYTES:
            raise UsageError(f"an idempotency key is 1 to {LONGEST_KEY_BYTES} bytes long")
        filling = self._filling(view).number
        for generation in (filling, filling - 1):
            value = view.get(idempotency_key(generation, conversation, sender, key))
            if value is not None:
                found = decode_key(value)
                if found.digest != digest:
                    raise ConflictError(
                        f"this key stored {what} {found.seq} with other content: "
                        f"give every {what} a key of its own"
                    )
                return found
        return None

    def keep(self, draft: Draft, conversation: int, sender: int, key: bytes, row: KeyRow) -> None:
        """Remember in `draft` what `key` stored."""
        filling = self._filling(draft)
        if self._draft is not draft:
            self._draft, self._staged = draft, self._added
            draft.on_commit(self._count)
        added = self._staged
        if not filling.since:
            filling = filling._replace(since=draft.time)
            draft.put(GENERATION, encode_generation(filling))
        elif (
            not 0 <= draft.time - filling.since < self._window
            or filling.size + added.size >= self._most
        ):
            filling = GenerationRow(filling.number + 1, draft.time, 0)
            added = _NOTHING
            draft.put(GENERATION, encode_generation(filling))
        draft.put(idempotency_key(filling.number, conversation, sender, key), encode_key(row))
        added = added.one(len(key) + _ROW_BYTES)
        if added.keys >= _NOTED_KEYS:
            size = filling.size + added.size
            draft.put(GENERATION, encode_generation(filling._replace(size=size)))
            added = _NOTHING
        self._staged = added

    def _count(self) -> None:
        """The draft that added keys was committed."""
        self._draft, self._added = None, self._staged

    def sweep(self, draft: Draft) -> bool:
        """Remove some keys of old generations; whether there were any."""
        filling = self._filling(draft).number
        stop = KEY + max(0, filling - 1).to_bytes(8, "big")
        swept = [key for key, _ in islice(draft.scan(KEY, stop), _SWEPT_KEYS)]
        for key in swept:
            draft.remove(key)
        return bool(swept)

    @staticmethod
    def _filling(view: View) -> GenerationRow:
        value = view.get(GENERATION)
        return GenerationRow(1, 0, 0) if value is None else decode_generation(value)

    def stats(self, view: View) -> dict[str, int]:
        filling = self._filling(view)
        return {
            "idempotency_generation": filling.number,
            "idempotency_bytes": filling.size + self._added.size,
        }
