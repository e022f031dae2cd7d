"""Appends as commits of their own: the path that every message takes, so it is written for speed.

Rule: an append here makes the same checks as a `Draft` with one `append`, and has the same result.
Rare cases go to the draft (a new timeline) and to the codec (a number or a size that its tables do
not hold). A pipeline of appends is staged column by column: in Python a call for each entry costs
more than storing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from timeline.commit.draft import Draft
from timeline.commit.stage import Stage
from timeline.formats.entries import encode_run, put_entry
from timeline.formats.keys import LAST
from timeline.lsm.timeline import Timeline
from timeline.options import Options

if TYPE_CHECKING:
    from mypy_extensions import i64

_FRAME: Final = 64  # more than what stands around the items of an entry
_MANY: Final = 8  # timelines from which on it pays to look them up together
_HEAD: Final = 16  # more than what stands before an item


class Appender:
    def __init__(self, stage: Stage, options: Options) -> None:
        self._stage = stage
        self._items_limit = 2 * options.entry_fields
        self._field_limit = options.field_name_bytes
        self._entry_limit = options.entry_bytes
        self._gate = stage.gate

    def append(self, name: bytes, items: Sequence[bytes]) -> int:
        """Stage one entry at the end of the timeline `name`, which is made if it is new.

        `items` is field, value, field, value, …. Returns its sequence number. The caller holds the
        engine's lock. Raises `UsageError`, `TooLargeError`, `BusyError`, `ReadOnlyError`; then
        nothing was staged.
        """
        stage = self._stage
        group = stage.open
        if group.size > self._gate.room:
            stage.check_room()
        timeline = stage.by_name.get(name)
        if timeline is None or timeline.next > LAST:  # dropped, perhaps, and made again
            timeline = stage.find(name)
            if timeline is None:
                draft = Draft(stage)
                seq = draft.append(draft.create(name), items)
                draft.commit()
                return seq
            if timeline.next > LAST:
                raise stage.no_number(timeline)
        seq = timeline.next
        if len(items) != 2 or len(items[0]) > self._field_limit:
            stage.check_items(items)
        parts: list[bytes] = []
        size = put_entry(parts, seq, items)
        if size > self._entry_limit:
            stage.check_size(size)
        memtable = stage.memtable
        if timeline.generation != memtable.active.number:
            memtable.touch(timeline)
        if not group.time:
            group.time = stage.now()
        if group.offsets is not None:
            group.offsets.append(group.next - group.first)
        appended = group.appended
        timeline.tail.append(group.base + len(appended.seqs))
        timeline.next = seq + 1
        appended.add_parts(timeline, seq, parts, size)
        group.next += 1
        group.size += size
        return seq

    def append_run(self, names: list[bytes], columns: Sequence[list[bytes]]) -> list[int]:
        """Stage many entries with equally many items each, every one as a commit of its own.

        `columns` are the first items of all, their second items, and so on. Returns the numbers of
        those staged: the first so many, none where only `append` can tell what is to be done.
        """
        stage = self._stage
        group = stage.open
        if group.size > self._gate.room:
            return []
        if not self._fit(columns):
            return []
        found = list(map(stage.by_name.get, names))
        if not all(found):
            self._find_others(found, names)
        timelines = cast(list[Timeline], found)
        seqs = self._number(timelines, group.end)
        count = len(seqs)
        if count < len(names):
            if not count:
                return []
            del timelines[count:]
            columns = [column[:count] for column in columns]
        try:
            parts, sizes = encode_run(seqs, columns)
        except BaseException:
            self._take_back(timelines)
            raise
        ids = [timeline.id for timeline in timelines]
        group.appended.add_run(timelines, ids, seqs, parts, sizes)
        if not group.time:
            group.time = stage.now()
        if group.offsets is not None:
            offset = group.next - group.first
            group.offsets += range(offset, offset + count)
        group.next += count
        group.size += sum(sizes)
        return seqs

    def _find_others(self, timelines: list[Timeline | None], names: list[bytes]) -> None:
        """Find those that are not in memory, up to, without, the first that does not exist."""
        if timelines.count(None) >= _MANY:
            unknown = [name for name, each in zip(names, timelines, strict=True) if each is None]
            self._stage.timelines.load_named(unknown)
        for place, timeline in enumerate(timelines):
            if timeline is None:
                found = timelines[place] = self._stage.find(names[place])
                if found is None:
                    del timelines[place:]
                    return

    def _fit(self, columns: Sequence[list[bytes]]) -> bool:
        """Whether every entry is surely within the limits."""
        if len(columns) > self._items_limit:
            return False
        room = self._entry_limit - _FRAME
        for place, column in enumerate(columns):
            longest: i64 = 0
            for item in column:
                longest = max(longest, len(item))
            room -= longest + _HEAD
            if not place & 1 and longest > self._field_limit:
                return False
        return room >= 0

    def _number(self, timelines: Sequence[Timeline], first_row: int) -> list[int]:
        """Give each of `timelines` its next number and put it into its tail, from `first_row` on.

        Returns the numbers, up to the first timeline that has none to give.
        """
        memtable = self._stage.memtable
        generation = memtable.active.number
        seqs: list[int] = []
        add = seqs.append
        for row, timeline in enumerate(timelines, first_row):
            seq = timeline.next
            if seq > LAST:  # none to give: an in-box, or dropped
                break
            if timeline.generation != generation:
                memtable.touch(timeline)
            timeline.tail.append(row)
            timeline.next = seq + 1
            add(seq)
        return seqs

    @staticmethod
    def _take_back(timelines: Sequence[Timeline]) -> None:
        """Undo `_number`: the numbers were not used."""
        for timeline in timelines:
            timeline.tail.pop()
            timeline.next -= 1
