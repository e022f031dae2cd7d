"""An overlay: what the store will hold once everything staged is applied, and one commit on top.

Responsibility: hold what a draft has decided so far, and answer reads through it: the draft, the
open group, the pending group, applied state, in that order.

Rule: nothing here changes anything; `changes` and `draft` do. What is read may be shown only once
the group of the commit is done. The caller holds the engine's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar

from timeline.commit.group import Appended
from timeline.commit.stage import Stage, select
from timeline.errors import NotFoundError, WrongTypeError, shown
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.records import Operation
from timeline.formats.rows import (
    INBOX,
    NO_RETENTION,
    Retention,
    TimelineRow,
    decode_metadata,
    decode_retention,
    decode_row,
)
from timeline.formats.segments import StoredEntry
from timeline.lsm.clock import Clock
from timeline.lsm.ranges import Extent, Page
from timeline.lsm.state import merge
from timeline.lsm.timeline import Timeline


class Overlay:
    is_draft: ClassVar[bool] = True  # what it shows was not applied

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.lsn = Lsn(stage.open.next)
        self.time = stage.open.time or stage.now()
        self._appended = Appended()
        self._operations: list[Operation] = []
        self._patches: dict[tuple[int, int], bytes] = {}  # the same as those among the operations
        self._state: dict[bytes, bytes | None] = {}
        self._names: dict[bytes, Timeline | None] = {}
        self._created: list[Timeline] = []  # in order of ids, which are above all others
        self._headers: dict[Timeline, TimelineRow | None] = {}
        self._nexts: dict[Timeline, int] = {}
        self._next_id = stage.next_id  # given out once this is committed
        self._size = 0  # bytes of its entries
        self._made = 0  # things, entries and references

    # --- timelines ----------------------------------------------------------------------------

    def find(self, name: bytes) -> Timeline | None:
        if name in self._names:
            return self._names[name]
        return self._stage.find(name)

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

    def names(self, prefix: bytes = b"", after: bytes | None = None) -> Iterator[bytes]:
        """Names in byte order, those after `after` that begin with `prefix`."""
        start = keys.NAME + prefix
        if after is not None:
            start = max(start, keys.NAME + after + b"\0")
        for key, _ in self.scan(start, keys.successor(keys.NAME + prefix)):
            yield key[1:]

    def ids(self, after: int) -> Iterator[tuple[int, bytes]]:
        """(id, name) of timelines in order of ids, those above `after`."""
        if after < keys.MAX:
            start = keys.ROW + keys.number(after + 1)
            for key, value in self.scan(start, keys.successor(keys.ROW)):
                yield keys.split_number(key[1:]), decode_row(value).name
        for timeline in self._created:
            if timeline.id > after and self._headers[timeline] is not None:
                yield timeline.id, timeline.name

    @property
    def count(self) -> int:
        """How many raw timelines there are; those of the store itself (`@…`) are not counted."""
        value = self.get(keys.COUNT)
        return 0 if value is None else keys.split_number(value)

    @property
    def clock(self) -> Clock:
        """Of what was applied: a step that this commit itself is comes to count when it is."""
        return self._stage.timelines.ranges.clock

    def extent(self, timeline: Timeline) -> Extent:
        header = self._header(timeline)
        head = self._next(timeline) - 1
        length = head - header.first + 1 - header.holes
        added = head - header.skipped
        return Extent(header.first, head, length, header.created, header.deleted, added)

    def stored(
        self, timeline: Timeline, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[StoredEntry]:
        """Entries numbered `first` to `last`, inclusive, one by one."""
        header = self._header(timeline)
        first = max(first, header.first)
        stage, own = self._stage, self._appended
        extra = stage.staged(timeline, first, last)
        extra += [
            (own.seqs[index], self.lsn, self.time, own.payload(index))
            for index, owner in enumerate(own.timelines)
            if owner is timeline and first <= own.seqs[index] <= last
        ]
        applied = stage.timelines.ranges.each(timeline, first, last, reverse=reverse)
        parts = (iter(extra[::-1]), applied) if reverse else (applied, iter(extra))
        for part in parts:
            for seq, lsn, at, payload in part:
                present = self._present(timeline, seq, payload)
                if present:
                    yield seq, lsn, at, present

    def entry(self, timeline: Timeline, seq: int) -> StoredEntry | None:
        """Entry number `seq`; None when there is none."""
        if seq < self._header(timeline).first:
            return None
        found = self._stage.timelines.ranges.entry(timeline, seq)
        if found is None:
            found = self._staged_entry(timeline, seq)
        if found is None:
            return None
        present = self._present(timeline, seq, found[3])
        return (seq, found[1], found[2], present) if present else None

    def _staged_entry(self, timeline: Timeline, seq: int) -> StoredEntry | None:
        """Entry `seq` as it was appended, if that was not applied yet."""
        if timeline in self._nexts and seq >= timeline.next:
            own = self._appended
            for index, owner in enumerate(own.timelines):
                if owner is timeline and own.seqs[index] == seq:
                    return seq, self.lsn, self.time, own.payload(index)
            return None
        staged = self._stage.staged(timeline, seq, seq)
        return staged[0] if staged else None

    def _present(self, timeline: Timeline, seq: int, payload: bytes) -> bytes:
        """What patches that are not applied make of an entry; nothing when it is deleted."""
        present = self._patches.get((timeline.id, seq))
        if present is None:
            present = self._stage.patch(timeline, seq)
        return payload if present is None else present

    def read(
        self,
        timeline: Timeline,
        first: int = 0,
        last: int = keys.MAX,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Page:
        found = list(islice(self.stored(timeline, first, last, reverse=reverse), limit))
        return Page(len(found), [row[3] for row in found], found[-1][0] if found else None)

    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]:
        """What is known about a timeline besides its entries."""
        return decode_metadata(self.get(keys.META + keys.number(timeline.id)))

    def retention(self, timeline: Timeline) -> Retention:
        value = self.get(keys.RETENTION + keys.number(timeline.id))
        return NO_RETENTION if value is None else decode_retention(value)

    # --- state --------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        return self._state[key] if key in self._state else self._stage.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return merge(self._stage.scan(start, stop), select(self._state, start, stop))

    # --- what they need -----------------------------------------------------------------------

    def _header(self, timeline: Timeline) -> TimelineRow:
        header = self._headers.get(timeline, timeline.staged)
        if header is None:
            raise NotFoundError(f"timeline {shown(timeline.name)} was deleted in this commit")
        return header

    def _next(self, timeline: Timeline) -> int:
        if self._header(timeline).kind == INBOX:
            raise WrongTypeError("an in-box holds references and takes no entries")
        return self._nexts.get(timeline, timeline.next)
