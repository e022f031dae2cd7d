"""Ranges: the entries of a timeline, from segments and the memtable as one.

Responsibility: read what a timeline holds between two numbers, in either direction; say what it
spans; find an entry by its commit.

Rule: a number lies in exactly one place as far as a reader can tell. Numbers from the first one in
memory on are read from memory, those below from segments, so that a segment which sealing has
already written is not read twice. What a page holds is what was applied when it was read. The next
page goes on by number.

The caller holds the engine's lock. Damage raises `CorruptError` and hurts this range only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

from timeline.entry import Entry
from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.segments import Segment, StoredEntry
from timeline.lsm.bisection import bisect_entries
from timeline.lsm.clock import Clock
from timeline.lsm.columns import Piece
from timeline.lsm.memtable import Memtable
from timeline.lsm.segmentcache import SegmentCache
from timeline.lsm.timeline import Timeline

_PAGE_ENTRIES: Final = 256  # entries read at a time where nobody says how many are wanted
_FIRST_PAGE_ENTRIES: Final = 4  # entries read at first there: many want no more


class Extent(NamedTuple):
    """What a timeline spans. `length` counts its entries, `added` all that were ever added;
    `head` survives trimming.
    """

    first: int
    head: int
    length: int
    created: int
    deleted: int
    added: int


@dataclass(slots=True)
class Page:
    """Part of a range: `count` entries in stored form, joined into few `chunks`. These are to be
    copied soon: one may be a view of a whole segment, which it keeps in memory.

    `last` is the number of the last entry in the order read, None when there is none.
    """

    count: int
    chunks: Sequence[bytes | memoryview]
    last: int | None


# A run of entries in one place, on disk or in memory, from start to stop (exclusive).
Run = tuple[Segment | Piece, int, int]


class Ranges:
    def __init__(self, memtable: Memtable, cache: SegmentCache, clock: Clock) -> None:
        self._memtable = memtable
        self.cache = cache
        self.clock = clock

    # --- ranges -------------------------------------------------------------------------------

    def extent(self, timeline: Timeline) -> Extent:
        row = timeline.row
        if row is None:
            raise CorruptError(f"timeline {timeline.id} is read before it was applied")
        head = self._memtable.head(timeline)
        length = head - max(row.first, 1) + 1 - row.holes  # the first of an in-box is 0
        return Extent(row.first, head, length, row.created, row.deleted, head - row.skipped)

    def read(
        self,
        timeline: Timeline,
        first: int = 0,
        last: int = keys.MAX,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Page:
        """Entries numbered `first` to `last`, inclusive, at most `limit`, in stored form."""
        if limit and timeline.row is not None:
            page = self.read_short(timeline, first, last, limit, reverse=reverse)
            if page is not None:
                return page
        count = 0
        chunks: list[bytes | memoryview] = []
        end: int | None = None
        for source, start, stop in self.runs(timeline, first, last, limit, reverse=reverse):
            count += stop - start
            end = source.seq(start if reverse else stop - 1)
            if reverse:
                chunks += reversed(source.payloads(start, stop))
            else:
                chunks.append(source.wire(start, stop))
        return Page(count, chunks, end)

    def read_short(
        self, timeline: Timeline, first: int, last: int, limit: int, *, reverse: bool
    ) -> Page | None:
        """The page if it lies in memory wholly, in the tail or in cached segments: what is asked
        for most.
        """
        memtable = self._memtable
        if timeline.tail:
            found = memtable.stretch(timeline, first, last, limit, reverse=reverse)
            if found is not None:
                payloads, end = found
                return Page(len(payloads), payloads, end)
            boundary = memtable.first(timeline)
            if reverse and last >= boundary:
                return None
            last = min(last, boundary - 1)
        elif reverse:
            last = min(last, timeline.floor)
        assert timeline.row is not None
        first = max(first, timeline.row.first)
        if last - first < limit:
            return None
        if reverse:
            first = last - limit + 1
        ready = self.cache.whole(timeline, first, limit, reverse=reverse)
        return (
            None if ready is None else Page(limit, ready, first if reverse else first + limit - 1)
        )

    def entries(
        self, timeline: Timeline, first: int, last: int, limit: int | None, *, reverse: bool
    ) -> list[Entry]:
        """As `read`, as entries."""
        found: list[Entry] = []
        for source, start, stop in self.runs(timeline, first, last, limit, reverse=reverse):
            part = list(
                map(
                    Entry,
                    source.numbers(start, stop),
                    source.times[start:stop],
                    source.payloads(start, stop),
                )
            )
            if reverse:
                part.reverse()
            found += part
        return found

    def stored(
        self, timeline: Timeline, first: int, last: int, limit: int | None, *, reverse: bool
    ) -> list[StoredEntry]:
        """As `read`, with what the store knows of each entry."""
        found: list[StoredEntry] = []
        for source, start, stop in self.runs(timeline, first, last, limit, reverse=reverse):
            part = list(source.stored(start, stop))
            if reverse:
                part.reverse()
            found += part
        return found

    def entry(self, timeline: Timeline, seq: int) -> StoredEntry | None:
        """Entry number `seq`; None when there is none."""
        row = timeline.row
        if row is None or seq < row.first:
            return None
        if timeline.tail and seq >= self._memtable.first(timeline):
            return self._memtable.entry(timeline, seq)
        if seq > timeline.floor:
            return None
        for segment, start, _ in self._sealed_runs(timeline, seq, seq, reverse=False):
            return segment.entry(start)
        return None

    def payloads(self, timeline: Timeline, first: int, last: int) -> dict[int, bytes]:
        """As `read` without a limit, by number."""
        if timeline.tail:
            stretch = self._memtable.stretch(timeline, first, last, last - first + 1, reverse=False)
            if stretch is not None:
                return dict(enumerate(stretch[0], first))
        found: dict[int, bytes] = {}
        for source, start, stop in self.runs(timeline, first, last, None, reverse=False):
            numbers = source.numbers(start, stop)
            found.update(zip(numbers, source.payloads(start, stop), strict=True))
        return found

    def each(
        self, timeline: Timeline, first: int, last: int, *, reverse: bool
    ) -> Iterator[StoredEntry]:
        """As `rows` without a limit, read a page at a time: small ones at first, since many want
        no more than the first few.
        """
        most = _FIRST_PAGE_ENTRIES
        while first <= last:
            page = self.stored(timeline, first, last, most, reverse=reverse)
            yield from page
            if len(page) < most:
                return
            most = min(2 * most, _PAGE_ENTRIES)
            if reverse:
                last = page[-1][0] - 1
            else:
                first = page[-1][0] + 1

    def runs(
        self, timeline: Timeline, first: int, last: int, limit: int | None, *, reverse: bool
    ) -> Iterator[Run]:
        """The runs that make up a range, none of them empty, in the order read."""
        row = timeline.row
        left = keys.MAX if limit is None else limit
        if row is None or left <= 0:
            return
        first = max(first, row.first)
        last = min(last, self._memtable.head(timeline))
        boundary = self._memtable.first(timeline)
        sealed = self._sealed_runs(timeline, first, min(last, boundary - 1), reverse=reverse)
        unsealed = self._memory_runs(timeline, max(first, boundary), last, left, reverse=reverse)
        for source, start, stop in chain(unsealed, sealed) if reverse else chain(sealed, unsealed):
            begin = max(start, stop - left) if reverse else start
            end = stop if reverse else min(stop, start + left)
            left -= end - begin
            yield source, begin, end
            if left <= 0:
                return

    def _memory_runs(
        self, timeline: Timeline, first: int, last: int, most: int, *, reverse: bool
    ) -> Iterator[Run]:
        if first <= last:
            for piece in self._memtable.pieces(timeline, first, last, most, reverse=reverse):
                yield piece, 0, len(piece)

    def _sealed_runs(
        self, timeline: Timeline, first: int, last: int, *, reverse: bool
    ) -> Iterator[tuple[Segment, int, int]]:
        cache = self.cache
        # Without holes each segment ends where the next begins, whatever RocksDB has lost.
        whole = timeline.row is not None and not timeline.row.holes
        if not reverse:
            while first <= last:
                segment = cache.at_or_after(timeline, first)
                if whole and (segment is None or segment.first > first):
                    raise _missing(timeline, first)
                if segment is None:
                    return
                start, stop = segment.index(first), segment.index_after(last)
                if start < stop:
                    yield segment, start, stop
                first = segment.last + 1
            return
        while first <= last:
            segment = cache.at_or_after(timeline, last)
            if segment is None or segment.low > last or segment.index_after(last) == 0:
                segment = cache.before(timeline, last)
                if whole and (segment is None or segment.last < last):
                    raise _missing(timeline, last)
                if segment is None or segment.last < first:
                    return
            start, stop = segment.index(first), segment.index_after(last)
            if start < stop:
                yield segment, start, stop
            last = (segment.first if whole else min(segment.low, segment.first)) - 1

    # --- times and counts ---------------------------------------------------------------------

    def first_above(self, timeline: Timeline, lsn: int) -> int:
        """The lowest number whose entry was committed above `lsn`; head + 1 if none."""
        return self._first(timeline, lambda entry: entry[1] <= lsn)

    def first_since(self, timeline: Timeline, time: int) -> int:
        """The lowest number whose entry was committed at `time` (ms) or later, by the order of
        commits (see `clock`); head + 1 if none.
        """
        by_order = self.clock.by_order
        return self._first(timeline, lambda entry: by_order(entry[1], entry[2]) < time)

    def _first(self, timeline: Timeline, before: Callable[[StoredEntry], bool]) -> int:
        row = timeline.row
        if row is None:
            return 1

        def entry_at(seq: int) -> StoredEntry | None:
            found = self.stored(timeline, seq, keys.MAX, 1, reverse=False)
            return found[0] if found else None

        return bisect_entries(entry_at, before, row.first, self._memtable.head(timeline))

    def count(self, timeline: Timeline, first: int, last: int) -> int:
        """How many entries are numbered `first` to `last`, inclusive."""
        row = timeline.row
        if row is None:
            return 0
        first, last = max(first, row.first), min(last, self._memtable.head(timeline))
        if row.holes == 0 or first > last:
            return max(0, last - first + 1)
        runs = self.runs(timeline, first, last, None, reverse=False)
        return sum(stop - start for _, start, stop in runs)


def _missing(timeline: Timeline, seq: int) -> CorruptError:
    return CorruptError(
        f"entry {seq} of timeline {shown(timeline.name)} has gone from the disk: "
        "run `timeline verify`, then restore a backup or run `timeline repair`"
    )
