"""What a commit that is not staged yet does to timelines and to state.

Responsibility: compute what each change means on top of everything staged so far, and collect it.
That is the numbers of entries, where a timeline begins, and which numbers are of no entry.

Rule: nothing is staged here, `draft` does that. A number is given out once, also when its entry is
trimmed, deleted or skipped. The caller holds the engine's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from timeline.commit.deleted import recall, remember
from timeline.commit.overlay import Overlay
from timeline.errors import CorruptError, NotFoundError, SequenceError, shown
from timeline.formats import keys
from timeline.formats.entries import encode_entry, encode_run
from timeline.formats.numbers import TimelineId
from timeline.formats.records import DROP, PATCH, TRIM, operation
from timeline.formats.rows import (
    INBOX,
    RAW,
    Retention,
    TimelineRow,
    encode_metadata,
    encode_retention,
)
from timeline.lsm.timeline import Timeline


class Changes(Overlay):
    """An overlay that is changed. `Draft` makes it, and stages what is in it."""

    # --- timelines ----------------------------------------------------------------------------

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
            columns = list(map(list, zip(*entries, strict=True)))
            for names in columns[::2]:
                stage.check_field(max(names, key=len))
            parts, sizes = encode_run(list(seqs), columns)
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
        oldest = next(islice(kept, length - 1, None), None)
        if oldest is None:
            raise CorruptError(
                f"timeline {shown(timeline.name)} has fewer entries than its row says: run "
                "`timeline verify`"
            )
        return self.trim(timeline, oldest[0])

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
            if self.entry(timeline, seq) is not None:
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
        if self.entry(timeline, seq) is None:
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

    # --- state --------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes) -> None:
        self._state[key] = value

    def remove(self, key: bytes) -> None:
        self._state[key] = None

    # --- what they need -----------------------------------------------------------------------

    def _operate(self, kind: int, target: TimelineId, argument: int = 0, body: bytes = b"") -> None:
        self._operations.append(operation(kind, self.lsn, target, argument, body))

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
