"""Traversal: the whole compaction of many timelines, in slices.

Responsibility: go over timelines in order of their ids, as their segments lie on the disk, and over
the patches beside them. Merge what can be merged, fold patches in, and drop those of entries that
no segment holds. Or only count what that would gain.

Rule: a slice is one write. It holds as many timelines as its time is enough for, and goes on in the
middle of one that has very many segments. Where the write fails nothing was done, and the slice may
be done again. The caller holds the engine's lock during a slice. Damage raises `CorruptError`.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from timeline.formats.keys import pair, split_pair
from timeline.formats.segments import Segment
from timeline.lsm.memtable import Memtable
from timeline.lsm.segmentcache import read_segment
from timeline.lsm.timelines import Timelines
from timeline.lsm.upkeep.erasure import Erasure
from timeline.lsm.upkeep.merging import (
    Gain,
    Merging,
    Sink,
    StoredSegment,
    Tally,
    number_of,
    numbers_of,
)
from timeline.options import KIB
from timeline.storage.owners import Pair
from timeline.storage.rocks import PATCHES, SEGMENTS, Batch, Storage

_SLICE_TIMELINES: Final = 256  # timelines looked up for one slice at most
_PART_BYTES: Final = 512 * KIB  # of segments, or patches, of one timeline read in one go, about
_PART_PATCHES: Final = 1_024  # patches of one timeline read in one go at most


class _Nowhere:
    """Takes what would be written."""

    def put(self, family: str, key: bytes, value: bytes) -> None:
        pass

    def delete(self, family: str, key: bytes) -> None:
        pass


_NOWHERE: Final = _Nowhere()


class Write(Protocol):
    """Writes what was done to the segments of some timelines, `merged` of which went."""

    def __call__(self, batch: Batch, timeline_ids: Sequence[int], merged: int) -> None: ...


class Traversal:
    """`done` is how many of the timelines are behind it."""

    def __init__(
        self,
        storage: Storage,
        memtable: Memtable,
        timelines: Timelines,
        erasure: Erasure,
        merging: Merging,
        write: Write | None,
        timeline_ids: Sequence[int],
        *,
        most_segments: int,
    ) -> None:
        """Over `timeline_ids`, which ascend; at most `most_segments` of one are read in one go.
        Without `write` nothing is changed.
        """
        self._storage = storage
        self._memtable = memtable
        self._timelines = timelines
        self._erasure = erasure
        self._merging = merging
        self._write = write
        self._ids = timeline_ids
        self._most_segments = most_segments
        self._low = 0  # the number from which on the next timeline is to be done
        self._most = 1  # timelines looked up for the next slice: more while there is time for more
        self.done = 0

    @property
    def ended(self) -> bool:
        return self.done >= len(self._ids)

    def slice(self, seconds: float = float("inf")) -> Gain:
        """Do about `seconds` of it. Raises what storage does; after `StallError` call it again."""
        deadline = time.perf_counter() + seconds
        ids = self._ids[self.done : self.done + self._most]
        batch = None if self._write is None else self._storage.batch()
        sink = _NOWHERE if batch is None else batch
        done, low = 0, self._low
        changed: list[int] = []
        count = size = freed = 0
        tally = Tally()
        for timeline_id, first, (pairs, more), (patches, others) in zip(
            ids,
            self._timelines.firsts(ids),
            self._owned(SEGMENTS, ids, self._most_segments),
            self._owned(PATCHES, ids, _PART_PATCHES),
            strict=True,
        ):
            # The last one may be merged with what follows, unless nothing does.
            if more:
                pairs.pop()
            stop = number_of(pairs[-1]) + 1 if more else None
            replaced, balance = tally.replaced, tally.size - tally.written
            if patches or others or self._patched_in_memory(timeline_id, pairs):
                part = _Part(timeline_id, low, stop, pairs, None if others else patches)
                self._fold(part, first, sink, tally)
                if batch is not None:
                    self._clear(part, batch)
            elif first is not None:
                self._merging.merge_pairs(timeline_id, first, pairs, sink, tally)
            if tally.replaced > replaced:
                changed.append(timeline_id)
                freed += max(0, tally.size - tally.written - balance)
            count += len(pairs)
            size += sum([len(value) for _, value in pairs])
            if stop is not None:
                low = stop
                break
            low = 0
            done += 1
            if time.perf_counter() >= deadline:
                break
        if batch is not None and self._write is not None:
            self._write(batch, changed, tally.replaced)
        whole = done == len(ids)
        self._most = min(_SLICE_TIMELINES, done + done // 4 + 1) if whole else max(1, done)
        self.done += done
        self._low = low
        return Gain(count, count - tally.replaced + tally.after, size, freed)

    def _owned(
        self, family: str, ids: Sequence[int], most: int
    ) -> Iterator[tuple[list[Pair], bool]]:
        return self._storage.owned(family, ids, self._low, most=most, most_bytes=_PART_BYTES)

    # --- timelines with patches ---------------------------------------------------------------

    def _patched_in_memory(self, timeline_id: int, pairs: Sequence[Pair]) -> bool:
        return bool(pairs) and self._memtable.has_patches(timeline_id, numbers_of(pairs))

    def _fold(self, part: _Part, first: int | None, sink: Sink, tally: Tally) -> None:
        """Merge the segments of a part with their patches applied."""
        if first is None:
            return
        timeline_id = part.timeline_id
        decoded = []
        for key, value in part.pairs:
            segment = self._segment(part, key, value)
            decoded.append(StoredSegment(key, segment, segment.changed, len(value)))
        for stored in self._merging.merge(timeline_id, first, decoded, sink, tally):
            if stored.patched and self._write is not None:
                start = pair(timeline_id, stored.segment.low)
                stop = pair(timeline_id, stored.segment.last + 1)
                self._erasure.note(start, stop, self._memtable.reached)

    def _segment(self, part: _Part, key: bytes, value: bytes) -> Segment:
        """As `read_segment`, by the patches that were read already."""
        timeline_id, last = split_pair(key)
        if part.patches is None:
            return read_segment(self._storage, self._memtable, timeline_id, key, value)
        segment = Segment(key, value)
        start = bisect_left(part.patches, pair(timeline_id, segment.first), key=_key)
        stop = bisect_right(part.patches, key, key=_key)
        found = {number_of(each): each[1] for each in part.patches[start:stop]}
        found |= self._memtable.patches(timeline_id, range(segment.first, last + 1))
        return segment.patched(found) if found else segment

    def _clear(self, part: _Part, batch: Batch) -> None:
        """Delete the patches of a part, also those of entries that no segment holds."""
        start = pair(part.timeline_id, part.low)
        stop = pair(part.timeline_id + 1, 0)
        if part.stop is not None:
            stop = pair(part.timeline_id, part.stop)
        if part.patches is None:
            gone = self._storage.clear(batch, PATCHES, start, stop)
        else:
            keys = [key for key, _ in part.patches if key < stop]
            for key in keys:
                batch.delete(PATCHES, key)
            gone = bool(keys)
        if gone:
            self._erasure.note(start, stop, self._memtable.reached)


class _Part(NamedTuple):
    """Some segments of a timeline: from number `low` up to, without, `stop`, or to its end. Of
    `patches` some may lie above; None where there are too many to be read in one go.
    """

    timeline_id: int
    low: int
    stop: int | None
    pairs: list[Pair]
    patches: list[Pair] | None


def _key(patch: Pair) -> bytes:
    return patch[0]
