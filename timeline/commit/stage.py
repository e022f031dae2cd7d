"""The stage: what the open group holds and is not on the disk yet.

Responsibility: hold the open group, and the pending one which is being written; number commits and
ids, tell the time, check what is to be stored against its limits, and answer look-ups through open
group, pending group, applied state, in that order.

Rule: a number is given out once. What is staged was checked before, so that a commit which fails
half way leaves nothing here. A stage belongs to one opening of the storage: it begins at the end of
the log. If a group fails, the stage is thrown away and another begins from the log.

The caller holds the engine's lock.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from timeline.commit.dropped import DroppedNames
from timeline.commit.gate import Gate
from timeline.commit.group import Group
from timeline.commit.outcomes import Outcomes
from timeline.errors import SequenceError, TimelineError, TooLargeError, UsageError, WrongTypeError
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.rows import INBOX
from timeline.formats.segments import StoredEntry
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.memtable import Memtable
from timeline.lsm.state import State, merge
from timeline.lsm.timeline import Timeline
from timeline.lsm.timelines import Timelines
from timeline.options import Options


class Outliving(NamedTuple):
    """What staging needs and goes on when the storage is opened again."""

    gate: Gate
    outcomes: Outcomes
    dropped: DroppedNames


class Stage:
    def __init__(
        self,
        options: Options,
        outliving: Outliving,
        memtable: Memtable,
        timelines: Timelines,
        state: State,
        inboxes: Inboxes,
        *,
        lsn: int,
        now: int,
        next_id: int,
    ) -> None:
        """The log ends at `lsn`, with a commit of time `now`, and `next_id` is free."""
        self.gate, self._outcomes, self.dropped = outliving
        self.memtable = memtable
        self.timelines = timelines
        self.by_name = timelines.by_name
        self._state = state
        self.inboxes = inboxes
        self._options = options
        self._items_limit = 2 * options.entry_fields
        self.field_limit = options.field_name_bytes
        self.entry_limit = options.entry_bytes
        self.group_limit = options.group_bytes
        self.deleted_names = options.deleted_names
        # Whether names of deleted timelines are perhaps remembered: else none is looked up.
        self.some_deleted = state.get(keys.DELETED) is not None
        self.open = Group(Lsn(lsn + 1), memtable.visible)
        self.pending: Group | None = None  # closed, and neither applied nor failed
        self.next_id = next_id
        self.last_time = now  # of the last commit of a closed group

    # --- what is needed to stage --------------------------------------------------------------

    def now(self) -> int:
        """The time of a commit: not before that of the last one, unless that is so far ahead of the
        machine's clock that it was wrong.
        """
        now, last = time.time_ns() // 1_000_000, self.last_time
        return now if now >= last or last - now > self._options.clock_ahead_ms else last

    def check_items(self, items: Sequence[bytes]) -> None:
        """Raise unless `items` is field, value, … within the limits."""
        count = len(items)
        if count < 2 or count & 1 or count > self._items_limit:
            if count > self._items_limit:
                raise TooLargeError(f"an entry has at most {self._items_limit // 2} fields")
            raise UsageError("an entry is one or more pairs of field and value")
        for index in range(0, count, 2):
            self.check_field(items[index])

    def check_field(self, name: bytes) -> None:
        if len(name) > self.field_limit:
            raise TooLargeError(f"a field name is at most {self.field_limit} bytes")

    def check_size(self, size: int) -> None:
        """Raise unless an entry may have `size` bytes in stored form."""
        if size > self.entry_limit:
            raise TooLargeError(
                f"an entry of {size} bytes is above the limit of {self.entry_limit}"
            )

    def check_room(self) -> None:
        """Raise unless the open group takes another commit."""
        self.gate.check_room(self.open.size)

    def latest(self) -> Group:
        """The group to wait for, to see done what was staged so far."""
        if self.open.commits:
            return self.open
        # Callbacks come in the order of groups, and one that is added now comes last.
        last = self.pending or self._outcomes.newest()
        if last is not None:
            return last
        nothing = Group(self.open.first, self.open.base)
        nothing.done = nothing.told = True
        return nothing

    def no_number(self, timeline: Timeline) -> TimelineError:
        """Why `timeline`, which has no number left to give out, takes no entry."""
        if timeline.staged is not None and timeline.staged.kind == INBOX:
            return WrongTypeError("an in-box holds references and takes no entries")
        return SequenceError("the timeline has given out its last sequence number")

    def check_name(self, name: bytes) -> None:
        if not 1 <= len(name) <= self._options.name_bytes:
            raise UsageError(f"a timeline's name is 1 to {self._options.name_bytes} bytes long")

    def find(self, name: bytes) -> Timeline | None:
        """The timeline called `name` as it will be when the open group is applied."""
        for group in (self.open, self.pending):
            if group is not None and name in group.names:
                return group.names[name]
        return self.timelines.find(name)

    def get(self, key: bytes) -> bytes | None:
        """State as it will be when the open group is applied."""
        for group in (self.open, self.pending):
            if group is not None and key in group.state:
                return group.state[key]
        return self._state.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        pairs = self._state.scan(start, stop)
        for group in (self.pending, self.open):
            if group is not None:
                pairs = merge(pairs, select(group.state, start, stop))
        return pairs

    def groups(self) -> list[Group]:
        """The groups that are staged and not applied, in order."""
        return [self.open] if self.pending is None else [self.pending, self.open]

    def appended_to(self) -> list[Timeline]:
        """The timelines with entries that are staged and not applied, some more than once."""
        return [timeline for group in self.groups() for timeline in group.appended.timelines]

    def staged(self, timeline: Timeline, first: int, last: int) -> list[StoredEntry]:
        """The entries numbered `first` to `last` of a timeline that are staged and not applied."""
        tail = timeline.tail
        found: list[StoredEntry] = []
        for group in self.groups():
            low, high = bisect_left(tail, group.base), bisect_left(tail, group.end)
            start = bisect_left(tail, first, low, high, key=group.seq)
            stop = bisect_right(tail, last, start, high, key=group.seq)
            found += map(group.stored, tail[start:stop])
        return found

    def patch(self, timeline: Timeline, seq: int) -> bytes | None:
        """What a staged patch makes of entry `seq`, empty when it is deleted; None: nothing."""
        for group in (self.open, self.pending):
            if group is not None and (timeline.id, seq) in group.patches:
                return group.patches[timeline.id, seq]
        return None

    def close_group(self) -> Group:
        """Take the open group for writing and open the next one."""
        group = self.pending = self.open
        self.last_time = group.time
        self.open = Group(Lsn(group.next), group.end)
        return group

    def abandon(self) -> tuple[Group | None, Group]:
        """Give up what is staged: the pending group and the open one. Another stage follows."""
        pending, open_group = self.pending, self.open
        self.pending, self.open = None, Group(Lsn(open_group.next), open_group.end)
        return pending, open_group


def select(
    state: dict[bytes, bytes | None], start: bytes, stop: bytes
) -> Iterator[tuple[bytes, bytes | None]]:
    """The pairs of a small dict from `start` up to, without, `stop`, in order."""
    return iter(sorted((key, value) for key, value in state.items() if start <= key < stop))
