"""Merging: neighbouring segments of one timeline become fewer.

Responsibility: say which segments are full, which neighbours are to be replaced, and by what. Write
that into a batch, or only count it.

Rule: runs of neighbours that are not full are merged; so is a segment that holds what was trimmed,
or to which patches were applied, even alone. Segments that stay are not decoded. Those whose merged
form is one segment are joined column by column. Whatever goes into a merged segment was verified.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from timeline.formats.joining import join_segments, span_of
from timeline.formats.keys import split_pair
from timeline.formats.segments import Segment, encode_segments
from timeline.options import Options
from timeline.storage.owners import Pair
from timeline.storage.rocks import SEGMENTS


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


class StoredSegment(NamedTuple):
    """A stored segment, verified and patched, and the bytes that it takes on the disk."""

    key: bytes
    segment: Segment
    patched: bool
    size: int


class Tally:
    """How many segments were replaced, by how many, and the bytes of both."""

    __slots__ = ("after", "replaced", "size", "written")

    def __init__(self) -> None:
        self.replaced = 0
        self.after = 0
        self.size = 0
        self.written = 0


class Merging:
    def __init__(self, options: Options) -> None:
        self._most_entries = options.segment_entries
        self._most_bytes = options.segment_bytes

    def full(self, count: int, size: int) -> bool:
        """Whether a segment of `count` entries, `size` bytes as it is stored, stays as it is."""
        return 2 * count >= self._most_entries or 2 * size >= self._most_bytes

    # --- of segments as they are stored -------------------------------------------------------

    def merge_pairs(
        self, timeline_id: int, first: int, pairs: Sequence[Pair], sink: Sink, tally: Tally
    ) -> None:
        """Replace what needs it of neighbouring segments without patches; numbers below `first`
        were trimmed.
        """
        run: list[Pair] = []
        trimmed = joinable = False
        entries = payload = following = 0
        for key, value in pairs:
            low, count, size, contiguous = span_of(key, value)
            cut = low < first
            if not cut and self.full(count, len(value)):
                if len(run) > 1 or trimmed:
                    self._replace_run(timeline_id, first, run, sink, tally, join=joinable)
                run = []
                trimmed = False
                continue
            if not run:
                joinable = True
                entries = payload = 0
                following = low
            run.append((key, value))
            trimmed = trimmed or cut
            entries += count
            payload += size
            joinable = joinable and contiguous and not cut and low == following
            following = low + count
            joinable = joinable and entries <= self._most_entries and payload <= self._most_bytes
        if len(run) > 1 or trimmed:
            self._replace_run(timeline_id, first, run, sink, tally, join=joinable)

    def _replace_run(
        self,
        timeline_id: int,
        first: int,
        run: Sequence[Pair],
        sink: Sink,
        tally: Tally,
        *,
        join: bool,
    ) -> None:
        if not join:
            decoded = [
                StoredSegment(key, Segment(key, value), patched=False, size=len(value))
                for key, value in run
            ]
            self.replace(timeline_id, decoded, first, sink, tally)
            return
        key, value = join_segments(run)
        for old, before in run:
            tally.size += len(before)
            if old != key:  # the last one is overwritten
                sink.delete(SEGMENTS, old)
        sink.put(SEGMENTS, key, value)
        tally.replaced += len(run)
        tally.after += 1
        tally.written += len(value)

    # --- of decoded segments ------------------------------------------------------------------

    def merge(
        self,
        timeline_id: int,
        first: int,
        segments: Sequence[StoredSegment],
        sink: Sink,
        tally: Tally,
    ) -> list[StoredSegment]:
        """The same of decoded ones, patched or not. Returns those that were replaced."""
        replaced: list[StoredSegment] = []
        run: list[StoredSegment] = []
        for stored in [*segments, None]:
            if stored is not None and (
                stored.patched
                or stored.segment.low < first
                or not self.full(stored.segment.count, stored.size)
            ):
                run.append(stored)
                continue
            if len(run) > 1 or any(part.patched or part.segment.low < first for part in run):
                replaced += run
                self.replace(timeline_id, run, first, sink, tally)
            run = []
        return replaced

    def replace(
        self,
        timeline_id: int,
        run: Sequence[StoredSegment],
        first: int,
        sink: Sink,
        tally: Tally,
    ) -> None:
        """Put the entries of `run` from number `first` on into as few segments as they fill."""
        seqs, lsns, times = array("Q"), array("Q"), array("Q")
        payloads: list[bytes] = []
        for stored in run:
            sink.delete(SEGMENTS, stored.key)
            tally.size += stored.size
            segment = stored.segment
            start = segment.index(first)
            seqs.extend(segment.numbers(start, segment.count))
            lsns.extend(segment.lsns[start:])
            times.extend(segment.times[start:])
            payloads += segment.payloads(start, segment.count)
        tally.replaced += len(run)
        for key, value, _ in encode_segments(
            timeline_id, seqs, lsns, times, payloads, self._most_entries, self._most_bytes
        ):
            sink.put(SEGMENTS, key, value)
            tally.after += 1
            tally.written += len(value)


def number_of(pair: Pair) -> int:
    """The last number of a stored segment, or that of a patch."""
    return split_pair(pair[0])[1]


def numbers_of(pairs: Sequence[Pair]) -> range:
    """The numbers from the first to the last of stored segments, which are one at least."""
    return range(span_of(*pairs[0])[0], number_of(pairs[-1]) + 1)
