"""Replies that wait for their commit group, and the turns in which groups are flushed.

Rule: the reply to a write leaves only when its group is done. If the group failed, the error takes
the place of exactly the replies that promised a write. Groups are done in order, and so are a
client's replies.

With fsync inline, the daemon flushes at the end of a turn of the loop. Before that it polls the
sockets again, up to three times while more writes arrive, so that one fsync serves them all. With
fsync on a thread, the engine flushes by itself and calls back from that thread. Inline, the thread
that does what is due (an fsync, say) may call back too. Everything else here runs on the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.errors import TimelineError

from ..logs.logger import Logger

_POLLS: Final = 3  # of the sockets before a flush, while more writes arrive
PAUSE: Final = 0.002  # seconds until what met BUSY or a write stall is tried again
_BREATH: Final = 0.005  # seconds between slices of background work, while clients write
_IDLE: Final = 0.05  # seconds between looks for background work when there was none


class Writer(Protocol):
    """A client, as it is seen here."""

    def release(
        self,
        group: PendingGroup,
        out: list[bytes],
        kept: list[int],
        problem: TimelineError | None,
    ) -> bool:
        """Sends the replies that waited for `group`; `problem` replaces promised writes. Returns
        whether there may be something to proceed with.
        """

    def proceed(self) -> None:
        """Goes on with what waits, since what it waited for may have happened."""


class PendingGroup:
    """One group that is not done, and the replies that wait for it.

    An entry is a client, its replies, and the indexes of those replies that promise no write and
    are kept when the group fails.
    """

    __slots__ = ("entries", "group", "works")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.entries: list[tuple[Writer, list[bytes], list[int]]] = []
        self.works: list[Callable[[], object]] = []  # to be done once it is durable


class Pipeline:
    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        applied: Callable[[Group], None],
        before_release: Callable[[Group], None],
        log: Logger,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._applied = applied
        self._before_release = before_release
        self._log = log
        self._groups: deque[PendingGroup] = deque()
        self._open: PendingGroup | None = None
        self._awaited: set[Group] = set()  # those that somebody joined
        self._joined = 0
        self._seen = 0  # how many had joined when background work was last done
        self._done: list[Group] = []
        self._stalled: dict[Writer, None] = {}
        self.waits = 0  # for room, of writes that met BUSY
        self._working: asyncio.Handle | None = None
        self.groups = 0
        engine.observers.on_apply(self._observe)

    # --- staging ------------------------------------------------------------------------------

    def pending(self) -> PendingGroup:
        """The group of what was staged last, which is not done. Called under the engine's lock."""
        pending = self._open
        if pending is not None and pending.group is self._engine.stage.open:
            self._joined += 1
            return pending
        group = self._engine.latest()
        pending = self._groups[-1] if self._groups else None
        if pending is None or pending.group is not group:
            pending = PendingGroup(group)
            self._groups.append(pending)
            self._awaited.add(group)
            group.on_done(self._on_done)
            if group is self._engine.group:
                self._begin(pending)
        self._joined += 1
        return pending

    def _begin(self, pending: PendingGroup) -> None:
        """Has the open group flushed soon."""
        self._open = pending
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
        self._release()
        if not written:  # the disk asked for a pause
            self._loop.call_later(PAUSE, self.flush)

    # --- releasing ----------------------------------------------------------------------------

    def _observe(self, group: Group) -> None:
        """Under the engine's lock: a group was applied. Those that it concerns are told, also when
        no reply waits for it: of what retention took, for example.
        """
        if group not in self._awaited:
            group.on_done(self._on_done)

    def _on_done(self, group: Group) -> None:
        self._done.append(group)
        if self._engine.threaded or threading.get_ident() != self._loop_thread:
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        """Releases the replies of the groups that are done, then wakes those that they concern."""
        while self._done:
            group = self._done.pop(0)
            if group in self._awaited:
                self._awaited.discard(group)
                pending = self._groups.popleft()
                assert pending.group is group, "groups are done in the order of opening"
            else:
                pending = PendingGroup(group)
            self.groups += 1
            if pending is self._open:
                self._open = None
            problem = group.error
            if problem is not None:
                self._log.error("group failed", code=problem.code, problem=str(problem))
            self._before_release(group)
            waiting = [
                client
                for client, out, kept in pending.entries
                if client.release(pending, out, kept, problem)
            ]
            if problem is None:
                for work in pending.works:
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
        """Inline: does one slice of background work, and the next soon while more is due."""
        more = False
        try:
            more = self._engine.work()
        except Exception as problem:  # the next slice comes all the same
            self._log.error("background work failed", problem=str(problem), exc_info=True)
        if self._engine.group.commits and self._open is None:  # retention trims by commits
            self.flush()
        elif self._done:
            self._release()
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
