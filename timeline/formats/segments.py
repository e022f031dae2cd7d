"""Segments: consecutive entries of one timeline as one value.

    header   version u8 · flags u8 · count u16 · payload bytes u32 · first seq u64 · first time
             u64 · first LSN u64
    columns  when count > 1, each u32 × count: [seq − first, when SPARSE] · time − first ·
             LSN − first · end of the entry in the payload
    payload  the entries in stored form, one after another
    crc32c   u32 over the key and everything before it

Little-endian, except the key. Rule: a decoded segment was verified against its key; whoever
holds a `Segment` may slice it without further checks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final

from crc32c import crc32c

from timeline.errors import CorruptError
from timeline.formats.keys import pair, split_pair

VERSION: Final = 1
SPARSE: Final = 1

_HEADER = Struct("<BBHIQQQ")
_CRC = Struct("<I")
_U32_MAX: Final = 2**32 - 1


# One entry with what the store knows of it: (seq, LSN, time, payload). A plain tuple, since one is
# made for every append; an empty payload is a deleted entry.
Row = tuple[int, int, int, bytes]


class Segment:
    """A verified segment. `low` is the lowest number a search for which must end here; `changed`
    says that patches were applied."""

    __slots__ = (
        "_lsn", "_lsns", "_time", "_times", "changed", "count", "ends", "first", "last", "low",
        "payload", "seqs", "size",
    )  # fmt: skip

    def __init__(self, key: bytes, value: bytes) -> None:
        _, self.last = split_pair(key)
        try:
            (crc,) = _CRC.unpack_from(value, len(value) - 4)
            if crc != crc32c(memoryview(value)[:-4], crc32c(key)):
                raise ValueError
            version, flags, count, size, first, time, lsn = _HEADER.unpack_from(value)
            if version != VERSION or count == 0:
                raise ValueError
            sparse = flags & SPARSE
            columns = 0 if count == 1 else 16 * count if sparse else 12 * count
            start = _HEADER.size + columns
            if start + size + 4 != len(value):
                raise ValueError
        except (StructError, ValueError):
            raise damaged(key) from None
        self.changed = False
        self.count: int = count
        self.first: int = first
        self.low: int = first
        self.size = len(value)
        self.payload = value[start:-4]
        self.seqs: Sequence[int] | None = None
        self._time, self._lsn = time, lsn
        if count == 1:
            self._times: Sequence[int] | memoryview = (time,)
            self._lsns: Sequence[int] | memoryview = (lsn,)
            self.ends: Sequence[int] = (size,)
            return
        column = memoryview(value)[_HEADER.size : start].cast("I")
        if sparse:
            self.seqs = [first + delta for delta in column[:count]]
            column = column[count:]
        self.ends = column[2 * count :].tolist()
        self._times, self._lsns = column[:count], column[count : 2 * count]

    @property
    def times(self) -> Sequence[int]:
        """When each entry was committed (ms), worked out when first asked for."""
        if isinstance(self._times, memoryview):
            self._times = [self._time + delta for delta in self._times]
        return self._times

    @property
    def lsns(self) -> Sequence[int]:
        """The commit of each entry, worked out when first asked for."""
        if isinstance(self._lsns, memoryview):
            self._lsns = [self._lsn + delta for delta in self._lsns]
        return self._lsns

    def index(self, seq: int) -> int:
        """How many entries have a lower number than `seq`."""
        if self.seqs is not None:
            return bisect_left(self.seqs, seq)
        return min(max(seq - self.first, 0), self.count)

    def index_after(self, seq: int) -> int:
        """How many entries have a number of at most `seq`."""
        if self.seqs is not None:
            return bisect_right(self.seqs, seq)
        return min(max(seq - self.first + 1, 0), self.count)

    def seq(self, index: int) -> int:
        return self.seqs[index] if self.seqs is not None else self.first + index

    def wire(self, start: int, stop: int) -> bytes:
        """Entries `start` to `stop` (exclusive) in stored form, as one piece."""
        begin = self.ends[start - 1] if start else 0
        return self.payload[begin : self.ends[stop - 1]]

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[Row]:
        """Entries `start` to `stop` (exclusive), oldest first."""
        stop = self.count if stop is None else stop
        return zip(
            self.numbers(start, stop),
            self.lsns[start:stop],
            self.times[start:stop],
            self.payloads(start, stop),
            strict=True,
        )

    def numbers(self, start: int, stop: int) -> Sequence[int]:
        if self.seqs is not None:
            return self.seqs[start:stop]
        return range(self.first + start, self.first + stop)

    def payloads(self, start: int, stop: int) -> list[bytes]:
        """Entries `start` to `stop` (exclusive) in stored form, one by one."""
        payload, ends = self.payload, self.ends
        begins = [ends[start - 1] if start else 0, *ends[start : stop - 1]] if start < stop else ()
        return [payload[at:end] for at, end in zip(begins, ends[start:stop], strict=True)]

    def patched(self, patches: Mapping[int, bytes]) -> Segment:
        """This segment with `patches` (seq → stored form, empty to delete) applied.

        It may hold no entries at all; it still spans the same numbers.
        """
        rows = [
            (seq, lsn, time, patches.get(seq, payload)) for seq, lsn, time, payload in self.rows()
        ]
        rows = [row for row in rows if row[3]]
        copy = object.__new__(Segment)
        copy.changed = True
        copy.last, copy.low, copy.size = self.last, self.low, self.size
        copy.count = len(rows)
        copy.seqs = [row[0] for row in rows]
        copy.first = copy.seqs[0] if rows else self.last
        copy._lsns = [row[1] for row in rows]
        copy._times = [row[2] for row in rows]
        copy.payload = b"".join([row[3] for row in rows])
        copy.ends = list(accumulate(len(row[3]) for row in rows))
        return copy


def damaged(key: bytes) -> CorruptError:
    timeline_id, last = split_pair(key)
    return CorruptError(
        f"the segment of timeline {timeline_id} that ends at {last} is damaged: "
        "run `timeline verify`, then restore a backup or run `timeline repair`"
    )


def encode_segments(
    timeline_id: int, rows: Sequence[Row], most_entries: int, most_bytes: int
) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, value, count) of the segments that hold `rows`: ascending, none deleted.

    A segment ends after `most_entries`, before `most_bytes` of payload are exceeded (a single
    entry may be larger), and where a difference would not fit its column.
    """
    start = 0
    while start < len(rows):
        run = rows[start : start + most_entries]
        sizes = [len(row[3]) for row in run]
        if sum(sizes) > most_bytes or not _fits(run[0], run[-1]):
            count = _fitting(run, sizes, most_bytes)
            run, sizes = run[:count], sizes[:count]
        start += len(run)
        seqs, lsns, times, payloads = zip(*run, strict=True)
        key = pair(timeline_id, seqs[-1])
        yield key, _encode(key, seqs, lsns, times, payloads, sizes), len(run)


def _fitting(rows: Sequence[Row], sizes: Sequence[int], most_bytes: int) -> int:
    """How many of `rows`, at least one, fit a segment."""
    size = sizes[0]
    for index in range(1, len(rows)):
        size += sizes[index]
        if size > most_bytes or not _fits(rows[0], rows[index]):
            return index
    return len(rows)


def _encode(
    key: bytes,
    seqs: Sequence[int],
    lsns: Sequence[int],
    times: Sequence[int],
    payloads: Sequence[bytes],
    sizes: Sequence[int],
) -> bytes:
    count = len(seqs)
    seq, lsn, time = seqs[0], lsns[0], times[0]
    flags = 0
    columns: list[bytes | array[int]] = []
    if count > 1:
        if seqs[-1] - seq != count - 1:
            flags = SPARSE
            columns.append(array("I", [each - seq for each in seqs]))
        columns.append(array("I", [each - time for each in times]))
        columns.append(array("I", [each - lsn for each in lsns]))
        columns.append(array("I", accumulate(sizes)))
    header = _HEADER.pack(VERSION, flags, count, sum(sizes), seq, time, lsn)
    body = b"".join((header, *columns, *payloads))
    return body + _CRC.pack(crc32c(body, crc32c(key)))


def _fits(first: Row, last: Row) -> bool:
    """Whether the differences between `first` and `last` fit their columns."""
    return (
        last[0] - first[0] <= _U32_MAX
        and last[1] - first[1] <= _U32_MAX
        and last[2] - first[2] <= _U32_MAX
    )
