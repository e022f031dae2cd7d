"""A draft: one commit that is not staged yet.

Responsibility: begin a commit, collect what it does to in-boxes, and stage all of it together.
`changes` collects what it does to timelines and to state. `overlay` answers its reads.

Rule: nothing happens before `commit`; a draft that is dropped leaves nothing. A draft reads what
the store will hold when every group staged so far is applied, with the draft itself on top. So what
it returns may be shown only once its group is done. The caller makes a draft and commits it under
one hold of the engine's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from timeline.commit.changes import Changes
from timeline.commit.deliveries import Deliveries
from timeline.commit.group import Group
from timeline.commit.stage import Stage
from timeline.errors import TooLargeError, UsageError
from timeline.formats import keys
from timeline.formats.numbers import NO_TIMELINE, TimelineId
from timeline.formats.records import DELIVER, NOTIFY, PUT, REMOVE, encode_target, operation
from timeline.formats.rows import encode_row, encode_spans
from timeline.lsm.inboxes import OPEN
from timeline.lsm.timeline import Timeline


class Commit(NamedTuple):
    """A staged commit; it stands once its group is done without an error."""

    lsn: int
    time: int
    group: Group


class Draft(Changes):
    """One commit with any number of operations; nothing happens before `commit`."""

    def __init__(self, stage: Stage) -> None:
        """Raises `BusyError`, and whatever writes get while writing is off."""
        group = stage.open
        if group.size > stage.gate.room:
            stage.check_room()
        super().__init__(stage)
        self._group = group
        self._deliveries = Deliveries(stage.group_limit // 8)
        self._committed: list[Callable[[], None]] = []

    @property
    def made(self) -> int:
        """How many things, entries and references, this commit has made so far: the ordinal of
        the next.
        """
        return self._made

    # --- in-boxes -----------------------------------------------------------------------------

    def join(self, audience_id: int, inbox_ids: Sequence[int]) -> int:
        """Make in-boxes members from now on; how many were not."""
        changed = 0
        fresh: list[int] = []
        for inbox_id in inbox_ids:
            spans = self._spans(audience_id, inbox_id)
            if spans and spans[-1][1] == OPEN:
                continue
            if spans and spans[-1][1] == self.lsn:  # left and re-joined in one commit
                spans[-1] = (spans[-1][0], OPEN)
                self._deliveries.come_back(audience_id, inbox_id)
            else:
                spans.append((self.lsn, OPEN))
                fresh.append(inbox_id)
            self._set_spans(audience_id, inbox_id, spans)
            changed += 1
        self._deliveries.join(audience_id, fresh)
        return changed

    def leave(self, audience_id: int, inbox_ids: Sequence[int]) -> int:
        """End membership now; how many were members."""
        changed = 0
        for inbox_id in inbox_ids:
            spans = self._spans(audience_id, inbox_id)
            if not spans or spans[-1][1] != OPEN:
                continue
            spans[-1] = (spans[-1][0], self.lsn)
            self._set_spans(audience_id, inbox_id, spans)
            self._deliveries.leave(audience_id, inbox_id)
            changed += 1
        return changed

    def deliver(self, audience_id: TimelineId, timeline: Timeline, seq: int, kind: int) -> None:
        """Put a reference into the in-box of every member, recorded once; who has left in this
        commit is no member any more.
        """
        self._deliveries.add(audience_id, len(self._operations))
        self._operate(DELIVER, audience_id, seq, encode_target(timeline.id, kind, self._made))
        self._made += 1

    def notify(self, inbox_ids: Sequence[int], timeline: Timeline, seq: int, kind: int) -> None:
        """Put a reference into the in-boxes named."""
        self._operate(
            NOTIFY, NO_TIMELINE, seq, encode_target(timeline.id, kind, self._made, inbox_ids)
        )
        self._made += 1

    def _spans(self, audience_id: int, inbox_id: int) -> list[tuple[int, int]]:
        value = self.get(keys.AUDIENCE + keys.pair(audience_id, inbox_id))
        return self._stage.inboxes.live_spans(value)

    def _set_spans(self, audience_id: int, inbox_id: int, spans: list[tuple[int, int]]) -> None:
        self.put(keys.AUDIENCE + keys.pair(audience_id, inbox_id), encode_spans(spans))

    # --- the end ------------------------------------------------------------------------------

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback()` once this is staged as a commit, or was found to be nothing; not when
        it is refused or dropped.
        """
        self._committed.append(callback)

    @property
    def empty(self) -> bool:
        return not (self._appended.seqs or self._operations or self._state or self._headers)

    def commit(self) -> Commit:
        """Stage all of it as one commit; an empty draft commits nothing."""
        commit = self._stage_all()
        for callback in self._committed:
            callback()
        return commit

    def _stage_all(self) -> Commit:
        stage, group = self._stage, self._group
        if stage.open is not group or group.next != self.lsn:
            raise UsageError("a draft must be committed before anything else is staged")
        if self.empty:
            return Commit(self.lsn - 1, self.time, stage.latest())
        for timeline, header in self._headers.items():
            if header is not None:
                self.put(keys.ROW + keys.number(timeline.id), encode_row(header))
        for place, left_out in self._deliveries.left_out():
            before = self._operations[place]
            self._operations[place] = before._replace(body=before.body + left_out)
        operations = [
            operation(REMOVE, self.lsn, NO_TIMELINE, 0, key)
            if value is None
            else operation(PUT, self.lsn, NO_TIMELINE, len(key), key + value)
            for key, value in self._state.items()
        ]
        operations += self._operations
        size = self._size + sum(len(each.body) + 32 for each in operations)
        if size > stage.group_limit:
            raise TooLargeError(f"a commit of {size} bytes is above what one group may hold")
        stage.next_id = self._next_id
        group.time = self.time
        self._append_to(group, alone=not operations)
        group.operations += operations
        group.patches.update(self._patches)
        group.state.update(self._state)
        group.names.update(self._names)
        for name, left in self._names.items():
            if left is None:
                stage.dropped.note(name)
        group.created += self._created
        group.size += size
        group.next += 1
        for timeline, number in self._nexts.items():
            timeline.next = number
        for timeline, header in self._headers.items():
            timeline.staged = header
            if header is None:
                timeline.next = keys.MAX
        return Commit(self.lsn, self.time, group)

    def _append_to(self, group: Group, *, alone: bool) -> None:
        """Stage the entries; `alone` when the commit does nothing else."""
        own = self._appended
        if group.offsets is not None or not alone or len(own) != 1:
            group.spread().extend([self.lsn - group.first] * len(own))
        memtable = self._stage.memtable
        for row, timeline in enumerate(own.timelines, group.end):
            memtable.touch(timeline)
            timeline.tail.append(row)
        group.appended.add_run(own.timelines, own.ids, own.seqs, own.parts, own.sizes)
