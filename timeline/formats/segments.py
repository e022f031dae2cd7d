"""Segments: consecutive entries of one timeline as one value.

    header    version u8 · flags u8 · count u16
    columns   times u64 × count · LSNs u64 × count · [numbers u64 × count, when SPARSE]
              · ends of the entries in the payload u32 × count
    payload   the entries in stored form, one after another
    crc32c    u32 over the key and everything before it

Little-endian, except the key, whose number is the last entry's; without SPARSE the numbers before
it are contiguous. Columns hold whole values, not differences: they are made and read without a
loop, and compression takes care of what they have in common.

Rule: a decoded segment was verified against its key, so that a `Segment` may be sliced without
further checks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, TypeAlias

from crc32c import crc32c

from timeline.errors import CorruptError
from timeline.formats.keys import pair, split_pair

VERSION: Final = 1
SPARSE: Final = 1

_HEADER = Struct("<BBH")
_CRC = Struct("<I")


# One entry with what the store knows of it: (seq, LSN, time, stored form).
StoredEntry = tuple[int, int, int, bytes]

# A column of u64, as bytes in the machine's order.
Column: TypeAlias = "array[int] | memoryview[int]"  # an array has no brackets while it runs


class Segment:
    """A verified segment. `low` is the lowest number a search for which must end here; `changed`
    says that patches were applied.
    """

    __slots__ = (
        "_base", "_view", "changed", "count", "ends", "first", "last", "low", "lsns",
        "seqs", "size", "times",
    )  # fmt: skip

    times: Sequence[int]
    lsns: Sequence[int]
    ends: Sequence[int]
    seqs: Sequence[int] | None

    def __init__(self, key: bytes, value: bytes) -> None:
        _, self.last = split_pair(key)
        view = memoryview(value)
        try:
            (crc,) = _CRC.unpack_from(value, len(value) - 4)
            if crc != crc32c(view[:-4], crc32c(key)):
                raise ValueError
            version, flags, count = _HEADER.unpack_from(value)
            if version != VERSION or count == 0:
                raise ValueError
            at = _HEADER.size
            self.times = view[at : at + 8 * count].cast("Q")
            at += 8 * count
            self.lsns = view[at : at + 8 * count].cast("Q")
            at += 8 * count
            self.seqs = None
            if flags & SPARSE:
                self.seqs = view[at : at + 8 * count].cast("Q")
                at += 8 * count
            self.ends = view[at : at + 4 * count].cast("I")
            at += 4 * count
            self.first: int = self.last - count + 1 if self.seqs is None else self.seqs[0]
            if at + self.ends[-1] + 4 != len(value) or self.first < 0:
                raise ValueError
        except (StructError, ValueError, IndexError):
            raise damaged(key) from None
        self.changed = False
        self.count: int = count
        self.low: int = self.first
        self.size = len(value)
        self._view = view
        self._base = at

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

    def wire(self, start: int, stop: int) -> memoryview:
        """Entries `start` to `stop` (exclusive) in stored form, as one piece that is not copied.
        Whoever keeps it keeps all of the segment.
        """
        base, ends = self._base, self.ends
        return self._view[base + (ends[start - 1] if start else 0) : base + ends[stop - 1]]

    def stored(self, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
        """Entries `start` to `stop` (exclusive), oldest first."""
        stop = self.count if stop is None else stop
        return zip(
            self.numbers(start, stop),
            self.lsns[start:stop],
            self.times[start:stop],
            self.payloads(start, stop),
            strict=True,
        )

    def entry(self, index: int) -> StoredEntry:
        """Entry `index`, as `stored` gives it."""
        ends, base = self.ends, self._base
        begin = ends[index - 1] if index else 0
        payload = bytes(self._view[base + begin : base + ends[index]])
        return self.seq(index), self.lsns[index], self.times[index], payload

    def numbers(self, start: int, stop: int) -> Sequence[int]:
        if self.seqs is not None:
            return self.seqs[start:stop]
        return range(self.first + start, self.first + stop)

    def payloads(self, start: int, stop: int) -> list[bytes]:
        """Entries `start` to `stop` (exclusive) in stored form, one by one."""
        if start >= stop:
            return []
        piece = bytes(self.wire(start, stop))
        begin = self.ends[start - 1] if start else 0
        bounds = [0, *[end - begin for end in self.ends[start:stop]]]
        return [piece[at:end] for at, end in pairwise(bounds)]

    def patched(self, patches: Mapping[int, bytes]) -> Segment:
        """This segment with `patches` (seq → stored form, empty to delete) applied.

        It may hold no entries at all; it still spans the same numbers.
        """
        rows = [
            (seq, lsn, time, patches.get(seq, payload)) for seq, lsn, time, payload in self.stored()
        ]
        rows = [row for row in rows if row[3]]
        copy = object.__new__(Segment)
        copy.changed = True
        copy.last, copy.low, copy.size = self.last, self.low, self.size
        copy.count = len(rows)
        copy.seqs = [row[0] for row in rows]
        copy.first = copy.seqs[0] if rows else self.last
        copy.lsns = [row[1] for row in rows]
        copy.times = [row[2] for row in rows]
        copy.ends = list(accumulate(len(row[3]) for row in rows))
        copy._view = memoryview(b"".join([row[3] for row in rows]))
        copy._base = 0
        return copy


def damaged(key: bytes) -> CorruptError:
    timeline_id, last = split_pair(key)
    return CorruptError(
        f"the segment of timeline {timeline_id} that ends at {last} is damaged: "
        "run `timeline verify`, then restore a backup or run `timeline repair`"
    )


def encode_segments(
    timeline_id: int,
    seqs: Sequence[int],
    lsns: Column,
    times: Column,
    payloads: Sequence[bytes],
    most_entries: int,
    most_bytes: int,
) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, value, count) of the segments that hold the entries given as columns, ascending.

    A segment ends after `most_entries`, and before `most_bytes` of payload are exceeded (a single
    entry may be larger).
    """
    start, end = 0, len(payloads)
    while start < end:
        stop = min(end, start + most_entries)
        run = payloads if stop - start == end else payloads[start:stop]
        ends = array("I", accumulate(map(len, run)))
        if ends[-1] > most_bytes and len(run) > 1:
            fitting = max(1, bisect_right(ends, most_bytes))
            run, ends = run[:fitting], ends[:fitting]
            stop = start + fitting
        last = seqs[stop - 1]
        sparse = last - seqs[start] != len(run) - 1
        key = pair(timeline_id, last)
        body = b"".join(
            (
                _HEADER.pack(VERSION, SPARSE if sparse else 0, len(run)),
                times[start:stop],
                lsns[start:stop],
                array("Q", seqs[start:stop]) if sparse else b"",
                ends,
                *run,
            )
        )
        yield key, body + _CRC.pack(crc32c(body, crc32c(key))), len(run)
        start = stop
