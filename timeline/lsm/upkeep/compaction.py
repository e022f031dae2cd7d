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
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.keys import pair, split_pair
from timeline.formats.segments import Segment, encode_segments
from timeline.lsm.memtable import Memtable
from timeline.lsm.segmentcache import read_segment
from timeline.lsm.timelines import Timelines
from timeline.lsm.upkeep.erasure import Erasure
from timeline.options import Options
from timeline.storage.rocks import PATCHES, SEGMENTS, Batch, Storage

_STEP_SEGMENTS: Final = 64  # segments read in one step at most
_NOTED_TIMELINES: Final = 100_000  # timelines remembered to have small segments at most


class Gain(NamedTuple):
    """What compacting does: `segments` of `size` bytes become `after`, and `freed` bytes go."""

    segments: int
    after: int
    size: int
    freed: int

    def plus(self, other: Gain) -> Gain:
        return Gain(*(one + more for one, more in zip(self, other, strict=True)))


NO_GAIN: Final = Gain(0, 0, 0, 0)


class Sink(Protocol):
    """What a merge writes to."""

    def put(self, family: str, key: bytes, value: bytes) -> None: ...

    def delete(self, family: str, key: bytes) -> None: ...


class _Tally:
    """Counts what would be written."""

    def __init__(self) -> None:
        self.written = 0

    def put(self, family: str, key: bytes, value: bytes) -> None:  # noqa: ARG002  as `Sink` has it
        self.written += len(value)

    def delete(self, family: str, key: bytes) -> None:
        pass


class StoredSegment(NamedTuple):
    """A stored segment, verified and patched, and the bytes that it takes on the disk."""

    key: bytes
    segment: Segment
    patched: bool
    size: int


class Replaced(NamedTuple):
    """The segments that a merge replaced, and how many took their place."""

    segments: list[StoredSegment]
    after: int


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
        segments = self._newest(timeline_id)
        if len(segments) > 1:
            batch = self._storage.batch()
            replaced = self._merge(timeline_id, segments, batch)
            self.merged += len(replaced.segments)
            self._note_erased(timeline_id, replaced.segments)
            self._write(timeline_id, batch)

    def gain(self, timeline_id: int) -> Iterator[Gain]:
        """What `whole` would do, a part at a time. Nothing is written."""
        for segments, _ in self._parts(timeline_id):
            tally = _Tally()
            replaced = self._merge(timeline_id, segments, tally)
            size = sum(stored.size for stored in segments)
            went = sum(stored.size for stored in replaced.segments)
            before = len(segments)
            after = before - len(replaced.segments) + replaced.after
            yield Gain(before, after, size, max(0, went - tally.written))

    def whole(self, timeline_id: int) -> Iterator[int]:
        """Compact every segment of a timeline; each step yields how many segments went.

        At the end no patch is left on the disk, also none of an entry that no segment holds.
        """
        low = 0
        for segments, more in self._parts(timeline_id):
            batch = self._storage.batch()
            replaced = self._merge(timeline_id, segments, batch)
            self.merged += len(replaced.segments)
            self._note_erased(timeline_id, replaced.segments)
            done = split_pair(segments[-1].key)[1] + 1 if more else 0
            start = pair(timeline_id, low)
            stop = pair(timeline_id, done) if more else pair(timeline_id + 1, 0)
            if self._storage.clear(batch, PATCHES, start, stop):
                self._erasure.note(start, stop, self._memtable.reached)
            low = done
            self._write(timeline_id, batch)
            yield len(replaced.segments) - replaced.after

    def _parts(self, timeline_id: int) -> Iterator[tuple[list[StoredSegment], bool]]:
        """The segments of a timeline some at a time, and whether others follow."""
        position = 0
        more = True
        while more:
            segments = list(islice(self._stored_from(timeline_id, position), _STEP_SEGMENTS))
            # The last one may be merged with what follows, unless nothing does.
            more = len(segments) == _STEP_SEGMENTS
            if more:
                position = split_pair(segments.pop().key)[1]
            yield segments, more

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
        timeline = self._timelines.load(timeline_id)
        found = self._storage.at_or_after(SEGMENTS, start, stop)
        stored = None if found is None else self._stored(timeline_id, *found)
        if stored is not None and (timeline is None or timeline.row is None):
            stored = None
        if stored is not None and stored.segment.low <= seq:
            assert timeline is not None
            assert timeline.row is not None
            self._replace(timeline_id, [stored], timeline.row.first, batch)
            self._note_erased(timeline_id, [stored])
            stop = pair(timeline_id, stored.segment.last + 1)
        elif stored is not None:
            stop = pair(timeline_id, stored.segment.low)
        if self._storage.clear(batch, PATCHES, start, stop):
            self._erasure.note(start, stop, self._memtable.reached)
        self._write(timeline_id, batch)
        return stop

    def _note_erased(self, timeline_id: int, segments: list[StoredSegment]) -> None:
        """What patches replaced in these segments is now to leave the files."""
        for stored in segments:
            if stored.patched:
                start = pair(timeline_id, stored.segment.low)
                stop = pair(timeline_id, stored.segment.last + 1)
                self._erasure.note(start, stop, self._memtable.reached)

    # --- merging ------------------------------------------------------------------------------

    def _stored_from(self, timeline_id: int, position: int) -> Iterator[StoredSegment]:
        stop = pair(timeline_id + 1, 0)
        for key, value in self._storage.scan(SEGMENTS, pair(timeline_id, position), stop):
            yield self._stored(timeline_id, key, value)

    def _stored(self, timeline_id: int, key: bytes, value: bytes) -> StoredSegment:
        segment = read_segment(self._storage, self._memtable, timeline_id, key, value)
        # Only a patched segment has lost the fixed form it was stored in.
        return StoredSegment(key, segment, segment.changed, len(value))

    def _newest(self, timeline_id: int) -> list[StoredSegment]:
        """The newest segments, back to one that is full, or more than twice what follows it."""
        segments: list[StoredSegment] = []
        total = 0
        position = keys.MAX
        while len(segments) < _STEP_SEGMENTS:
            found = self._storage.at_or_before(
                SEGMENTS, pair(timeline_id, position), pair(timeline_id, 0)
            )
            if found is None:
                break
            stored = self._stored(timeline_id, *found)
            if self._full(stored) or (len(segments) >= 2 and stored.size > 2 * total):
                break
            segments.append(stored)
            total += stored.size
            position = split_pair(stored.key)[1] - 1
            if position < 0:
                break
        segments.reverse()
        return segments

    def _full(self, stored: StoredSegment) -> bool:
        return (
            2 * stored.segment.count >= self._options.segment_entries
            or 2 * stored.size >= self._options.segment_bytes
        )

    def _merge(self, timeline_id: int, segments: list[StoredSegment], batch: Sink) -> Replaced:
        """Replace runs of neighbours that are not full."""
        replaced: list[StoredSegment] = []
        after = 0
        timeline = self._timelines.load(timeline_id)
        if timeline is None or timeline.row is None:
            return Replaced(replaced, after)
        first = timeline.row.first
        run: list[StoredSegment] = []
        for stored in [*segments, None]:
            if stored is not None and (
                not self._full(stored) or stored.patched or stored.segment.low < first
            ):
                run.append(stored)
                continue
            if len(run) > 1 or any(part.patched or part.segment.low < first for part in run):
                replaced += run
                after += self._replace(timeline_id, run, first, batch)
            run = []
        return Replaced(replaced, after)

    def _replace(self, timeline_id: int, run: list[StoredSegment], first: int, batch: Sink) -> int:
        options = self._options
        seqs, lsns, times = array("Q"), array("Q"), array("Q")
        payloads: list[bytes] = []
        for stored in run:
            batch.delete(SEGMENTS, stored.key)
            segment = stored.segment
            start = segment.index(first)
            seqs.extend(segment.numbers(start, segment.count))
            lsns.extend(segment.lsns[start:])
            times.extend(segment.times[start:])
            payloads += segment.payloads(start, segment.count)
            if stored.patched:
                low, last = segment.low, segment.last
                begin, stop = pair(timeline_id, low), pair(timeline_id, last + 1)
                for key in self._storage.keys(PATCHES, begin, stop):
                    batch.delete(PATCHES, key)
        count = 0
        for key, value, _ in encode_segments(
            timeline_id,
            seqs,
            lsns,
            times,
            payloads,
            options.segment_entries,
            options.segment_bytes,
        ):
            batch.put(SEGMENTS, key, value)
            count += 1
        return count

    def _write(self, timeline_id: int, batch: Batch) -> None:
        if len(batch):
            self._erasure.keep(batch)
            self._storage.write(batch)
            self._erasure.kept()
            timeline = self._timelines.load(timeline_id)
            if timeline is not None:
                self._timelines.ranges.cache.forget(timeline)

    # --- retention ----------------------------------------------------------------------------

    def kept_bytes(self, timeline_id: int, size: int) -> int:
        """The lowest number such that the segments from it on hold at most `size` bytes."""
        total = 0
        position = keys.MAX
        while True:
            found = self._storage.at_or_before(
                SEGMENTS, pair(timeline_id, position), pair(timeline_id, 0)
            )
            if found is None:
                return 0
            key, value = found
            total += len(value)
            last = split_pair(key)[1]
            if total > size:
                return last + 1
            try:
                position = Segment(key, value).first - 1
            except CorruptError:
                position = last - 1
            if position < 0:
                return 0
