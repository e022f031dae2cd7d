"""Verified segments in memory, bounded by bytes.

Responsibility: find the segment of a timeline that holds a number, in memory, or on the disk, with
its patches applied. Forget the segments used least recently.

Rule: a cached segment is what is stored, with every applied patch. Compaction, trims and patches
call `forget`. Each timeline has a sorted list of its cached segments, so that a hit is one
bisection. `_recent` orders all of them by use. The caller holds the engine's lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import Final

from timeline.formats.keys import pair
from timeline.formats.segments import Segment
from timeline.lsm.memtable import Memtable
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import PATCHES, SEGMENTS, Storage

_OVERHEAD_BYTES: Final = 400  # that a cached segment takes besides its content


class SegmentCache:
    def __init__(self, storage: Storage, memtable: Memtable, limit: int) -> None:
        self._storage = storage
        self._memtable = memtable
        self._limit = limit
        self._recent: OrderedDict[tuple[int, int], Timeline] = OrderedDict()
        self.size = 0
        self.hits = 0
        self.misses = 0

    def at_or_after(self, timeline: Timeline, seq: int) -> Segment | None:
        """The first segment that ends at `seq` or later."""
        cached = timeline.cached
        if cached is not None:
            lasts, segments = cached
            index = bisect_left(lasts, seq)
            if index < len(lasts) and segments[index].low <= seq:
                segment = segments[index]
                self._recent.move_to_end((timeline.id, segment.last))
                self.hits += 1
                return segment
        found = self._storage.at_or_after(
            SEGMENTS, pair(timeline.id, seq), pair(timeline.id + 1, 0)
        )
        if found is None:
            return None
        segment = self._load(timeline, *found)
        segment.low = min(segment.low, seq)
        return segment

    def whole(
        self, timeline: Timeline, first: int, count: int, *, reverse: bool
    ) -> list[bytes | memoryview] | None:
        """The `count` entries from number `first` on in stored form, a chunk for each segment, with
        `reverse` the newest first; None unless cached segments hold all of them, without a hole.
        """
        if timeline.cached is None:
            return None
        lasts, segments = timeline.cached
        index = bisect_left(lasts, first)
        found: list[bytes | memoryview] = []
        while count > 0:
            if index == len(lasts):
                return None
            segment = segments[index]
            start = first - segment.first
            if segment.seqs is not None or not 0 <= start < segment.count:
                return None
            stop = min(start + count, segment.count)
            if reverse:
                found.append(b"".join(reversed(segment.payloads(start, stop))))
            else:
                found.append(segment.wire(start, stop))
            self._recent.move_to_end((timeline.id, segment.last))
            self.hits += 1
            first += stop - start
            count -= stop - start
            index += 1
        if reverse:
            found.reverse()
        return found

    def before(self, timeline: Timeline, seq: int) -> Segment | None:
        """The last segment that ends below `seq`."""
        if seq == 0:
            return None
        found = self._storage.at_or_before(
            SEGMENTS, pair(timeline.id, seq - 1), pair(timeline.id, 0)
        )
        return None if found is None else self._load(timeline, *found)

    def forget(self, timeline: Timeline, low: int = 0, high: int | None = None) -> None:
        """Drop the cached segments that may hold a number from `low` to `high`; None: or above."""
        if timeline.cached is None:
            return
        lasts, segments = timeline.cached
        for index in reversed(range(len(lasts))):
            segment = segments[index]
            if segment.last >= low and (high is None or segment.low <= high):
                del self._recent[timeline.id, segment.last]
                self.size -= segment.size + _OVERHEAD_BYTES
                del lasts[index], segments[index]
        if not lasts:
            timeline.cached = None

    def _load(self, timeline: Timeline, key: bytes, value: bytes) -> Segment:
        self.misses += 1
        last = int.from_bytes(key[8:], "big")
        if timeline.cached is not None:
            lasts, segments = timeline.cached
            index = bisect_left(lasts, last)
            if index < len(lasts) and lasts[index] == last:
                return segments[index]
        segment = read_segment(self._storage, self._memtable, timeline.id, key, value)
        if timeline.cached is None:
            timeline.cached = ([], [])
        lasts, segments = timeline.cached
        index = bisect_left(lasts, last)
        lasts.insert(index, last)
        segments.insert(index, segment)
        self._recent[timeline.id, last] = timeline
        self.size += segment.size + _OVERHEAD_BYTES
        while self.size > self._limit and len(self._recent) > 1:
            (_, oldest), owner = next(iter(self._recent.items()))
            self.forget(owner, oldest, oldest)
        return segment


def read_segment(
    storage: Storage, memtable: Memtable, timeline_id: int, key: bytes, value: bytes
) -> Segment:
    """The segment stored as `key` → `value`, verified, with its patches applied."""
    segment = Segment(key, value)
    patches = {
        int.from_bytes(at[8:], "big"): payload
        for at, payload in storage.scan(
            PATCHES, pair(timeline_id, segment.first), pair(timeline_id, segment.last + 1)
        )
    }
    patches |= memtable.patches(timeline_id, range(segment.first, segment.last + 1))
    return segment.patched(patches) if patches else segment
