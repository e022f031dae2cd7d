"""Observers: parts of ours that hear what becomes of commits, and of the engine.

Other code hears of a commit in one of five ways, by what has to wait for that code:

    draft.on_commit   under the lock, when it is staged: what was decided with the draft
                      and is kept elsewhere. Ours only.
    on_apply          under the lock, when it is applied, before anybody reads what it brought:
                      what is cached and must be exact. Ours only: what raises here poisons.
    group.on_done     after the locks, in the order of groups, on the thread that flushed: waiters
                      are told. Writers wait for it, so it posts or settles and never waits.
    on_reload         after the locks: memory was rebuilt or moved on without groups that anybody
                      saw, by healing or in a read-only store. Ours only.
    callbacks         after all of it, on a thread of their own: code of users. See `callbacks`.

(A chore begins commits and hears of none; `staged` and `woken` of the engine are conditions: they
call nobody.)

Rule: whoever observes does so until the engine is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from timeline.commit.draft import Draft
from timeline.commit.group import Group
from timeline.lsm.timeline import Timeline


class Observers:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock  # the engine's
        self.applied: list[Callable[[Group], None]] = []
        self.trimmed: list[Callable[[Draft, Timeline], None]] = []
        self._reloads: list[Callable[[], None]] = []
        self._closing: list[Callable[[], None]] = []

    def on_apply(self, observe: Callable[[Group], None]) -> None:
        """Call `observe(group)` under the lock for each group that is applied from now on, before
        anybody reads what it brought. What a healed store replays is not among them.
        """
        with self._lock:
            self.applied.append(observe)

    def on_trim(self, observe: Callable[[Draft, Timeline], None]) -> None:
        """Call `observe(draft, timeline)` under the lock when retention trims a timeline. What
        follows from it becomes part of the same commit.
        """
        with self._lock:
            self.trimmed.append(observe)

    def on_reload(self, tell: Callable[[], None]) -> None:
        """Call `tell()`, without the lock, when there are commits that no observer saw applied."""
        with self._lock:
            self._reloads.append(tell)

    def before_closing(self, stop: Callable[[], None]) -> None:
        """Call `stop()` first when the engine is closed, without the lock; the last one first."""
        with self._lock:
            self._closing.append(stop)

    # --- the engine's -------------------------------------------------------------------------

    def tell_of_reload(self) -> None:
        for tell in self._reloads:
            tell()

    def stop(self) -> None:
        """The engine is being closed."""
        while self._closing:
            self._closing.pop()()

    def refuse_in_child(self, lock: threading.RLock) -> None:
        """In a forked child: forget the parts. Their threads are the parent's, and so are the locks
        that these hold.
        """
        self._lock = lock
        self._closing.clear()
