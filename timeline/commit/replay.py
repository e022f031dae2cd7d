"""Replay: when a store is opened, what the log holds above the sealed LSN is applied to memory.

Rule: what an interrupted pass of sealing has already written is skipped. That is entries at or
below the last number on disk of their timeline, and references at or below the last LSN on disk of
their in-box.
So a log may be replayed over any state that a crash left, any number of times, with one result.

The timelines of many records are looked up together and in order. To look up each when its turn
comes would take most of an opening's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Final

import numpy as np

from timeline.commit.apply import Applier
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.records import (
    CHECKPOINT,
    DROP,
    OPENING,
    PUT,
    REMOVE,
    Operation,
    Record,
)
from timeline.formats.rows import ProgressRow
from timeline.lsm.checkpoints import Checkpoints
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.log import Log
from timeline.lsm.memtable import Memtable
from timeline.lsm.openings import Openings
from timeline.lsm.timeline import Inbox
from timeline.lsm.timelines import Timelines
from timeline.options import MIB
from timeline.storage.rocks import INBOXES, SEGMENTS, Storage

_PAGE_TIMELINES: Final = 1_000  # that are read together
_AHEAD_BYTES: Final = 64 * MIB  # of records, about, whose timelines are looked up together


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
        # By timeline, or by in-box: the last number, or LSN, on the disk when this began.
        self._segments: dict[int, int] = {}
        self._references: dict[int, int] = {}
        self._absent: set[int] = set()  # timelines that a record makes, and were not loaded since

    def run(self, log: Log, relieve: Callable[[], None]) -> None:
        """Apply every record above the sealed LSN, or above where the last run ended; call
        `relieve` after each, so that memory stays bounded. Raises `CorruptError` where one is
        missing or damaged.
        """
        for records in _ahead(log.records(self.lsn)):
            self._look_up(records)
            for record in records:
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

    def _look_up(self, records: Sequence[Record]) -> None:
        """Load the timelines that `records` append to."""
        columns = [record.appends.timelines for record in records if record.appends.timelines]
        if not columns:
            return
        ids = np.unique(np.concatenate([np.frombuffer(each, np.uint64) for each in columns]))
        wanted = [each for each in ids.tolist() if each not in self._segments]
        for start in range(0, len(wanted), _PAGE_TIMELINES):
            page = wanted[start : start + _PAGE_TIMELINES]
            found = dict(zip(page, self._storage.last_positions(SEGMENTS, page), strict=True))
            self._segments |= found
            self._absent |= self._timelines.load_many(found)
            self._timelines.forget_idle()

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
            on_disk = self._segments[timeline_id]
            if interrupted and seq <= on_disk:
                continue
            timeline = timelines.by_id.get(timeline_id)
            if timeline is None:
                if timeline_id in self._absent:
                    self._absent.remove(timeline_id)
                    timeline = timelines.load(timeline_id, on_disk)
                else:
                    timeline = timelines.load(timeline_id)
            if timeline is not None:
                memtable.touch(timeline)
                timeline.tail.append(row)
        memtable.append(
            record.value, record.start, appends, appends.lsns(record.first), record.time
        )
        self.apply_operations(record.operations)

    def due(self, inboxes: Sequence[Inbox], lsn: Lsn) -> Sequence[Inbox]:
        if lsn <= self._progress.upto:
            known = self._references
            unknown = sorted({inbox.id for inbox in inboxes if inbox.id not in known})
            if unknown:
                found = self._storage.last_positions(INBOXES, unknown)
                known |= dict(zip(unknown, found, strict=True))
            return [inbox for inbox in inboxes if lsn > known[inbox.id]]
        return inboxes


def _ahead(records: Iterable[Record]) -> Iterator[list[Record]]:
    """`records` in lists of about `_AHEAD_BYTES`. Where the next cannot be read, those before it
    come first, and then the error.
    """
    found: list[Record] = []
    size = 0
    try:
        for record in records:
            found.append(record)
            size += len(record.value)
            if size >= _AHEAD_BYTES:
                yield found
                found, size = [], 0
    except CorruptError:
        if found:
            yield found
        raise
    if found:
        yield found
