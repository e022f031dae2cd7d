"""Applying: what a group does to memory, when it is durable and when the log is replayed.

Responsibility: apply a group in three steps: state, appends, other operations.

Rule: applying a record gives the same result each time, even if it was applied before. So it reads
nothing but what it writes itself, and rows of membership. These say who was a member at each LSN,
so they give the same answer in a replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from timeline.commit.group import Group
from timeline.formats import keys
from timeline.formats.numbers import Lsn, Seq, TimelineId
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
    Target,
    decode_target,
    entries_start,
    split_put,
)
from timeline.formats.references import encode_reference
from timeline.formats.rows import decode_row
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.memtable import Memtable
from timeline.lsm.timeline import Inbox, Timeline
from timeline.lsm.timelines import Timelines

_ROW_FAMILY: Final = keys.ROW[0]
_AUDIENCE_FAMILY: Final = keys.AUDIENCE[0]


class Applier:
    def __init__(self, memtable: Memtable, timelines: Timelines, inboxes: Inboxes) -> None:
        self._memtable = memtable
        self._timelines = timelines
        self._inboxes = inboxes

    def apply(self, group: Group, record: bytes, appends: Appends) -> int:
        """Apply a group that was staged here and written as `record`; how many references it put
        into in-boxes.
        """
        self._timelines.ranges.clock.note(group.first, group.time)
        for timeline in group.created:
            self._timelines.keep(timeline)
        if group.operations:
            self.apply_state(group.operations)
        self._memtable.append(
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
        deliveries: list[tuple[Sequence[Inbox], bytes]] = []
        argument: Any  # the number of an entry, or as its kind says
        for kind, lsn, target, argument, body in operations:
            if kind == DELIVER:
                to = decode_target(body)
                reached = self._inboxes.audience(target).reached(lsn)
                if to.inboxes:
                    left_out = set(to.inboxes)
                    reached = [inbox for inbox in reached if inbox.id not in left_out]
                deliveries.append((self.due(reached, lsn), _reference(lsn, argument, to)))
                delivered += len(reached)
            elif kind == NOTIFY:
                to = decode_target(body)
                inboxes = [self._inboxes.inbox(inbox_id) for inbox_id in to.inboxes]
                deliveries.append((self.due(inboxes, lsn), _reference(lsn, argument, to)))
                delivered += len(inboxes)
            elif kind == PATCH:
                timeline = self._timelines.load(target)
                if timeline is not None:
                    self._timelines.ranges.cache.forget(timeline, argument, argument)
                    self._memtable.patch(timeline, argument, body)
            elif kind == TRIM:
                timeline = self._timelines.load(target)
                if timeline is not None:
                    self._memtable.trim(timeline, argument)
            elif kind == DROP:
                self._drop(target)
        self._memtable.deliver_all(deliveries)
        return delivered

    def due(self, inboxes: Sequence[Inbox], lsn: Lsn) -> Sequence[Inbox]:  # noqa: ARG002  a replay asks
        """Those of `inboxes` that lack what commit `lsn` delivered: all, but in a replay."""
        return inboxes

    def _put(self, key: bytes, value: bytes | None) -> None:
        self._memtable.put(key, value)
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
            timeline = Timeline(TimelineId(timeline_id), b"", None)
        self._memtable.drop(timeline)
        self._timelines.dropped(timeline)


def _reference(lsn: Lsn, seq: Seq, to: Target) -> bytes:
    return encode_reference(lsn, to.timeline_id, seq, to.kind, to.ordinal)
