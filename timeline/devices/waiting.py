"""Waiting in this process: one interface for all calls that wait, and one list of them.

    name      what is waited for: an in-box or a feed by its id, or the commit log (`LOG`)
    read      gives the answer, or None while there is nothing
    ready     something may have come for a name: it is worth reading now
    end       nothing comes any more: the store is being closed
    began     the wait has begun: takes what is held for it, such as presence
    ended     the wait is over, however it ended: gives back what was held for it

A blocked read, for one, waits for an in-box. A group brings a message to that in-box, so the read
is made `ready`, reads again, finds the message, and is `ended`.

Rule: a waiter holds no answer, only the note that something may have come. It reads from the store
at its own position. So what was missed and what comes now are read in the same way, and a slow
reader holds no memory. Reading and being listed are one step under the engine's lock, so nothing is
missed between them. `ready` and `end` are called after the engine's locks are released. They only
make a note, and return.

The cost of a group depends only on the waiters that it concerns, however many wait for something
else. A `Watch` finds these.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Final, Generic, Protocol, TypeVar

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.errors import ClosedError, TimelineError

T = TypeVar("T")

LOG: Final = 0  # the name of the commit log: no in-box has this id


class Waiter(Protocol):
    """One who waits. Called from any thread, without the engine's lock; neither may wait."""

    def ready(self, name: int) -> None:
        """Something may have come for `name`."""

    def end(self) -> None:
        """Nothing comes any more."""


class Watch(Protocol):
    """Knows which of the names that are waited for a group of commits concerns, besides the log."""

    def __len__(self) -> int:
        """How many names are waited for."""

    def add(self, name: int) -> None:
        """Somebody waits for a name."""

    def remove(self, name: int) -> None:
        """One of those who wait for a name waits no longer."""

    def concerned(self, group: Group) -> Collection[int]:
        """The names for which an applied group may have brought something."""


class BlockedRead(Generic[T]):
    """A call that blocks its thread until `read` finds something."""

    def __init__(self, read: Callable[[], T | None]) -> None:
        self._read = read
        self._woken = threading.Event()
        self._over = False

    def ready(self, _: int = LOG) -> None:
        self._woken.set()

    def end(self) -> None:
        self._over = True
        self._woken.set()

    def wait(self, seconds: float | None) -> T | None:
        """What was found; None when that took longer than `seconds` (None: no limit). Raises
        `ClosedError` once nothing comes any more.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while self._woken.wait(_left(deadline)):
            self._woken.clear()  # first, so that what comes from now on is noted again
            if self._over:
                raise ClosedError("the store was closed")
            found = self._read()
            if found is not None:
                return found
        return None


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    return min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)


def _nothing() -> None:
    """What begins or ends with a wait that holds nothing."""


class Waiters:
    """All who wait in this process for something in one store."""

    def __init__(self, engine: Engine, watch: Watch) -> None:
        """`watch` is for these waiters alone."""
        self._engine = engine
        self._watch = watch
        self._by_name: dict[int, dict[Waiter, None]] = {}
        self.closed = False
        engine.observers.on_apply(self._follow)
        engine.observers.on_reload(self._ready_all)
        engine.observers.before_closing(self._end)

    def __len__(self) -> int:
        """How many names are waited for."""
        return len(self._by_name)

    def block(
        self,
        name: int,
        read: Callable[[], T | None],
        seconds: float | None,
        began: Callable[[], None] = _nothing,
        ended: Callable[[], None] = _nothing,
    ) -> T | None:
        """What `read` finds now, or once something comes for `name`; None when that took longer
        than `seconds` (None: no limit). Raises `ClosedError` when the store is closed meanwhile.

        `began` is called when it has to wait, `ended` when it waits no more, both under the
        engine's lock.
        """
        waiter = BlockedRead(read)
        with self._engine.lock:
            found = read()
            if found is not None:
                return found
            self.add(name, waiter)
            began()
        try:
            return waiter.wait(seconds)
        finally:
            with self._engine.lock:
                self.remove(name, waiter)
                ended()

    def add(self, name: int, waiter: Waiter) -> None:
        """Make `waiter` ready for what comes for `name` from now on. The caller holds the lock.
        Raises `ClosedError`.
        """
        self._engine.check_usable()
        if self.closed:
            raise ClosedError("the store was closed")
        if name not in self._by_name and name != LOG:
            self._watch.add(name)
        self._by_name.setdefault(name, {})[waiter] = None

    def remove(self, name: int, waiter: Waiter) -> None:
        """No longer; the caller holds the lock."""
        waiters = self._by_name.get(name, {})
        waiters.pop(waiter, None)
        if not waiters and name in self._by_name:
            del self._by_name[name]
            if name != LOG:
                self._watch.remove(name)

    def _follow(self, group: Group) -> None:
        if self._by_name:
            group.on_done(self._tell)

    def _tell(self, group: Group) -> None:
        """Make those ready whom an applied group concerns."""
        if group.error is not None:
            return
        with self._engine.lock:
            if self._engine.closed or not self._by_name:
                return
            names = self._concerned(group)
            woken = [(waiter, name) for name in names for waiter in self._by_name.get(name, ())]
        for waiter, name in woken:
            waiter.ready(name)

    def _concerned(self, group: Group) -> set[int]:
        """What a group may have brought something for."""
        if not len(self._watch):
            return {LOG}
        try:
            return {LOG, *self._watch.concerned(group)}
        except TimelineError:  # damage: whoever reads it is told, the others go on
            return set(self._by_name)

    def _ready_all(self) -> None:
        with self._engine.lock:
            woken = [(each, name) for name, waiters in self._by_name.items() for each in waiters]
        for waiter, name in woken:
            waiter.ready(name)

    def _end(self) -> None:
        with self._engine.lock:
            self.closed = True
            ended = {waiter: None for waiters in self._by_name.values() for waiter in waiters}
        for waiter in ended:
            waiter.end()
