"""The bytes of entries in memory, in a few large pieces.

Rule: what is put in stays where it is until all of it goes. *Places* count the bytes that were put
in, so one thing ends where the next begins, also where that lies in another piece.

To seal, entries are read in another order than they came in. Each then lies somewhere else in tens
of megabytes, and to find its page costs more than to copy it. So the pieces are of huge pages where
the system gives them.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from typing import Final

import numpy as np
import numpy.typing as npt

# Each piece is twice as large as the one before, up to a bound.
_FIRST_BYTES: Final = 64 << 10
_MOST_BYTES: Final = 16 << 20
_HUGE_BYTES: Final = 2 << 20  # of a huge page


class Arena:
    __slots__ = ("_begins", "_limit", "_pieces", "end")

    def __init__(self) -> None:
        self._pieces: list[mmap.mmap] = []
        self._begins: list[int] = []  # the place at which each piece begins
        self._limit = 0  # the place behind what fits into the last piece
        self.end = 0  # the place of what is put in next

    def put(self, content: bytes, start: int, stop: int) -> int:
        """Keep a copy of what lies between `start` and `stop` of `content`; its place."""
        place, size = self.end, stop - start
        if place + size > self._limit:
            before = len(self._pieces[-1]) if self._pieces else _FIRST_BYTES // 2
            piece = _new_piece(max(min(2 * before, _MOST_BYTES), size))
            self._pieces.append(piece)
            self._begins.append(place)
            self._limit = place + len(piece)
        offset = place - self._begins[-1]
        self._pieces[-1][offset : offset + size] = memoryview(content)[start:stop]
        self.end = place + size
        return place

    def cut(self, start: int, stop: int) -> bytes:
        """What lies between two places, of one thing that was put in."""
        number = -1
        if start < self._begins[-1]:
            number = bisect_right(self._begins, start) - 1
        begin = self._begins[number]
        return self._pieces[number][start - begin : stop - begin]

    def cut_many(
        self, starts: npt.NDArray[np.uint64], stops: npt.NDArray[np.uint64]
    ) -> list[bytes]:
        """The same for many pairs of places."""
        begins = np.array(self._begins, np.uint64)
        numbers = np.searchsorted(begins, starts, "right") - 1
        begins = begins[numbers]
        pieces = self._pieces
        return [
            pieces[number][start:stop]
            for number, start, stop in zip(
                numbers.tolist(), (starts - begins).tolist(), (stops - begins).tolist(), strict=True
            )
        ]


def _new_piece(size: int) -> mmap.mmap:
    piece = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        piece.madvise(mmap.MADV_HUGEPAGE)
    return piece
