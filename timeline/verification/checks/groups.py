"""Rows of one owner after another, side by side with a walk over the owners."""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError
from timeline.formats.keys import split_pair

Pair = tuple[bytes, bytes]


class Groups:
    """Pairs whose keys are id ‖ position, handed out by id, in ascending order."""

    def __init__(self, pairs: Iterator[Pair]) -> None:
        self._pairs = pairs
        self._next: tuple[int, Pair] | None = None
        self.foreign: list[bytes] = []  # keys that are none
        self._advance()

    def _advance(self) -> None:
        self._next = None
        for pair in self._pairs:
            try:
                self._next = (split_pair(pair[0])[0], pair)
            except CorruptError:
                self.foreign.append(pair[0])
                continue
            return

    def below(self, owner: int | None) -> Iterator[tuple[int, Pair]]:
        """Those of owners below `owner` (None: all that are left)."""
        while self._next is not None and (owner is None or self._next[0] < owner):
            yield self._next
            self._advance()

    def of(self, owner: int) -> Iterator[Pair]:
        while self._next is not None and self._next[0] == owner:
            yield self._next[1]
            self._advance()
