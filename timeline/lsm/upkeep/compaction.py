"""Compaction: merge small segments into larger ones, and fold patches into them.

Responsibility: merge neighbouring small segments of one timeline; drop the entries in them that
were trimmed or deleted; fold patches in, so that what they replaced can leave the disk; find the
first number to keep so that a timeline stays within a bound of bytes.

Rule: compaction changes no answer. Each step is one write, which replaces a few
neighbouring segments by their merged form. A crash leaves the old segments or the merged one. A
segment is merged with the newer ones only if it is at most twice as large as all of them together.
So an entry is rewritten a number of times that grows with the logarithm of its timeline's length.

    sizes of the newest segments     40 | 9  5  3     9 ≤ 2 · (5 + 3) is merged, 40 is not

The caller holds the engine's lock during a step. Damage raises `CorruptError` and leaves the
segments as they are.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.joining import span_of
from timeline.formats.keys import pair, split_pair
from timeline.lsm.memtable import Memtable
from timeline.lsm.segmentcache import read_segment
from timeline.lsm.timelines import Timelines
from timeline.lsm.upkeep.erasure import Erasure
from timeline.lsm.upkeep.merging import Gain, Merging, StoredSegment, Tally, numbers_of
from timeline.lsm.upkeep.traversal import Traversal
from timeline.options import Options
from timeline.storage.owners import Pair
from timeline.storage.rocks import PATCHES, SEGMENTS, Batch, Storage

_STEP_SEGMENTS: Final = 64  # segments read in one step at most
_NOTED_TIMELINES: Final = 100_000  # timelines remembered to have small segments at most


class Compaction:
    def __init__(
        self,
        storage: Storage,
        memtable: Memtable,
        timelines: Timelines,
        erasure: Erasure,
        options: Options,
    ) -> None:
        self._storage = storage
        self._erasure = erasure
        self._memtable = memtable
        self._timelines = timelines
        self._options = options
        self._merging = Merging(options)
        self._small: OrderedDict[int, int] = OrderedDict()  # timeline → small segments noted
        self._ready: OrderedDict[int, None] = OrderedDict()
        self.merged = 0
        # The key at which the round of erasing goes on; None when there is no round.
        self._fold_at: bytes | None = None
        # What an earlier opening left is erased at once: it may have ended before its first round.
        left = storage.at_or_after(PATCHES, b"", pair(keys.MAX, keys.MAX)) is not None
        wait = 0 if left or erasure.ranges or erasure.log else options.erase_after_ms / 1000
        self._next_round = time.monotonic() + wait

    def note(self, timeline_id: int) -> None:
        """A small segment of this timeline was written."""
        count = self._small.pop(timeline_id, 0) + 1
        if count >= self._options.compact_after:
            self._ready[timeline_id] = None
        else:
            self._small[timeline_id] = count
            if len(self._small) > _NOTED_TIMELINES:
                self._small.popitem(last=False)

    @property
    def waiting(self) -> int:
        """How many timelines have enough small segments to be merged."""
        return len(self._ready)

    def due(self) -> bool:
        return bool(self._ready)

    def step(self) -> None:
        """Merge the newest small segments of one timeline that has enough of them."""
        if not self._ready:
            return
        timeline_id, _ = self._ready.popitem(last=False)
        pairs = self._newest(timeline_id)
        (first,) = self._timelines.firsts([timeline_id])
        if len(pairs) < 2 or first is None:
            return
        batch, tally = self._storage.batch(), Tally()
        if self._is_patched(timeline_id, pairs):
            segments = [self._stored(timeline_id, *each) for each in pairs]
            replaced = self._merging.merge(timeline_id, first, segments, batch, tally)
            self._unpatch(timeline_id, replaced, batch)
        else:
            self._merging.merge_pairs(timeline_id, first, pairs, batch, tally)
        self._write(batch, [timeline_id], tally.replaced)

    def gain(self, timeline_id: int) -> Iterator[Gain]:
        """What `whole` would do, a part at a time. Nothing is written."""
        traversal = self.traversal([timeline_id], dry=True)
        while not traversal.ended:
            yield traversal.slice()

    def whole(self, timeline_id: int) -> Iterator[int]:
        """Compact every segment of a timeline; each step yields how many segments went.

        At the end no patch is left on the disk, also none of an entry that no segment holds.
        """
        traversal = self.traversal([timeline_id])
        while not traversal.ended:
            gain = traversal.slice()
            yield gain.segments - gain.after

    def traversal(self, timeline_ids: Sequence[int], *, dry: bool = False) -> Traversal:
        """To compact every segment of many timelines, whose ids ascend, as `whole` does. With `dry`
        it only counts what that would gain.
        """
        return Traversal(
            self._storage,
            self._memtable,
            self._timelines,
            self._erasure,
            self._merging,
            None if dry else self._write,
            timeline_ids,
            most_segments=_STEP_SEGMENTS,
        )

    def erase(self, deadline: float) -> bool | None:
        """Fold patches on the disk into their segments, until `deadline`.

        True while the round goes on, False when it has just ended, None while none is due:
        `erase_after_ms` lie between two.
        """
        if self._fold_at is None:
            if time.monotonic() < self._next_round:
                return None
            self._fold_at = b""
        while True:
            found = self._storage.at_or_after(PATCHES, self._fold_at, pair(keys.MAX, keys.MAX))
            if found is None:
                self._fold_at = None
                self._next_round = time.monotonic() + self._options.erase_after_ms / 1000
                return False
            try:
                self._fold_at = self._fold(*split_pair(found[0]))
            except CorruptError:  # readers and `verify` report it: the others go on
                self._fold_at = found[0] + b"\0"
            if time.perf_counter() >= deadline:
                return True

    def erase_later(self, healed: int) -> None:
        """The storage was opened again, `healed` times by now. What failed may have been the
        rewriting of a damaged file, so that is tried less and less often.
        """
        wait = self._options.erase_after_ms / 1000 * 2 ** min(healed, 16)
        self._next_round = time.monotonic() + wait

    def _fold(self, timeline_id: int, seq: int) -> bytes:
        """Fold in the first patch from number `seq` on, with all others of its segment. Returns the
        key at which the next may be.

        A patch of an entry that no segment holds goes, with those up to the next segment.
        """
        batch = self._storage.batch()
        start, stop = pair(timeline_id, seq), pair(timeline_id + 1, 0)
        (first,) = self._timelines.firsts([timeline_id])
        found = self._storage.at_or_after(SEGMENTS, start, stop)
        if found is not None and first is not None:
            stored = self._stored(timeline_id, *found)
            if stored.segment.low <= seq:
                self._merging.replace(timeline_id, [stored], first, batch, Tally())
                self._unpatch(timeline_id, [stored], batch)
                stop = pair(timeline_id, stored.segment.last + 1)
            else:
                stop = pair(timeline_id, stored.segment.low)
        if self._storage.clear(batch, PATCHES, start, stop):
            self._erasure.note(start, stop, self._memtable.reached)
        self._write(batch, [timeline_id], 0)
        return stop

    def _unpatch(self, timeline_id: int, segments: list[StoredSegment], batch: Batch) -> None:
        """The patches applied to these segments go, and what they replaced is to be erased."""
        for stored in segments:
            if stored.patched:
                start = pair(timeline_id, stored.segment.low)
                stop = pair(timeline_id, stored.segment.last + 1)
                for key in self._storage.keys(PATCHES, start, stop):
                    batch.delete(PATCHES, key)
                self._erasure.note(start, stop, self._memtable.reached)

    # --- segments ---------------------------------------------------------------------------

    def _stored(self, timeline_id: int, key: bytes, value: bytes) -> StoredSegment:
        segment = read_segment(self._storage, self._memtable, timeline_id, key, value)
        # Only a patched segment has lost the fixed form it was stored in.
        return StoredSegment(key, segment, segment.changed, len(value))

    def _is_patched(self, timeline_id: int, pairs: Sequence[Pair]) -> bool:
        numbers = numbers_of(pairs)
        start, stop = pair(timeline_id, numbers.start), pair(timeline_id, numbers.stop)
        return self._memtable.has_patches(timeline_id, numbers) or (
            self._storage.at_or_after(PATCHES, start, stop) is not None
        )

    def _newest(self, timeline_id: int) -> list[Pair]:
        """The newest segments, back to one that is full, or more than twice what follows it."""
        found: list[Pair] = []
        total = 0
        for key, value in self._segments_back(timeline_id):
            size = len(value)
            count = span_of(key, value)[1]
            if self._merging.full(count, size) or (len(found) >= 2 and size > 2 * total):
                break
            found.append((key, value))
            if len(found) == _STEP_SEGMENTS:
                break
            total += size
        found.reverse()
        return found

    def _segments_back(self, timeline_id: int) -> Iterator[Pair]:
        """As they are stored, the newest first."""
        return self._storage.scan_back(SEGMENTS, pair(timeline_id, keys.MAX), pair(timeline_id, 0))

    def _write(self, batch: Batch, timeline_ids: Sequence[int], merged: int) -> None:
        """Write what was done to the segments of some timelines, `merged` of which went."""
        if len(batch):
            self._erasure.keep(batch)
            self._storage.write(batch)
            self._erasure.kept()
            self.merged += merged
            for timeline_id in timeline_ids:
                timeline = self._timelines.by_id.get(timeline_id)
                if timeline is not None:
                    self._timelines.ranges.cache.forget(timeline)

    # --- retention ----------------------------------------------------------------------------

    def kept_bytes(self, timeline_id: int, size: int) -> int:
        """The lowest number such that the segments from it on hold at most `size` bytes."""
        total = 0
        for key, value in self._segments_back(timeline_id):
            total += len(value)
            if total > size:
                return split_pair(key)[1] + 1
        return 0
