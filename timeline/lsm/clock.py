"""The clock of a store: how far the times of commits can be trusted.

Responsibility: remember where the times of commits went down, and say by when a commit was made,
whatever its time claims.

Rule: the order of commits is that of their LSNs. A commit takes the machine's time. Where the
machine's clock stepped back by no more than `clock_ahead_ms`, it takes the time of the commit
before instead. So times mostly rise. Where the clock was far ahead for a while, they go down once,
in a *step*. A commit cannot be later than one that follows it. So its time *by the order* is the
lowest of its own time and the times of all later steps. That never goes down, so every search for a
time bisects by it. Entries go on showing their own time.

    LSN            1    2    3       4       5    6
    time           100  101  9_000   9_000   105  106     the clock was ahead for 3 and 4
    step                                     5, 105
    by the order   100  101  105     105     105  106

Steps ascend in both LSN and time, since a later, lower step makes the higher ones before it
needless. There are few of them: when there are too many, two become one at the later LSN and the
lower time, which keeps the order. The caller holds the engine's lock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from timeline.formats.rows import Step, decode_clock, encode_clock
from timeline.storage.rocks import META, Batch, Storage

CLOCK_KEY: Final = b"clock"

_MOST_STEPS: Final = 64  # beyond that the two oldest become one


class Clock:
    def __init__(
        self,
        storage: Storage,
        time: int,
        *,
        certain: bool = True,
        steps: tuple[Step, ...] | None = None,
    ) -> None:
        """`time` is that of the last commit that is sealed; not `certain`, of a later one. `steps`
        take the place of those that are stored.
        """
        if steps is None:
            value = storage.get(META, CLOCK_KEY)
            steps = () if value is None else decode_clock(value)
        self.steps = steps
        self.time = time  # of the last commit
        self._certain = certain
        self._changed = False  # since they were last written

    def note(self, lsn: int, time: int) -> None:
        """The commits from `lsn` on, which follow what was noted last, were made at `time`."""
        if time < self.time and self._certain:
            self._add(Step(lsn, time))
        self.time = time
        self._certain = True

    def _add(self, step: Step) -> None:
        steps = self.steps
        if steps and steps[-1].lsn >= step.lsn:  # replayed, and on the disk already
            return
        steps = (*[each for each in steps if each.time < step.time], step)
        if len(steps) > _MOST_STEPS:
            steps = (Step(steps[1].lsn, steps[0].time), *steps[2:])
        self.steps = steps
        self._changed = True

    def clip(self, lsn: int) -> None:
        """The log ends at `lsn`: steps above it were lost with their commits."""
        kept = tuple(step for step in self.steps if step.lsn <= lsn)
        if len(kept) < len(self.steps):
            self.steps = kept
            self._changed = True

    def by_order(self, lsn: int, time: int) -> int:
        """By when commit `lsn`, whose own time is `time`, was made."""
        steps = self.steps
        if not steps or lsn >= steps[-1].lsn:
            return time
        return min(time, steps[bisect_right(steps, lsn, key=_lsn)].time)

    def past(self, time: int, now: int) -> int:
        """The same of what has no LSN: nothing that was noted lies ahead of `now`."""
        if time <= now:
            return time
        return min(now, self.steps[-1].time) if self.steps else now

    def not_before(self, time: int) -> int:
        """The lowest LSN of a commit that can have been made at `time` or later, by the order."""
        found = bisect_left(self.steps, time, key=_time)
        return self.steps[found - 1].lsn if found else 0

    def all_until(self, time: int) -> int:
        """The LSN below which every commit was made at `time` or before, by the order."""
        found = bisect_right(self.steps, time, key=_time)
        return self.steps[found - 1].lsn if found else 0

    def steps_at(self, lsn: int) -> bool:
        """Whether times may go down to commit `lsn`: a step is there, or was before a lower one."""
        return bool(self.steps) and lsn <= self.steps[-1].lsn

    def keep(self, batch: Batch) -> None:
        """Write the steps with `batch`, if they changed; then call `kept`."""
        if self._changed:
            batch.put(META, CLOCK_KEY, encode_clock(self.steps))

    def kept(self) -> None:
        self._changed = False


def _lsn(step: Step) -> int:
    return step.lsn


def _time(step: Step) -> int:
    return step.time
