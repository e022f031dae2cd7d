"""Entries: segments, patches, and the rows that say how many there are.

Checked: every segment can be read and belongs to a timeline. Segments do not overlap, and none
holds commits that the log does not know. Each timeline has as many entries as its row says. Each
patch changes an entry that is there.

Example: segments hold the entries 1 to 20 and 31 to 40, and the row counts no holes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.entries import decode_items, seq_of
from timeline.formats.rows import RAW, TimelineRow, decode_row, encode_row
from timeline.formats.segments import Segment
from timeline.lsm.clock import Clock
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import PATCHES, SEGMENTS, STATE
from timeline.verification.checks.names import lost_name
from timeline.verification.snapshot.findings import Finding, Put, remove
from timeline.verification.snapshot.snapshot import Snapshot
from timeline.verification.snapshot.walk import Pair

_LAST_SEQ = keys.MAX - 1


class Entries:
    """One walk over rows, segments and patches together."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._segments = _Groups(snapshot.pairs(SEGMENTS))
        self._patches = _Groups(snapshot.pairs(PATCHES))
        self.entries = 0
        self.reached = 0  # the highest LSN in a segment

    def check(self) -> Iterator[Finding]:
        snapshot = self._snapshot
        for key, value in snapshot.scan(keys.ROW):
            try:
                timeline_id = keys.split_number(key[1:])
                row = decode_row(value)
            except CorruptError:
                continue  # the check of names tells of it
            yield from self._strays(timeline_id)
            timeline = snapshot.timeline(timeline_id)
            if timeline is not None and row.kind == RAW:
                yield from self._check(timeline, row)
        yield from self._strays(None)
        for family, groups in ((SEGMENTS, self._segments), (PATCHES, self._patches)):
            for key in groups.foreign:
                yield Finding(
                    family, "this key is not of this family", key, fix=remove(family, key)
                )

    def _strays(self, below: int | None) -> Iterator[Finding]:
        """Segments and patches of no timeline. Those of a dropped timeline wait to be deleted."""
        snapshot = self._snapshot
        before = 0
        for timeline_id, (key, value) in self._segments.below(below):
            if snapshot.memtable.active.garbage.get(timeline_id, 0) is None:
                continue
            try:
                Segment(key, value)
            except CorruptError as error:
                yield Finding(SEGMENTS, str(error), key, lost=True, fix=remove(SEGMENTS, key))
                continue
            fix: tuple[Put, ...] = ()
            if timeline_id != before:
                name = lost_name(snapshot, timeline_id)
                fix = (
                    Put(
                        STATE,
                        keys.ROW + keys.number(timeline_id),
                        encode_row(TimelineRow(RAW, 0, 1, 0, 0, 0, name)),
                    ),
                    Put(STATE, keys.NAME + name, keys.number(timeline_id)),
                )
            before = timeline_id
            yield Finding(
                SEGMENTS,
                f"these entries belong to timeline {timeline_id}, which has no row",
                key,
                number=keys.split_pair(key)[1],
                fix=fix,
            )
        for timeline_id, (key, _) in self._patches.below(below):
            if snapshot.memtable.active.garbage.get(timeline_id, 0) is not None:
                yield Finding(
                    PATCHES,
                    f"it changes an entry of timeline {timeline_id}, which is not there",
                    key,
                    fix=remove(PATCHES, key),
                )

    def _check(self, timeline: Timeline, row: TimelineRow) -> Iterator[Finding]:
        snapshot, memtable = self._snapshot, self._snapshot.memtable
        head, boundary = memtable.head(timeline), memtable.first(timeline)
        patches, wrong = self._patches_of(timeline, row, head)
        yield from wrong
        low, high = max(row.first, 1), min(head, boundary - 1)
        present, last, lsn, holes = 0, 0, 0, []
        for key, value in self._segments.of(timeline.id):
            try:
                segment = Segment(key, value)
            except CorruptError as error:
                yield self._bad(timeline, key, str(error))
                continue
            problem = _problem(segment, last, lsn, snapshot.applied, snapshot.clock)
            if problem:
                yield self._bad(timeline, key, problem)
                continue
            if segment.low > max(last + 1, low):
                holes.append((max(last + 1, low), segment.low - 1))
            last, lsn = segment.last, segment.lsns[-1]
            self.reached = max(self.reached, lsn)
            numbers = segment.numbers(segment.index(low), segment.index_after(high))
            present += len(numbers)
            if patches:
                gone = [seq for seq in numbers if not patches.get(seq, b"+")]
                present -= len(gone)
                for seq in numbers:
                    patches.pop(seq, None)
        if boundary <= head:
            for piece in memtable.pieces(
                timeline, max(boundary, row.first), head, 1_024, reverse=False
            ):
                present += len(piece)
                for seq in piece.numbers(0, len(piece)) if patches else ():
                    patches.pop(seq, None)
        self.entries += present
        for seq, payload in patches.items():
            if payload and seq >= row.first:
                yield Finding(
                    PATCHES,
                    "it changes an entry that is not there",
                    keys.pair(timeline.id, seq),
                    row.name,
                    seq,
                    lost=True,
                    fix=remove(PATCHES, keys.pair(timeline.id, seq)),
                )
        missing = head - low + 1 - present
        if missing != row.holes:
            yield self._miscounted(timeline, row, missing, head, holes)

    def _bad(self, timeline: Timeline, key: bytes, text: str) -> Finding:
        return Finding(
            SEGMENTS,
            text,
            key,
            timeline.name,
            keys.split_pair(key)[1],
            lost=True,
            fix=(*remove(SEGMENTS, key), *self._kept_head(timeline, keys.split_pair(key)[1])),
        )

    def _kept_head(self, timeline: Timeline, last: int) -> tuple[Put, ...]:
        """Keep the head where the newest entries are lost, so that no number is given out twice."""
        row = timeline.row
        if row is None or row.floor >= last or last > self._snapshot.memtable.head(timeline):
            return ()
        key = keys.ROW + keys.number(timeline.id)
        return (Put(STATE, key, encode_row(row._replace(floor=last))),)

    def _miscounted(
        self,
        timeline: Timeline,
        row: TimelineRow,
        missing: int,
        head: int,
        holes: list[tuple[int, int]],
    ) -> Finding:
        lost = missing - row.holes
        where = ", ".join(f"{first}-{last}" for first, last in holes[:5])
        text = (
            f"{lost} entries are missing" + (f" (numbers {where} are not there)" if where else "")
            if lost > 0
            else f"its row counts {-lost} entries too few"
        )
        if missing < 0:  # there are more entries than numbers: `first` is wrong
            row = row._replace(first=1)
        better = row._replace(holes=max(0, missing), floor=max(row.floor, head))
        return Finding(
            SEGMENTS,
            text,
            b"",
            row.name,
            holes[0][0] if holes else 0,
            lost=lost > 0,
            fix=(Put(STATE, keys.ROW + keys.number(timeline.id), encode_row(better)),),
        )

    def _patches_of(
        self, timeline: Timeline, row: TimelineRow, head: int
    ) -> tuple[dict[int, bytes], list[Finding]]:
        """The patches of a timeline by number. Those in memory hide those on disk."""
        found: dict[int, bytes] = {}
        wrong: list[Finding] = []
        for key, payload in self._patches.of(timeline.id):
            seq = keys.split_pair(key)[1]
            if problem := _patch_problem(seq, payload, head):
                wrong.append(
                    Finding(
                        PATCHES,
                        problem,
                        key,
                        row.name,
                        seq,
                        lost=True,
                        fix=remove(PATCHES, key),
                    )
                )
                continue
            found[seq] = payload
        if self._snapshot.memtable.active.patches:
            found |= self._snapshot.memtable.patches(timeline.id, range(_LAST_SEQ))
        return found, wrong


class _Groups:
    """Rows of one timeline after another, for a walk over the timelines.

    Their keys are timeline id ‖ number. They are handed out by id, in ascending order.
    """

    def __init__(self, pairs: Iterator[Pair]) -> None:
        self._pairs = pairs
        self._next: tuple[int, Pair] | None = None
        self.foreign: list[bytes] = []  # keys that are not id ‖ number
        self._advance()

    def _advance(self) -> None:
        self._next = None
        for pair in self._pairs:
            try:
                self._next = (keys.split_pair(pair[0])[0], pair)
            except CorruptError:
                self.foreign.append(pair[0])
                continue
            return

    def below(self, timeline_id: int | None) -> Iterator[tuple[int, Pair]]:
        """Rows of timelines below `timeline_id`; with None all that are left."""
        while self._next is not None and (timeline_id is None or self._next[0] < timeline_id):
            yield self._next
            self._advance()

    def of(self, timeline_id: int) -> Iterator[Pair]:
        while self._next is not None and self._next[0] == timeline_id:
            yield self._next[1]
            self._advance()


def _patch_problem(seq: int, payload: bytes, head: int) -> str:
    if seq > head:
        return f"it changes entry {seq}, and the newest is {head}"
    try:
        if payload and (decode_items(payload), seq_of(payload))[1] != seq:
            return "it is another entry's"
    except (CorruptError, ValueError) as error:
        return f"the changed entry cannot be read: {error}"
    return ""


def _problem(segment: Segment, last: int, lsn: int, applied: int, clock: Clock) -> str:
    """What is wrong with a segment. The segments before it end at number `last` and LSN `lsn`."""
    if segment.low <= last:
        return f"entries {segment.low} to {segment.last} overlap those before, which end at {last}"
    if segment.lsns[-1] > applied:
        return f"its entries are of commit {segment.lsns[-1]}, and the last one is {applied}"
    if segment.lsns[0] < lsn:
        return "its entries are of earlier commits than the entries before them"
    if segment.count > 1:
        times: Sequence[int] = segment.times
        if clock.steps:
            times = list(map(clock.by_order, segment.lsns, segment.times))
        for column in (segment.lsns, times, segment.ends):
            values = np.asarray(column)
            if (values[1:] < values[:-1]).any():
                return "its commits, times or sizes are out of order"
    return ""
