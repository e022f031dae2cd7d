"""A draft: one commit in the making.

Responsibility: collect any number of operations on timelines, in-boxes and state, compute what
they mean (numbers, extents, memberships) on top of everything staged so far, and stage them as
one commit. Its reads are those of the overlay.

Rule: nothing happens before `commit`; a draft that is dropped leaves nothing. A draft reads what
the store will hold when every group staged so far is applied, with the draft itself on top. So what
it returns may be shown only once its group is done. Keep the engine's lock from making a draft to
its `commit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from timeline.commit.deleted import recall, remember
from timeline.commit.deliveries import Deliveries
from timeline.commit.group import Group
from timeline.commit.overlay import Overlay
from timeline.commit.stage import Stage
from timeline.errors import NotFoundError, SequenceError, TooLargeError, UsageError
from timeline.formats import keys
from timeline.formats.entries import encode_entry, encode_run
from timeline.formats.numbers import NO_TIMELINE, TimelineId
from timeline.formats.records import (
    DELIVER,
    DROP,
    NOTIFY,
    PATCH,
    PUT,
    REMOVE,
    TRIM,
    Operation,
    encode_target,
)
from timeline.formats.rows import (
    INBOX,
    RAW,
    Retention,
    TimelineRow,
    encode_metadata,
    encode_retention,
    encode_row,
    encode_spans,
)
from timeline.lsm.inboxes import OPEN
from timeline.lsm.timeline import Timeline


class Commit(NamedTuple):
    """A staged commit; it stands once its group is done without an error."""

    lsn: int
    time: int
    group: Group


class Draft(Overlay):
    """One commit with any number of operations; nothing happens before `commit`."""

    def __init__(self, stage: Stage) -> None:
        """Raises `BusyError`, and whatever writes get while writing is off."""
        group = stage.open
        if group.size > stage.gate.room:
            stage.check_room()
        super().__init__(stage)
        self._group = group
        self._next_id = stage.next_id  # given out once this is committed
        self._deliveries = Deliveries(stage.group_limit // 8)
        self._size = 0
        self._made = 0
        self._committed: list[Callable[[], None]] = []

    @property
    def made(self) -> int:
        """How many things, entries and references, this commit has made so far: the ordinal of
        the next.
        """
        return self._made

    # --- timelines ----------------------------------------------------------------------------

    def load(self, timeline_id: int) -> Timeline | None:
        """The timeline with `timeline_id`; None when there is none, or it was dropped."""
        stage = self._stage
        timeline = stage.timelines.load(timeline_id)
        if timeline is None:
            made = [self._created, stage.open.created]
            if stage.pending is not None:
                made.append(stage.pending.created)
            found = (each for group in made for each in group if each.id == timeline_id)
            timeline = next(found, None)
            if timeline is None:
                return None
        return None if self._headers.get(timeline, timeline.staged) is None else timeline

    def create(self, name: bytes, kind: int = RAW) -> Timeline:
        """Make the timeline called `name`, which must not exist."""
        self._stage.check_name(name)
        timeline_id = TimelineId(self._next_id)
        self._next_id = timeline_id + 1
        raw = not name.startswith(b"@")
        head = recall(self, name) if raw and self._stage.some_deleted else 0
        first = 0 if kind == INBOX else head + 1
        header = TimelineRow(kind, self.time, first, head, 0, 0, name, head)
        timeline = Timeline(timeline_id, name, None)
        if kind == INBOX:
            self._nexts[timeline] = keys.MAX
        elif head:
            self._nexts[timeline] = head + 1
        self._names[name] = timeline
        self._created.append(timeline)
        self._headers[timeline] = header
        self.put(keys.NAME + name, keys.number(timeline_id))
        if raw:
            self.put(keys.COUNT, keys.number(self.count + 1))
        return timeline

    def find_or_create(self, name: bytes) -> Timeline:
        return self.find(name) or self.create(name)

    def append(self, timeline: Timeline, items: Sequence[bytes], seq: int | None = None) -> int:
        """Append an entry and return its number; an explicit `seq` must exceed the head, else
        `SequenceError`. In a timeline that this commit makes it may be any: callers that choose
        numbers begin where they like, also below those that a deleted timeline had given out.
        """
        self._stage.check_items(items)
        number = self._next(timeline)
        if seq is not None and seq != number:
            if 0 < seq < number and self._begins(timeline, number):
                self._begin_at(timeline, seq)
            else:
                self._skip(timeline, number, seq)
            number = seq
        if number > keys.LAST:
            raise self._stage.no_number(timeline)
        payload = encode_entry(number, items)
        self._stage.check_size(len(payload))
        self._appended.add(timeline, number, payload)
        self._nexts[timeline] = number + 1
        self._size += len(payload)
        self._made += 1
        return number

    def append_many(self, timeline: Timeline, entries: Sequence[Sequence[bytes]]) -> int:
        """Append entries one after another; the number of the first."""
        stage = self._stage
        first = self._next(timeline)
        seqs = range(first, first + len(entries))
        if seqs.stop > keys.LAST + 1:
            raise stage.no_number(timeline)
        widths = set(map(len, entries))
        for items in entries if len(widths) > 1 else entries[:1]:
            stage.check_items(items)
        if len(widths) == 1:
            columns = list(zip(*entries, strict=True))
            for names in columns[::2]:
                stage.check_field(max(names, key=len))
            parts, sizes = encode_run(seqs, columns)
        else:
            parts = list(map(encode_entry, seqs, entries))
            sizes = list(map(len, parts))
        if sizes:
            stage.check_size(max(sizes))
            self._appended.add_run(
                [timeline] * len(seqs), [timeline.id] * len(seqs), seqs, parts, sizes
            )
            self._size += sum(sizes)
            self._nexts[timeline] = seqs.stop
            self._made += len(seqs)
        return first

    def trim(self, timeline: Timeline, first: int) -> int:
        """Remove every entry below number `first`; how many there were."""
        header = self._header(timeline)
        head = self._next(timeline) - 1
        first = min(first, head + 1)
        if first <= header.first:
            return 0
        numbers = first - header.first
        if header.holes and first <= head:
            removed = sum(1 for _ in self.stored(timeline, header.first, first - 1))
        else:
            removed = numbers - header.holes
        self._headers[timeline] = header._replace(
            first=first, floor=head, holes=header.holes - (numbers - removed)
        )
        self._operate(TRIM, timeline.id, first)
        return removed

    def pass_on(self, timeline_id: int) -> None:
        """Say of a timeline what is so already, where it begins, so that this commit is one and the
        log can let go of the one before.
        """
        timeline = self._stage.timelines.load(timeline_id)
        first = 0 if timeline is None or timeline.row is None else timeline.row.first
        self._operate(TRIM, TimelineId(timeline_id), first)

    def trim_to_length(self, timeline: Timeline, length: int) -> int:
        """Remove the oldest entries until `length` are left; how many were removed."""
        extent = self.extent(timeline)
        if extent.length <= length:
            return 0
        if length == 0:
            return self.trim(timeline, extent.head + 1)
        if self._header(timeline).holes == 0:
            return self.trim(timeline, extent.head - length + 1)
        kept = self.stored(timeline, extent.first, extent.head, reverse=True)
        first = next(islice(kept, length - 1, None))[0]
        return self.trim(timeline, first)

    def trim_to_age(self, timeline: Timeline, age: int) -> int:
        """Remove the entries that are older than `age` ms; how many were removed."""
        if timeline.row is None:  # made by this commit
            return 0
        first = self._stage.timelines.ranges.first_since(timeline, self.time - age)
        return self.trim(timeline, first)

    def delete(self, timeline: Timeline, seqs: Sequence[int]) -> int:
        """Delete single entries; how many of `seqs` were there."""
        removed = 0
        for seq in dict.fromkeys(seqs):
            if next(self.stored(timeline, seq, seq), None) is not None:
                header = self._header(timeline)
                self._headers[timeline] = header._replace(
                    floor=self._next(timeline) - 1,
                    holes=header.holes + 1,
                    deleted=max(header.deleted, seq),
                )
                self._patch(timeline, seq, b"")
                removed += 1
        return removed

    def replace(self, timeline: Timeline, seq: int, items: Sequence[bytes]) -> None:
        """Give entry `seq` other fields. Raises `NotFoundError` when there is none."""
        self._stage.check_items(items)
        if next(self.stored(timeline, seq, seq), None) is None:
            raise NotFoundError(f"there is no entry {seq} to replace")
        payload = encode_entry(seq, items)
        self._stage.check_size(len(payload))
        self._patch(timeline, seq, payload)

    def set_head(
        self,
        timeline: Timeline,
        head: int,
        *,
        added: int | None = None,
        deleted: int = 0,
    ) -> None:
        """Give out no number up to `head` again (Redis XSETID). `added` is how many entries were
        ever added, `deleted` the highest number that was deleted singly, where the caller knows
        better.

        Raises `SequenceError` below the last entry, or below what was given out.
        """
        newest = next(self.stored(timeline, 0, keys.MAX, reverse=True), None)
        if newest is not None and head < newest[0]:
            raise SequenceError(
                "The ID specified in XSETID is smaller than the target stream top item"
            )
        if newest is not None and added is not None and added < self.extent(timeline).length:
            raise SequenceError(
                "The entries_added specified in XSETID is smaller than the target stream length"
            )
        current = self._next(timeline) - 1
        if head < current:
            raise SequenceError(
                f"the head is {current} and numbers are never given out twice: it cannot go back"
            )
        self._skip(timeline, current + 1, head + 1)
        header = self._header(timeline)
        if newest is None:
            header = header._replace(first=head + 1, holes=0)
        if added is not None:
            header = header._replace(skipped=head - added)
        self._headers[timeline] = header._replace(floor=head, deleted=deleted or header.deleted)
        self._nexts[timeline] = head + 1

    def merge_metadata(
        self, timeline: Timeline, changes: Iterable[tuple[bytes, bytes]]
    ) -> dict[bytes, bytes]:
        """Set fields of the metadata, an empty value removing; all of it after that.

        Raises `TooLargeError` beyond the limits of an entry.
        """
        merged = self.metadata(timeline) | dict(changes)
        merged = {field: value for field, value in merged.items() if value}
        key = keys.META + keys.number(timeline.id)
        if merged:
            items = [item for pair in merged.items() for item in pair]
            self._stage.check_items(items)
            encoded = encode_metadata(items)
            self._stage.check_size(len(encoded))
            self.put(key, encoded)
        else:
            self.remove(key)
        return merged

    def set_retention(self, timeline: Timeline, retention: Retention) -> None:
        """Trim this timeline by itself from now on; all zero: no more."""
        key = keys.RETENTION + keys.number(timeline.id)
        if any(retention):
            self.put(key, encode_retention(retention))
        else:
            self.remove(key)

    def drop(self, timeline: Timeline) -> None:
        """Delete a timeline with everything in it; its name is free again, its id is not, and
        neither are the numbers of a raw one (see `deleted`).
        """
        if not timeline.name.startswith(b"@"):
            most = self._stage.deleted_names
            self._stage.some_deleted = True
            remember(self, timeline.name, self._next(timeline) - 1, most)
            self.put(keys.COUNT, keys.number(self.count - 1))
        for family in (keys.ROW, keys.META, keys.RETENTION):
            key = family + keys.number(timeline.id)
            if family == keys.ROW or self.get(key) is not None:
                self.remove(key)
        self.remove(keys.NAME + timeline.name)
        self._names[timeline.name] = None
        self._headers[timeline] = None
        self._operate(DROP, timeline.id)

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

    # --- state --------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes) -> None:
        self._state[key] = value

    def remove(self, key: bytes) -> None:
        self._state[key] = None

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
            operation = self._operations[place]
            self._operations[place] = operation._replace(body=operation.body + left_out)
        operations = [
            Operation(REMOVE, self.lsn, NO_TIMELINE, 0, key)
            if value is None
            else Operation(PUT, self.lsn, NO_TIMELINE, len(key), key + value)
            for key, value in self._state.items()
        ]
        operations += self._operations
        size = self._size + sum(len(operation.body) + 32 for operation in operations)
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

    def _operate(self, kind: int, target: TimelineId, argument: int = 0, body: bytes = b"") -> None:
        self._operations.append(Operation(kind, self.lsn, target, argument, body))

    def _patch(self, timeline: Timeline, seq: int, payload: bytes) -> None:
        self._operate(PATCH, timeline.id, seq, payload)
        self._patches[timeline.id, seq] = payload

    def _skip(self, timeline: Timeline, number: int, seq: int) -> None:
        """Leave out the numbers from `number` up to, without, `seq`."""
        if seq < number:
            raise SequenceError(
                "The ID specified in XADD is equal or smaller than the target stream top item"
            )
        if seq > keys.LAST:
            raise SequenceError(f"the highest sequence number is {keys.LAST}")
        header = self._header(timeline)
        header = header._replace(skipped=header.skipped + seq - number)
        if number - header.first - header.holes == 0:  # nothing in it: it may begin at seq
            header = header._replace(first=seq, holes=0)
        else:
            header = header._replace(holes=header.holes + seq - number)
        self._headers[timeline] = header

    def _begins(self, timeline: Timeline, number: int) -> bool:
        """Whether this commit made the timeline, and has put nothing into it so far."""
        header = self._header(timeline)
        return timeline.staged is None and header.first == number == header.skipped + 1

    def _begin_at(self, timeline: Timeline, seq: int) -> None:
        header = self._header(timeline)
        self._headers[timeline] = header._replace(first=seq, floor=seq - 1, skipped=seq - 1)
