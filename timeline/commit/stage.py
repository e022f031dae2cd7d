"""The stage: what the open group has decided and no disk has seen.

Responsibility: hold the open group and the group in flight, number commits and ids, tell the time,
check what is to be stored against its limits, and answer look-ups through open group, group in
flight, applied state, in that order.

Rule: a number is given out once. What is staged was checked before, so that a commit which fails
half way leaves nothing here. If a group fails, everything here is thrown away and rebuilt from
the log.

The caller holds the engine's lock. `refusal` is what every write raises while writing is off.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from timeline.commit.group import Group
from timeline.errors import (
    BusyError,
    SequenceError,
    TimelineError,
    TooLargeError,
    UsageError,
    WrongTypeError,
)
from timeline.formats import keys
from timeline.formats.rows import INBOX
from timeline.formats.segments import Row
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.memtable import Memtable
from timeline.lsm.state import State, merge
from timeline.lsm.timeline import Timeline
from timeline.lsm.timelines import Timelines
from timeline.options import Options

_DROPPED = 1024  # names of deleted timelines that are remembered


class Stage:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._items_limit = 2 * options.entry_fields
        self.field_limit = options.field_name_bytes
        self.entry_limit = options.entry_bytes
        self.group_limit = options.group_bytes
        self.deleted_names = options.deleted_names
        self.some_deleted = False  # whether names are perhaps remembered: else none is looked up
        self.refusal: TimelineError | None = None
        self.open = Group(1, 0)
        self.flying: Group | None = None
        self.ending: deque[Group] = deque()  # done, and not everybody was told
        self.next_id = 1
        self.last_time = 0  # of the last commit of a closed group
        self.drops = 0  # how many timelines were deleted by commits staged here, and the last of
        self._dropped: deque[bytes] = deque(maxlen=_DROPPED)  # their names

    def reset(
        self,
        memtable: Memtable,
        timelines: Timelines,
        state: State,
        inboxes: Inboxes,
        *,
        lsn: int,
        now: int,
        next_id: int,
    ) -> None:
        """Begin anew after opening: the last LSN is `lsn`, the last time `now`."""
        self.memtable = memtable
        self.timelines = timelines
        self.by_name = timelines.by_name
        self._state = state
        self.inboxes = inboxes
        self.some_deleted = state.get(keys.DELETED) is not None
        self.last_time = now
        self.next_id = next_id
        self.open = Group(lsn + 1, memtable.visible)
        self.flying = None

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

    def latest(self) -> Group:
        """The group to wait for, to see done what was staged so far."""
        if self.open.commits:
            return self.open
        if self.flying is not None:
            return self.flying
        if self.ending:  # callbacks come in the order of groups, and one added now comes last
            return self.ending[-1]
        nothing = Group(self.open.first, self.open.base)
        nothing.done = nothing.told = True
        return nothing

    def check_on(self) -> None:
        """Raise while writing is off."""
        if self.refusal is not None:
            # One error is raised many times, and each would add its frames to those before.
            raise self.refusal.with_traceback(None)

    def check_open(self) -> None:
        """Raise unless the open group takes another commit."""
        self.check_on()
        if self.open.size > self.group_limit:
            raise BusyError("too much is waiting for the disk: try again later")

    def no_number(self, timeline: Timeline) -> TimelineError:
        """Why `timeline`, which has no number left to give out, takes no entry."""
        if timeline.staged is not None and timeline.staged.kind == INBOX:
            return WrongTypeError("an in-box holds references and takes no entries")
        return SequenceError("the timeline has given out its last sequence number")

    def note_drop(self, name: bytes) -> None:
        """A commit that is staged leaves no timeline under a name."""
        self.drops += 1
        self._dropped.append(name)

    def dropped_since(self, name: bytes, drops: int) -> bool:
        """Whether a timeline called `name` was deleted since there were `drops`; True also where
        that is too long ago to tell.
        """
        newer = self.drops - drops
        return newer > len(self._dropped) or name in islice(reversed(self._dropped), newer)

    def check_name(self, name: bytes) -> None:
        if not 1 <= len(name) <= self._options.name_bytes:
            raise UsageError(f"a timeline's name is 1 to {self._options.name_bytes} bytes long")

    def find(self, name: bytes) -> Timeline | None:
        """The timeline called `name` as it will be when the open group is applied."""
        for group in (self.open, self.flying):
            if group is not None and name in group.names:
                return group.names[name]
        return self.timelines.find(name)

    def get(self, key: bytes) -> bytes | None:
        """State as it will be when the open group is applied."""
        for group in (self.open, self.flying):
            if group is not None and key in group.state:
                return group.state[key]
        return self._state.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        pairs = self._state.scan(start, stop)
        for group in (self.flying, self.open):
            if group is not None:
                pairs = merge(pairs, select(group.state, start, stop))
        return pairs

    def groups(self) -> list[Group]:
        """The groups that are staged and not applied, in order."""
        return [self.open] if self.flying is None else [self.flying, self.open]

    def appended_to(self) -> list[Timeline]:
        """The timelines with entries that are staged and not applied, some more than once."""
        return [timeline for group in self.groups() for timeline in group.appended.timelines]

    def staged(self, timeline: Timeline, first: int, last: int) -> list[Row]:
        """The entries numbered `first` to `last` of a timeline that are staged and not applied."""
        tail = timeline.tail
        found: list[Row] = []
        for group in self.groups():
            low, high = bisect_left(tail, group.base), bisect_left(tail, group.end)
            start = bisect_left(tail, first, low, high, key=group.seq)
            stop = bisect_right(tail, last, start, high, key=group.seq)
            found += map(group.row, tail[start:stop])
        return found

    def patch(self, timeline: Timeline, seq: int) -> bytes | None:
        """What a staged patch makes of entry `seq`, empty when it is deleted; None: nothing."""
        for group in (self.open, self.flying):
            if group is not None and (timeline.id, seq) in group.patches:
                return group.patches[timeline.id, seq]
        return None

    def close_group(self) -> Group:
        """Take the open group for writing and open the next one."""
        group = self.flying = self.open
        self.last_time = group.time
        self.open = Group(group.next, group.end)
        return group

    def finish(self, group: Group, error: TimelineError | None) -> None:
        """The group is applied, or failed with `error`. Its callbacks are called once the locks are
        free.
        """
        group.error, group.done = error, True
        self.ending.append(group)


def select(
    state: dict[bytes, bytes | None], start: bytes, stop: bytes
) -> Iterator[tuple[bytes, bytes | None]]:
    """The pairs of a small dict from `start` up to, without, `stop`, in order."""
    return iter(sorted((key, value) for key, value in state.items() if start <= key < stop))
