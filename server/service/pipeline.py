"""Replies that wait for their commit group, and the turns in which groups are flushed.

Rule: the reply to a write leaves only when its group is done; if the group failed, the error takes
the place of exactly the replies that promised a write. Groups are done in order, so are a client's
replies.

Inline, the daemon flushes at the end of a turn of the loop: it polls the sockets again up to three
times while more writes arrive, so that one fsync serves them all. Threaded, the engine flushes by
itself and calls back from its thread. Inline, another thread calls back at times (that which pays
what is owed). Everything else here runs on the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.errors import TimelineError

from ..logs.logger import Logger

_POLLS = 3
PAUSE = 0.002  # seconds until what met BUSY or a write stall is tried again
_BREATH = 0.005  # seconds between slices of background work while clients write
_IDLE = 0.05  # seconds between looks for background work when there was none


class Writer(Protocol):
    """A client, as it is seen here."""

    def release(
        self, flight: Flight, out: list[bytes], kept: list[int], problem: TimelineError | None
    ) -> bool:
        """Sends the replies that waited for `flight`; `problem` replaces promised writes. Returns
        whether there may be something to proceed with.
        """

    def proceed(self) -> None:
        """Goes on with what was kept, now that something it may have waited for has happened."""


class Flight:
    """One group on its way: whose replies wait for it.

    An entry is a connection, its replies, and the indexes of those replies that promise no write
    and are kept when the group fails.
    """

    __slots__ = ("entries", "group", "works")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.entries: list[tuple[Writer, list[bytes], list[int]]] = []
        self.works: list[Callable[[], object]] = []  # to be done once it stands


class Pipeline:
    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        applied: Callable[[Group], None],
        landing: Callable[[Group], None],
        log: Logger,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._thread = threading.get_ident()  # the loop's
        self._applied = applied
        self._landing = landing  # called before the replies leave
        self._log = log
        self._flights: deque[Flight] = deque()
        self._open: Flight | None = None
        self._joined = 0
        self._seen = 0  # how many had joined when background work was last done
        self._done: list[Group] = []
        self._stalled: dict[Writer, None] = {}
        self.waits = 0  # for room, of writes that met BUSY
        self._working: asyncio.Handle | None = None
        self.groups = 0

    # --- staging ------------------------------------------------------------------------------

    def flight(self) -> Flight:
        """The flight of what was staged last and is not done. Called under the engine's lock."""
        flight = self._open
        if flight is not None and flight.group is self._engine.stage.open:
            self._joined += 1
            return flight
        group = self._engine.stage.latest()
        flight = self._flights[-1] if self._flights else None
        if flight is None or flight.group is not group:
            flight = Flight(group)
            self._flights.append(flight)
            group.on_done(self._on_done)
            if group is self._engine.group:
                self._begin(flight)
        self._joined += 1
        return flight

    def _begin(self, flight: Flight) -> None:
        """Sees to it that the open group is flushed."""
        self._open = flight
        if self._engine.threaded:
            self._engine.staged.notify_all()
        else:
            self._loop.call_soon(self._turn, _POLLS, self._joined + 1)

    def _turn(self, polls: int, joined: int) -> None:
        if polls and self._joined != joined:
            self._loop.call_soon(self._turn, polls - 1, self._joined)
        else:
            self.flush()

    def flush(self) -> None:
        """Inline: makes what is staged durable now, and lets its replies go."""
        written = self._engine.flush()
        self._land()
        if not written:  # the disk asked for a pause
            self._loop.call_later(PAUSE, self.flush)

    # --- landing ------------------------------------------------------------------------------

    def _on_done(self, group: Group) -> None:
        self._done.append(group)
        if self._engine.threaded or threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._land)

    def _land(self) -> None:
        """Releases the replies of the groups that are done, then wakes whom they concern."""
        while self._done:
            group = self._done.pop(0)
            flight = self._flights.popleft()
            assert flight.group is group, "groups are done in the order in which they were opened"
            self.groups += 1
            if flight is self._open:
                self._open = None
            problem = group.error
            if problem is not None:
                self._log.error("group failed", code=problem.code, problem=str(problem))
            self._landing(group)
            waiting = [
                client
                for client, out, kept in flight.entries
                if client.release(flight, out, kept, problem)
            ]
            if problem is None:
                for work in flight.works:
                    work()
                self._applied(group)
            for client in waiting:
                client.proceed()
        if self._stalled:
            self._retry()

    # --- pressure -----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many connections wait for room."""
        return len(self._stalled)

    def stall(self, client: Writer) -> None:
        """Lets a connection whose write met BUSY try again once there may be room."""
        self._stalled[client] = None
        self.waits += 1
        if len(self._stalled) == 1:
            self._loop.call_later(PAUSE, self._retry)

    def _retry(self) -> None:
        stalled, self._stalled = self._stalled, {}
        for client in stalled:
            client.proceed()

    def work(self) -> None:
        """Inline: does one slice of background work and comes back, soon while more is due."""
        more = False
        try:
            more = self._engine.work()
        except Exception as problem:  # the next round must come, whatever this one met
            self._log.error("background work failed", problem=str(problem), exc_info=True)
        if self._engine.group.commits and self._open is None:  # retention trims by commits
            self.flush()
        if not more:
            self._working = self._loop.call_later(_IDLE, self.work)
        elif self._joined != self._seen and not self._stalled:  # clients come first
            self._working = self._loop.call_later(_BREATH, self.work)
        else:
            self._working = self._loop.call_soon(self.work)
        self._seen = self._joined

    def stop(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self._working = None
