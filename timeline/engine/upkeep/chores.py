"""Chores: commits that a store makes by itself, when there is nothing better to do.

Rule: a chore gets a draft and puts into it what one commit should hold. It returns whether there is
more to do. If so, it is called again soon. If not, it is done for this round. The next round begins
`retention_check_ms` after all are done. A chore that meets an error has its draft dropped, and goes
on in the next round.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from timeline.commit.draft import Draft
from timeline.commit.stage import Stage
from timeline.errors import TimelineError

Chore = Callable[[Draft], bool]


class Chores:
    def __init__(self, period: float) -> None:
        """A round begins `period` seconds after the last one ended."""
        self._period = period
        self._own: tuple[Chore, ...] = ()  # of one opening of the store
        self._chores: list[Chore] = []
        self._left: list[Chore] = []  # of this round
        self._next_round = 0.0

    def begin(self, *own: Chore) -> None:
        """The store was opened: `own` take the place of those of the opening before."""
        self._own = own
        self._left = []

    def add(self, chore: Chore) -> None:
        """Call `chore(draft)` in each round from the next one on, after those of the store."""
        self._chores.append(chore)

    def soon(self) -> None:
        """Begin the next round immediately."""
        self._next_round = 0.0

    def work(self, stage: Stage, seconds: float) -> bool:
        """Do chores for about `seconds`, if a round is due; True while there are more. The caller
        holds the lock.
        """
        if not self._left:
            if time.monotonic() < self._next_round:
                return False
            self._left = [*self._own, *self._chores]
        deadline = time.perf_counter() + seconds
        self._left = [chore for chore in self._left if self._do(chore, stage, deadline)]
        if self._left:
            return True
        self._next_round = time.monotonic() + self._period
        return False

    @staticmethod
    def _do(chore: Chore, stage: Stage, deadline: float) -> bool:
        try:
            while True:
                draft = Draft(stage)
                more = chore(draft)
                draft.commit()
                if not more or time.perf_counter() >= deadline:
                    return more
        except TimelineError:
            return False  # writing is off or busy: the next round tries again
