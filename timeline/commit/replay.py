"""Replay: when a store is opened, what the log holds above the sealed LSN is applied to memory.

Rule: what an interrupted pass of sealing has already written is skipped. That is entries at or
below the last number on disk of their timeline, and references at or below the last LSN on disk of
their in-box.
So a log may be replayed over any state that a crash left, any number of times, with one result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from timeline.commit.apply import Applier
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.keys import pair, split_pair
from timeline.formats.numbers import Lsn, Seq
from timeline.formats.records import (
    CHECKPOINT,
    DROP,
    OPENING,
    PUT,
    REMOVE,
    Operation,
    Record,
    Target,
)
from timeline.formats.rows import ProgressRow
from timeline.lsm.checkpoints import Checkpoints
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.log import Log
from timeline.lsm.memtable import Memtable
from timeline.lsm.openings import Openings
from timeline.lsm.timeline import Inbox
from timeline.lsm.timelines import Timelines
from timeline.storage.rocks import INBOXES, SEGMENTS, Storage


def _given_id(operation: Operation) -> int:
    """The id of the timeline whose row the operation writes or removes, else 0."""
    if operation.kind in (PUT, REMOVE) and operation.body[:1] == keys.ROW:
        return keys.split_number(operation.body[1:9])
    return operation.id if operation.kind == DROP else 0


class Replay(Applier):
    """The same from stored records, past what sealing has already written."""

    def __init__(
        self,
        storage: Storage,
        memtable: Memtable,
        timelines: Timelines,
        inboxes: Inboxes,
        checkpoints: Checkpoints,
        openings: Openings,
        progress: ProgressRow,
    ) -> None:
        super().__init__(memtable, timelines, inboxes)
        self._storage = storage
        self._checkpoints, self._openings = checkpoints, openings
        self._progress = progress
        self.lsn, self.time, self.next_id = progress.sealed, progress.time, progress.next_id
        self._on_disk: dict[tuple[str, int], int] = {}

    def run(self, log: Log, relieve: Callable[[], None]) -> None:
        """Apply every record above the sealed LSN, or above where the last run ended; call
        `relieve` after each, so that memory stays bounded. Raises `CorruptError` where one is
        missing or damaged.
        """
        for record in log.records(self.lsn):
            if record.first != self.lsn + 1:
                raise CorruptError(
                    f"the log goes from LSN {self.lsn} to {record.first}: what lies between is "
                    "lost; restore a backup, or keep the whole prefix with `timeline repair`"
                )
            self._remember(record)
            if record.last < record.first:  # it holds no commit
                continue
            self._apply_record(record)
            self.lsn = record.last
            self.time = record.time
            relieve()
        self.settle()

    def settle(self) -> None:
        """Nothing is staged: the next number of each timeline follows its head."""
        for timeline in self._timelines.by_id.values():
            if timeline.next != keys.MAX:
                timeline.next = self._memtable.head(timeline) + 1
            timeline.staged = timeline.row

    def _remember(self, record: Record) -> None:
        """Take what a record notes besides its commits."""
        for operation in record.operations:
            if operation.kind == CHECKPOINT:
                self._checkpoints.take(operation)
            elif operation.kind == OPENING:
                self._openings.take(operation)

    def _apply_record(self, record: Record) -> None:
        self._timelines.ranges.clock.note(record.first, record.time)
        self.apply_state(record.operations)
        for operation in record.operations:
            self.next_id = max(self.next_id, _given_id(operation) + 1)
        appends = record.appends
        interrupted = record.first <= self._progress.upto
        memtable, timelines = self._memtable, self._timelines
        for row, timeline_id, seq in zip(
            count(memtable.visible), appends.timelines, appends.seqs, strict=False
        ):
            just_seen: int | None = None  # which is not known any more once sealing went on
            if interrupted:
                known = (SEGMENTS, timeline_id) in self._on_disk
                on_disk = self._last_on_disk(SEGMENTS, timeline_id)
                if seq <= on_disk:
                    continue
                just_seen = None if known else on_disk
            timeline = timelines.by_id.get(timeline_id) or timelines.load(timeline_id, just_seen)
            if timeline is not None:
                memtable.touch(timeline)
                timeline.tail.append(row)
        memtable.append(
            record.value, record.start, appends, appends.lsns(record.first), record.time
        )
        self.apply_operations(record.operations)

    def deliver(self, inboxes: Sequence[Inbox], lsn: Lsn, seq: Seq, to: Target) -> None:
        if lsn <= self._progress.upto:
            inboxes = [inbox for inbox in inboxes if lsn > self._last_on_disk(INBOXES, inbox.id)]
        super().deliver(inboxes, lsn, seq, to)

    def _last_on_disk(self, family: str, owner: int) -> int:
        known = self._on_disk.get((family, owner))
        if known is None:
            found = self._storage.at_or_before(family, pair(owner, keys.MAX), pair(owner, 0))
            known = 0 if found is None else split_pair(found[0])[1]
            self._on_disk[family, owner] = known
        return known
