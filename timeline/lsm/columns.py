"""Entries in memory, as rows of numbers in the order of their commits.

Responsibility: keep numbers, LSNs, times and places of the entries of many groups without an object
for each. The entries themselves lie in an arena, as they came.

Rule: a *row* is the place of an entry in the order of commits, counted from the opening of the
store. A timeline's tail is an array of rows. So an append costs one number, and sealing gathers a
thousand entries with a few calls. Columns only grow, by whole groups. They do not know what was
patched or trimmed later: the holders of the rows do.

What is known of an entry lies side by side, so that it is fetched from memory at once:

    place in the arena · number · LSN · time      where the next begins, this entry ends
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

from timeline.formats.records import Appends
from timeline.formats.segments import StoredEntry
from timeline.lsm.arena import Arena

_PLACE: Final = 0
_SEQ: Final = 1
_LSN: Final = 2
_TIME: Final = 3
_WIDTH: Final = 4  # numbers in a row

# Bytes of an entry besides its stored form: a row and a place in a tail.
ROW_BYTES: Final = 8 * _WIDTH + 8

_NUMPY_PAYS: Final = 64  # entries from which on numpy is faster


class Columns:
    """The entries of consecutive groups, from row `start` on."""

    __slots__ = ("_arena", "_table", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self._arena = Arena()
        self._table = array("Q", (0,))  # the rows, and where the next entry will begin

    def __len__(self) -> int:
        return len(self._table) // _WIDTH

    def extend(
        self, record: bytes, at: int, appends: Appends, lsns: Sequence[int], time: int
    ) -> None:
        """Add the appends of a group; its entries lie in `record` from `at` on."""
        count = len(lsns)
        ends = array("Q")
        if count < _NUMPY_PAYS:
            ends.extend(accumulate(appends.sizes, initial=self._arena.end))
        else:
            ends.append(self._arena.end)
            sums = np.cumsum(appends.sizes, dtype=np.uint64) + np.uint64(self._arena.end)
            ends.frombytes(sums.tobytes())
        end = ends.pop()
        self._arena.put(record, at, at + end - self._arena.end)
        rows = array("Q", bytes(8 * _WIDTH * count))
        rows[_PLACE::_WIDTH] = ends
        rows[_SEQ::_WIDTH] = appends.seqs
        rows[_LSN::_WIDTH] = array("Q", lsns)
        rows[_TIME::_WIDTH] = array("Q", (time,)) * count
        self._table.pop()
        self._table.extend(rows)
        self._table.append(end)

    def seq(self, row: int) -> int:
        return self._table[(row - self.start) * _WIDTH + _SEQ]

    def lsn(self, row: int) -> int:
        return self._table[(row - self.start) * _WIDTH + _LSN]

    def time(self, row: int) -> int:
        return self._table[(row - self.start) * _WIDTH + _TIME]

    def stored(self, row: int) -> StoredEntry:
        table, at = self._table, (row - self.start) * _WIDTH
        payload = self._arena.cut(table[at], table[at + _WIDTH])
        return table[at + _SEQ], table[at + _LSN], table[at + _TIME], payload

    def payloads(self, rows: Sequence[int]) -> list[bytes]:
        """The entries at `rows` in stored form."""
        start, table, cut = self.start, self._table, self._arena.cut
        return [cut(table[at := (row - start) * _WIDTH], table[at + _WIDTH]) for row in rows]

    def gather(self, rows: bytes) -> tuple[memoryview, memoryview, memoryview, list[bytes]]:
        """Numbers, LSNs, times and stored forms of the entries at `rows` (u64, packed).

        For columns that grow no more: what is returned was copied, but growing meanwhile fails.
        """
        index = np.frombuffer(rows, np.uint64).astype(np.intp) - self.start
        table: npt.NDArray[np.uint64] = np.frombuffer(self._table, np.uint64)
        stops = table[index * _WIDTH + _WIDTH]
        found = table[:-1].reshape(-1, _WIDTH).take(index, axis=0).T.copy()
        return (
            found[_SEQ].data,
            found[_LSN].data,
            found[_TIME].data,
            self._arena.cut_many(found[_PLACE], stops),
        )


class Piece:
    """Some entries of one timeline that lie in memory, ascending; read like a `Segment`.

    `patches` are the stored forms that took the place of some, by number.
    """

    __slots__ = ("_columns", "_patches", "_rows")

    def __init__(
        self, columns: Columns, rows: Sequence[int], patches: Mapping[int, bytes] | None
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._patches = patches

    def __len__(self) -> int:
        return len(self._rows)

    def seq(self, index: int) -> int:
        return self._columns.seq(self._rows[index])

    def numbers(self, start: int, stop: int) -> Sequence[int]:
        seq, rows = self._columns.seq, self._rows[start:stop]
        if not rows:
            return []
        first = seq(rows[0])
        if seq(rows[-1]) - first == len(rows) - 1:  # ascending, so without a hole
            return range(first, first + len(rows))
        return list(map(seq, rows))

    @property
    def times(self) -> Sequence[int]:
        return list(map(self._columns.time, self._rows))

    @property
    def lsns(self) -> Sequence[int]:
        return list(map(self._columns.lsn, self._rows))

    def payloads(self, start: int, stop: int) -> list[bytes]:
        found = self._columns.payloads(self._rows[start:stop])
        if self._patches is not None:
            present = self._patches
            pairs = zip(self.numbers(start, stop), found, strict=True)
            found = [present.get(seq, payload) for seq, payload in pairs]
        return found

    def wire(self, start: int, stop: int) -> bytes:
        """Entries `start` to `stop` (exclusive) in stored form, as one piece."""
        return b"".join(self.payloads(start, stop))

    def stored(self, start: int, stop: int) -> Iterator[StoredEntry]:
        return zip(
            self.numbers(start, stop),
            self.lsns[start:stop],
            self.times[start:stop],
            self.payloads(start, stop),
            strict=True,
        )
