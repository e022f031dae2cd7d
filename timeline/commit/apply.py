"""What a group does to memory, when it becomes durable and when the log is replayed.

Responsibility: apply a group in three steps: state, appends, other operations; and, when opening,
do so for every record above the sealed LSN.

Rule: deterministic and idempotent. Beside rows of membership (which answer for any LSN that may be
replayed) it reads nothing that it does not itself write. In a replay, what an interrupted pass of
sealing has already written is skipped: entries at or below the last number on disk of their
timeline, references at or below the last LSN on disk of their in-box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from timeline.commit.stage import Group
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.keys import pair, split_pair
from timeline.formats.records import (
    DELIVER,
    DROP,
    NOTIFY,
    PATCH,
    PUT,
    REMOVE,
    TRIM,
    Appends,
    Operation,
    Record,
    Target,
    decode_target,
    entries_start,
    split_put,
)
from timeline.formats.references import encode_reference
from timeline.formats.rows import Progress, decode_row
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.log import Log
from timeline.lsm.memtable import Inbox, Tails, Timeline
from timeline.lsm.timelines import Timelines
from timeline.storage.rocks import INBOXES, SEGMENTS, Storage

_ROW_FAMILY: Final = keys.ROW[0]
_AUDIENCE_FAMILY: Final = keys.AUDIENCE[0]


class LogGapError(CorruptError):
    """The log goes on behind commits that are not there."""


class Applier:
    def __init__(self, tails: Tails, timelines: Timelines, inboxes: Inboxes) -> None:
        self._tails = tails
        self._timelines = timelines
        self._inboxes = inboxes

    def apply(self, group: Group, record: bytes, appends: Appends) -> int:
        """Apply a group that was staged here and written as `record`; how many references it put
        into in-boxes.
        """
        self._timelines.clock.note(group.first, group.time)
        for timeline in group.created:
            self._timelines.keep(timeline)
        if group.operations:
            self.apply_state(group.operations)
        self._tails.append(
            record, entries_start(appends), appends, appends.lsns(group.first), group.time
        )
        return self.apply_operations(group.operations) if group.operations else 0

    def apply_state(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if operation.kind == PUT:
                self._put(*split_put(operation))
            elif operation.kind == REMOVE:
                self._put(operation.body, None)

    def apply_operations(self, operations: Sequence[Operation]) -> int:
        delivered = 0
        for kind, lsn, target, argument, body in operations:
            if kind == DELIVER:
                to = decode_target(body)
                reached = self._inboxes.audience(target).reached(lsn)
                if to.inboxes:
                    left_out = set(to.inboxes)
                    reached = [inbox for inbox in reached if inbox.id not in left_out]
                self.deliver(reached, lsn, argument, to)
                delivered += len(reached)
            elif kind == NOTIFY:
                to = decode_target(body)
                inboxes = [self._inboxes.inbox(inbox_id) for inbox_id in to.inboxes]
                self.deliver(inboxes, lsn, argument, to)
                delivered += len(inboxes)
            elif kind == PATCH:
                timeline = self._timelines.load(target)
                if timeline is not None:
                    self._timelines.cache.forget(timeline, argument, argument)
                    self._tails.patch(timeline, argument, body)
            elif kind == TRIM:
                timeline = self._timelines.load(target)
                if timeline is not None:
                    self._tails.trim(timeline, argument)
            elif kind == DROP:
                self._drop(target)
        return delivered

    def deliver(self, inboxes: Sequence[Inbox], lsn: int, seq: int, to: Target) -> None:
        reference = encode_reference(lsn, to.timeline_id, seq, to.kind, to.ordinal)
        self._tails.deliver(inboxes, reference)

    def _put(self, key: bytes, value: bytes | None) -> None:
        self._tails.put(key, value)
        family = key[0]
        if family == _ROW_FAMILY:
            timeline_id = keys.split_number(key[1:])
            timeline = self._timelines.by_id.get(timeline_id)
            if timeline is None:
                self._timelines.disturb(timeline_id)
            else:
                timeline.row = None if value is None else decode_row(value)
        elif family == _AUDIENCE_FAMILY:
            self._inboxes.change(key, value)

    def _drop(self, timeline_id: int) -> None:
        timeline = self._timelines.by_id.get(timeline_id)
        if timeline is None:
            timeline = Timeline(timeline_id, b"", None)
        self._tails.drop(timeline)
        self._timelines.dropped(timeline)


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
        tails: Tails,
        timelines: Timelines,
        inboxes: Inboxes,
        progress: Progress,
    ) -> None:
        super().__init__(tails, timelines, inboxes)
        self._storage = storage
        self._progress = progress
        self.lsn, self.time, self.next_id = progress.sealed, progress.time, progress.next_id
        self._on_disk: dict[tuple[str, int], int] = {}

    def run(self, log: Log, relieve: Callable[[], None]) -> None:
        """Apply every record above the sealed LSN, or above where the last run ended; call
        `relieve` after each, so that memory stays bounded. Raises `LogGapError` where one is
        missing.
        """
        for record in log.records(self.lsn):
            if record.first != self.lsn + 1:
                raise LogGapError(
                    f"the log goes from LSN {self.lsn} to {record.first}: what lies between is "
                    "lost; restore a backup, or keep the whole prefix with `timeline repair`"
                )
            self._apply_record(record)
            self.lsn = record.last
            self.time = record.time
            relieve()
        self.settle()

    def settle(self) -> None:
        """Nothing is staged: the next number of each timeline follows its head."""
        for timeline in self._timelines.by_id.values():
            if timeline.next != keys.MAX:
                timeline.next = self._tails.head(timeline) + 1
            timeline.staged = timeline.row

    def _apply_record(self, record: Record) -> None:
        self._timelines.clock.note(record.first, record.time)
        self.apply_state(record.operations)
        for operation in record.operations:
            self.next_id = max(self.next_id, _given_id(operation) + 1)
        appends = record.appends
        interrupted = record.first <= self._progress.upto
        tails, timelines = self._tails, self._timelines
        for row, timeline_id, seq in zip(
            count(tails.visible), appends.timelines, appends.seqs, strict=False
        ):
            if interrupted and seq <= self._last_on_disk(SEGMENTS, timeline_id):
                continue
            timeline = timelines.by_id.get(timeline_id) or timelines.load(timeline_id)
            if timeline is not None:
                tails.touch(timeline)
                timeline.tail.append(row)
        tails.append(record.value, record.start, appends, appends.lsns(record.first), record.time)
        self.apply_operations(record.operations)

    def deliver(self, inboxes: Sequence[Inbox], lsn: int, seq: int, to: Target) -> None:
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
