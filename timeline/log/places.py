"""Where in a file of the log a commit lies, by a sparse index in memory.

Rule: one place is kept for each `_STEP_BYTES` of the file, so a reader walks over about that much
to find a commit, and a file of 64 MiB takes a thousand pairs of numbers. It is derived: it is made
while the file is written, or when the file is first read. One thread at a time adds to it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from timeline.formats.logfiles import HEADER_BYTES

_STEP_BYTES: Final = 64 << 10
_ABOVE_ANY_PLACE: Final = 1 << 63


class Places:
    __slots__ = ("_pairs",)

    def __init__(self) -> None:
        self._pairs: list[tuple[int, int]] = []  # first LSN of a frame, its place; rising

    def note(self, first: int, place: int) -> None:
        """A frame that begins with LSN `first` lies at `place`. Known places are left alone."""
        if not self._pairs or place - self._pairs[-1][1] >= _STEP_BYTES:
            self._pairs.append((first, place))

    def note_resumed(self, first: int, place: int) -> None:
        """The same of the first whole frame behind damage: a walk over the file goes on there."""
        if not self._pairs or place > self._pairs[-1][1]:
            self._pairs.append((first, place))

    def behind(self, place: int, lsn: int) -> int | None:
        """The first known place behind `place` of a frame that begins at or below LSN `lsn`."""
        for first, known in self._pairs:
            if known > place and first <= lsn:
                return known
        return None

    def before(self, lsn: int) -> int:
        """A place at or before that of the frame with commit `lsn`."""
        index = bisect_right(self._pairs, (lsn, _ABOVE_ANY_PLACE)) - 1
        return self._pairs[index][1] if index >= 0 else HEADER_BYTES
