"""Timelines: from names to objects, and ranges of entries.

Responsibility: keep the one `Timeline` object of each timeline in use, loaded when first named
and forgotten when idle; answer ranges from segments and the memtable as one.

Rule: a number lies in exactly one place as far as a reader can tell. Numbers from the first one
in memory on are read from memory, those below from segments, so that a segment which sealing has
already written is not read twice. What a page holds is what was applied when it was read; the
next page goes on by number.

The caller holds the engine's lock. Damage raises `CorruptError` and hurts this range only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from timeline.entry import Entry
from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.rows import TimelineRow, decode_row
from timeline.formats.segments import Row, Segment
from timeline.lsm.clock import Clock
from timeline.lsm.columns import Piece
from timeline.lsm.headcache import HeadCache
from timeline.lsm.memtable import Memtable
from timeline.lsm.segmentcache import SegmentCache
from timeline.lsm.state import State
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import SEGMENTS, Storage


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
    """Part of a range: `count` entries in stored form, joined into few `chunks`.

    `last` is the number of the last entry in the order read, None when there is none.
    """

    count: int
    chunks: list[bytes]
    last: int | None


_PAGE = 256  # entries read at a time where nobody says how many are wanted, and
_FIRST_PAGE = 4  # at first
_TURN = 64  # timelines looked at, at least, when some are to be forgotten

# A run of entries in one place, on disk or in memory, from start to stop (exclusive).
Run = tuple[Segment | Piece, int, int]


class Timelines:
    def __init__(
        self,
        storage: Storage,
        state: State,
        memtable: Memtable,
        cache: SegmentCache,
        clock: Clock,
        *,
        limit: int,
        head_cache: int,
    ) -> None:
        self._storage = storage
        self._state = state
        self._memtable = memtable
        self._limit = limit
        self._heads = HeadCache(head_cache)
        self.cache = cache
        self.clock = clock
        self._loaded = 0  # timelines that were kept since some were last forgotten
        self.by_name: dict[bytes, Timeline] = {}
        self.by_id: dict[int, Timeline] = {}

    # --- names --------------------------------------------------------------------------------

    def find(self, name: bytes) -> Timeline | None:
        """The timeline called `name`, as applied."""
        timeline = self.by_name.get(name)
        if timeline is not None:
            timeline.used = True
            return timeline
        timeline_id = self._heads.find(name)
        if timeline_id is None:
            found = self._state.get(keys.NAME + name)
            if found is None:
                return None
            timeline_id = keys.split_number(found)
        return self.load(timeline_id)

    def load(self, timeline_id: int) -> Timeline | None:
        """The timeline with `timeline_id`, as applied; None when it was dropped."""
        timeline = self.by_id.get(timeline_id)
        if timeline is not None:
            return timeline
        kept = self._heads.take(timeline_id)
        if kept is None:
            value = self._state.get(keys.ROW + keys.number(timeline_id))
            if value is None:
                return None
            row = decode_row(value)
            head = self._sealed_head(timeline_id, row)
        else:
            row, head = kept
        timeline = Timeline(timeline_id, row.name, row, head)
        self.keep(timeline)
        return timeline

    def name(self, timeline_id: int) -> bytes | None:
        """What the timeline with `timeline_id` is called, as applied; None when it was dropped. It
        is not brought into memory for that.
        """
        timeline = self.by_id.get(timeline_id)
        if timeline is not None:
            return timeline.name
        value = self._state.get(keys.ROW + keys.number(timeline_id))
        return None if value is None else decode_row(value).name

    def keep(self, timeline: Timeline) -> None:
        """Make a loaded or newly applied timeline findable."""
        self.by_id[timeline.id] = timeline
        self.by_name[timeline.name] = timeline
        self._loaded += 1

    def dropped(self, timeline: Timeline) -> None:
        """The timeline is no more."""
        self.disturb(timeline.id)
        self._forget(timeline)

    def disturb(self, timeline_id: int) -> None:
        """What is stored of a timeline changes that is not in memory."""
        self._heads.take(timeline_id)

    def _forget(self, timeline: Timeline) -> None:
        self.cache.forget(timeline)
        self.by_id.pop(timeline.id, None)
        if self.by_name.get(timeline.name) is timeline:
            del self.by_name[timeline.name]

    def names(self, prefix: bytes, after: bytes | None) -> Iterator[tuple[bytes, int]]:
        """(name, id) in order of names, those after `after` that begin with `prefix`."""
        start = keys.NAME + prefix
        if after is not None:
            start = max(start, keys.NAME + after + b"\0")
        for key, value in self._state.scan(start, keys.successor(keys.NAME + prefix)):
            yield key[1:], keys.split_number(value)

    def ids(self, after: int) -> Iterator[tuple[int, bytes]]:
        """(id, name) in order of ids, those above `after`."""
        if after < keys.MAX:
            start = keys.ROW + keys.number(after + 1)
            for key, value in self._state.scan(start, keys.successor(keys.ROW)):
                yield keys.split_number(key[1:]), decode_row(value).name

    def _sealed_head(self, timeline_id: int, row: TimelineRow) -> int:
        start, stop = keys.pair(timeline_id, row.first), keys.pair(timeline_id + 1, 0)
        # Looking forward first keeps the look back from walking over a wholly trimmed timeline.
        if row.floor and self._storage.at_or_after(SEGMENTS, start, stop) is None:
            return row.floor
        last = self._storage.at_or_before(SEGMENTS, keys.pair(timeline_id, keys.MAX), start)
        return row.floor if last is None else max(row.floor, keys.split_pair(last[0])[1])

    def segment_end(self, timeline_id: int, first: int) -> int | None:
        """The last number of the first segment that ends at `first` or behind it, readable or not;
        None when there is none.
        """
        start, stop = keys.pair(timeline_id, first), keys.pair(timeline_id + 1, 0)
        found = self._storage.at_or_after(SEGMENTS, start, stop)
        return None if found is None else keys.split_pair(found[0])[1]

    def forget_idle(self) -> None:
        """Forget idle timelines beyond the limit, by second chance: the oldest go, unless used
        since the last look. Call it only where nobody holds a `Timeline` across the call."""
        excess = len(self.by_id) - self._limit
        turn = _TURN + 2 * self._loaded  # more than came, and no more: many may be busy
        self._loaded = 0
        if excess <= 0:
            return
        for timeline in list(islice(self.by_id.values(), min(turn, 2 * excess + _TURN))):
            if not timeline.used and timeline.idle:
                self._forget(timeline)
                if timeline.row is not None:
                    self._heads.put(timeline.id, timeline.row, timeline.floor)
            else:
                timeline.used = False
                del self.by_id[timeline.id]
                self.by_id[timeline.id] = timeline

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
        chunks: list[bytes] = []
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
        """The page if it lies in memory wholly, in one piece: what is asked for most.

        That is, in the tail, or in one cached segment.
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
            None if ready is None else Page(limit, [ready], first if reverse else first + limit - 1)
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

    def rows(
        self, timeline: Timeline, first: int, last: int, limit: int | None, *, reverse: bool
    ) -> list[Row]:
        """As `read`, with what the store knows of each entry."""
        found: list[Row] = []
        for source, start, stop in self.runs(timeline, first, last, limit, reverse=reverse):
            part = list(source.rows(start, stop))
            if reverse:
                part.reverse()
            found += part
        return found

    def each(self, timeline: Timeline, first: int, last: int, *, reverse: bool) -> Iterator[Row]:
        """As `rows` without a limit, read a page at a time: small ones at first, since many want
        no more than the first few.
        """
        most = _FIRST_PAGE
        while first <= last:
            page = self.rows(timeline, first, last, most, reverse=reverse)
            yield from page
            if len(page) < most:
                return
            most = min(2 * most, _PAGE)
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
    ) -> Iterator[Run]:
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

    def first_since(self, timeline: Timeline, time: int) -> int:
        """The lowest number whose entry was committed at `time` (ms) or later; head + 1 if none.

        By the order of commits (see `clock`), so this is a bisection over numbers.
        """
        row = timeline.row
        if row is None:
            return 1
        low, high = row.first, self._memtable.head(timeline) + 1
        while low < high:
            middle = (low + high) // 2
            found = self.rows(timeline, middle, keys.MAX, 1, reverse=False)
            if found and self.clock.by_order(found[0][1], found[0][2]) < time:
                low = found[0][0] + 1
            else:
                high = middle
        return low

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
