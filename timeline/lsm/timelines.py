"""Timelines: from names and ids to objects.

Responsibility: keep the one `Timeline` object of each timeline in use, loaded when it is first
named and forgotten when it is idle. Their entries are read by `ranges`.

Rule: code that changes a timeline on the disk calls `disturb` or `dropped` here first, so that
nothing cached of the timeline is older than the store. The caller holds the engine's lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from timeline.formats import keys
from timeline.formats.numbers import TimelineId
from timeline.formats.rows import TimelineRow, decode_row
from timeline.lsm.headcache import HeadCache
from timeline.lsm.ranges import Ranges
from timeline.lsm.state import State
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import SEGMENTS, Storage

_TURN_TIMELINES: Final = 64  # timelines looked at, at least, when some are to be forgotten


class Timelines:
    def __init__(
        self,
        storage: Storage,
        state: State,
        ranges: Ranges,
        *,
        limit: int,
        head_cache: int,
    ) -> None:
        self._storage = storage
        self._state = state
        self._limit = limit
        self._heads = HeadCache(head_cache)
        self.ranges = ranges
        self._loaded = 0  # timelines that were kept since some were last forgotten
        self.by_name: dict[bytes, Timeline] = {}
        # From the one that was looked at longest ago, which a `dict` would not find at once.
        self.by_id: OrderedDict[int, Timeline] = OrderedDict()

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

    def load(self, timeline_id: int, on_disk: int | None = None) -> Timeline | None:
        """The timeline with `timeline_id`, as applied; None when it was dropped. `on_disk` is the
        last number that a segment of it ends with, 0 for none, where the caller has looked already.
        """
        timeline = self.by_id.get(timeline_id)
        if timeline is not None:
            return timeline
        kept = self._heads.take(timeline_id)
        if kept is not None:
            return self._loaded_as(timeline_id, *kept)
        value = self._state.get(keys.ROW + keys.number(timeline_id))
        if value is None:
            return None
        row = decode_row(value)
        if on_disk is None:
            return self._loaded_as(timeline_id, row, self._sealed_head(timeline_id, row))
        return self._loaded_as(timeline_id, row, _head(row, on_disk))

    def load_many(self, on_disk: Mapping[int, int]) -> set[int]:
        """Load those that are not in memory, given with the last number that a segment of each ends
        with, by id and ascending. Returns those that there are not.
        """
        wanted = [each for each in on_disk if each not in self.by_id and each not in self._heads]
        values = self._state.get_many([keys.ROW + keys.number(each) for each in wanted])
        absent = set()
        for timeline_id, value in zip(wanted, values, strict=True):
            if value is None:
                absent.add(timeline_id)
            else:
                row = decode_row(value)
                self._loaded_as(timeline_id, row, _head(row, on_disk[timeline_id]))
        return absent

    def firsts(self, timeline_ids: Sequence[int]) -> list[int | None]:
        """The lowest number that each may still hold, None where it was dropped. They are given by
        id and ascending, and are not loaded for that.
        """
        by_id = self.by_id
        cold = [keys.ROW + keys.number(each) for each in timeline_ids if each not in by_id]
        values = iter(self._state.get_many(cold) if cold else ())
        found: list[int | None] = []
        for timeline_id in timeline_ids:
            timeline = by_id.get(timeline_id)
            if timeline is not None:
                found.append(None if timeline.row is None else timeline.row.first)
            else:
                value = next(values)
                found.append(None if value is None else decode_row(value).first)
        return found

    def load_named(self, names: Iterable[bytes]) -> None:
        """Load those called `names` that are not in memory. For many of them a fraction of the cost
        of `find` for each.
        """
        wanted = sorted({name for name in names if name not in self.by_name})
        wanted = [name for name in wanted if self._heads.find(name) is None]
        values = self._state.get_many([keys.NAME + name for name in wanted])
        cold = []
        for timeline_id in sorted({keys.split_number(each) for each in values if each is not None}):
            if timeline_id in self._heads:
                self.load(timeline_id)
            elif timeline_id not in self.by_id:
                cold.append(timeline_id)
        found = self._storage.last_positions(SEGMENTS, cold)
        self.load_many(dict(zip(cold, found, strict=True)))

    def _loaded_as(self, timeline_id: int, row: TimelineRow, head: int) -> Timeline:
        timeline = Timeline(TimelineId(timeline_id), row.name, row, head)
        self.keep(timeline)
        return timeline

    def name(self, timeline_id: int) -> bytes | None:
        """What the timeline with `timeline_id` is called, as applied; None when it was dropped. It
        is not loaded for that.
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
        """The row of a timeline changes that is not in memory."""
        self._heads.take(timeline_id)

    def _forget(self, timeline: Timeline) -> None:
        self.ranges.cache.forget(timeline)
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
        """The last number of the first segment that ends at `first` or later, readable or not;
        None when there is none.
        """
        start, stop = keys.pair(timeline_id, first), keys.pair(timeline_id + 1, 0)
        found = self._storage.at_or_after(SEGMENTS, start, stop)
        return None if found is None else keys.split_pair(found[0])[1]

    def forget_idle(self) -> None:
        """Forget idle timelines beyond the limit, by second chance: the oldest go, unless they were
        used since the last look. Call it only where no `Timeline` is held across the call.
        """
        excess = len(self.by_id) - self._limit
        turn = _TURN_TIMELINES + 2 * self._loaded  # more than came, and no more: many may be busy
        self._loaded = 0
        if excess <= 0:
            return
        for timeline in list(islice(self.by_id.values(), min(turn, 2 * excess + _TURN_TIMELINES))):
            if not timeline.used and timeline.idle:
                self._forget(timeline)
                if timeline.row is not None:
                    self._heads.put(timeline.id, timeline.row, timeline.floor)
            else:
                timeline.used = False
                self.by_id.move_to_end(timeline.id)


def _head(row: TimelineRow, on_disk: int) -> int:
    """The highest number ever given out, where the last segment ends at `on_disk`."""
    return max(row.floor, on_disk if on_disk >= row.first else 0)
