"""Entries in memory, as columns in the order of their commits.

Responsibility: keep numbers, LSNs, sizes and places of the entries of many groups without an object
for each. The entries themselves stay where they were first put together: in the records of the log.

Rule: a *row* is the place of an entry in the order of commits, counted from the opening of the
store. A timeline's tail is an array of rows. So an append costs one number, and sealing gathers a
thousand entries with a few calls. Columns only grow, by whole groups. They do not know what was
patched or trimmed later: the holders of the rows do.
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

ROW_BYTES: Final = (
    40  # bytes of an entry besides its stored form: four columns and a place in a tail
)

_OFFSET_BITS: Final = 32  # a place is the number of a record, shifted by this, and an offset in it
_OFFSET_MASK: Final = (1 << _OFFSET_BITS) - 1

_NUMPY_PAYS: Final = 64  # entries from which on numpy is faster


class Columns:
    """The entries of consecutive groups, from row `start` on."""

    __slots__ = ("_places", "_records", "_sizes", "_times", "lsns", "seqs", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.seqs = array("Q")
        self.lsns = array("Q")
        self._sizes = array("I")
        self._places = array("Q")
        self._records: list[bytes] = []
        self._times = array("Q")  # of each record

    def extend(
        self, record: bytes, at: int, appends: Appends, lsns: Sequence[int], time: int
    ) -> None:
        """Add the appends of a group; its entries lie in `record` from `at` on."""
        place = (len(self._records) << _OFFSET_BITS) + at
        self._records.append(record)
        self._times.append(time)
        self.seqs.extend(appends.seqs)
        self.lsns.extend(array("Q", lsns))
        self._sizes.extend(appends.sizes)
        if len(lsns) < _NUMPY_PAYS:
            self._places.extend(array("Q", accumulate(appends.sizes, initial=place)))
            self._places.pop()
        else:
            ends = np.cumsum(appends.sizes, dtype=np.uint64)
            ends += np.uint64(place)
            self._places.append(place)
            self._places.frombytes(ends[:-1].tobytes())

    def payloads(self, rows: Sequence[int]) -> list[bytes]:
        """The entries at `rows` in stored form."""
        start, places, sizes, records = self.start, self._places, self._sizes, self._records
        return [
            records[(place := places[row - start]) >> _OFFSET_BITS][
                (offset := place & _OFFSET_MASK) : offset + sizes[row - start]
            ]
            for row in rows
        ]

    def time(self, row: int) -> int:
        return self._times[self._places[row - self.start] >> _OFFSET_BITS]

    def gather(self, rows: bytes) -> tuple[memoryview, memoryview, memoryview, list[bytes]]:
        """Numbers, LSNs, times and stored forms of the entries at `rows` (u64, packed).

        For columns that grow no more: what is returned was copied, but growing meanwhile fails.
        """
        index: npt.NDArray[np.uint64] = np.frombuffer(rows, np.uint64) - np.uint64(self.start)
        places = np.frombuffer(self._places, np.uint64)[index]
        numbers = (places >> np.uint64(_OFFSET_BITS)).astype(np.intp)
        offsets = places & np.uint64(_OFFSET_MASK)
        ends = (offsets + np.frombuffer(self._sizes, np.uint32)[index]).tolist()
        records = self._records
        return (
            np.frombuffer(self.seqs, np.uint64)[index].data,
            np.frombuffer(self.lsns, np.uint64)[index].data,
            np.frombuffer(self._times, np.uint64)[numbers].data,
            [
                records[number][offset:end]
                for number, offset, end in zip(
                    numbers.tolist(), offsets.tolist(), ends, strict=True
                )
            ],
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
        return self._columns.seqs[self._rows[index] - self._columns.start]

    def numbers(self, start: int, stop: int) -> Sequence[int]:
        seqs, base, rows = self._columns.seqs, self._columns.start, self._rows[start:stop]
        if not rows:
            return []
        first = seqs[rows[0] - base]
        if seqs[rows[-1] - base] - first == len(rows) - 1:  # ascending, so without a hole
            return range(first, first + len(rows))
        return [seqs[row - base] for row in rows]

    @property
    def times(self) -> Sequence[int]:
        return list(map(self._columns.time, self._rows))

    @property
    def lsns(self) -> Sequence[int]:
        lsns, base = self._columns.lsns, self._columns.start
        return [lsns[row - base] for row in self._rows]

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
