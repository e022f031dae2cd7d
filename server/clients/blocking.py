"""Reads that wait: XREAD, USER.SYNC and LOG.TAIL with BLOCK, for thousands of clients.

Each of these commands builds one object, a `BlockedRead`:

    names     what it waits for: timelines by name, in-boxes by id, the commit log (`LOG`)
    read      gives the reply, or None while there is nothing
    nothing   the reply when its time is over
    began     the wait has begun
    ended     the wait is over, however it ended: gives back what was held for it

USER.SYNC, for one, waits for an in-box. A group brings a message to that in-box, so `read` is tried
again and finds the message. The client is answered, and `ended` is called.

Rule: nothing polls. Waiters are listed under what they wait for, in order of arrival. A read is
tried when a group that concerns it was applied. It may find nothing, because what was appended is
already gone. Then it goes on waiting. Reads that ask for the same page share one answer.

A client whose command is carried out elsewhere, by a thread or in turns, waits here too (`hold`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from timeline.errors import TimelineError

from ..errors import CommandError
from .state import ClientState

# The answers found while waking for one group, by what was asked.
Shared = dict[object, bytes | None]

# A timeline, or the id of an in-box.
Name = bytes | int

# Stands for the commit log among the names of timelines, which are never empty.
LOG: Final = b""


class BlockedRead:
    __slots__ = ("names", "nothing")

    def __init__(self, names: Iterable[Name], nothing: bytes) -> None:
        self.names = list(dict.fromkeys(names))
        self.nothing = nothing

    def read(self, shared: Shared) -> bytes | None:
        raise NotImplementedError

    def began(self) -> None:
        """Called once the client is listed, under the engine's lock."""

    def ended(self) -> None:
        """Called once the client is listed no more, with the engine's lock or without it."""


class Reader(Protocol):
    """A client, as it is seen here."""

    waiter: Waiter | None

    @property
    def session(self) -> ClientState: ...

    def answer(self, reply: bytes | list[bytes]) -> None:
        """Sends the reply to a command that has waited; a long one comes in parts."""

    def proceed(self) -> None:
        """Goes on with what waits, since what it waited for may have happened."""


class Waiter:
    """A client that waits: for `read`, or with None for work that is done elsewhere."""

    __slots__ = ("client", "ended", "read", "soon", "timer")

    def __init__(self, client: Reader, read: BlockedRead | None, ended: Callable[[], None]) -> None:
        self.client = client
        self.read = read
        self.ended = ended
        self.timer: asyncio.TimerHandle | None = None
        # The answer is certain and comes soon: a client that sends no more is kept until then.
        self.soon = False


class Waiters:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        most: int,
        refusal: Callable[[ClientState, TimelineError], bytes],
    ) -> None:
        self._loop = loop
        self._refusal = refusal  # the reply to a client that meets an error while it waits
        self._most = most
        self._by_name: dict[Name, dict[Waiter, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def names(self) -> dict[Name, dict[Waiter, None]]:
        """What clients wait for. When it is empty, nobody has to be woken."""
        return self._by_name

    def block(self, client: Reader, read: BlockedRead, seconds: float | None) -> None:
        """Makes `client` wait, for so many seconds at most (None: no limit)."""
        if self._count >= self._most:
            raise CommandError(f"too many blocked reads ({self._most}, option blocked)", "BUSY")
        waiter = client.waiter = Waiter(client, read, read.ended)
        for name in read.names:
            self._by_name.setdefault(name, {})[waiter] = None
        self._count += 1
        if seconds is not None:
            waiter.timer = self._loop.call_later(seconds, self.expire, waiter)
        read.began()

    def listen(self, client: Reader, name: Name) -> None:
        """From now on `client`, which is blocked, waits for `name` too."""
        waiter = client.waiter
        if waiter is not None and waiter.read is not None and name not in waiter.read.names:
            waiter.read.names.append(name)
            self._by_name.setdefault(name, {})[waiter] = None

    def hold(
        self,
        client: Reader,
        ended: Callable[[], None] = lambda: None,
        *,
        soon: bool = False,
    ) -> Waiter:
        """Makes `client` wait for work that is done elsewhere; `answer` ends it. `ended` is called
        when it waits no more, for whatever reason.
        """
        waiter = client.waiter = Waiter(client, None, ended)
        waiter.soon = soon
        self._count += 1
        return waiter

    def answer(self, waiter: Waiter, reply: bytes | list[bytes]) -> None:
        """Sends `reply`, which may come in pieces, unless the client is gone. The client goes on
        in a turn of the loop of its own: this may be called within a command of another.
        """
        client = waiter.client
        if client.waiter is waiter:
            self.remove(waiter)
            client.answer(reply)
            self._loop.call_soon(client.proceed)

    def expire(self, waiter: Waiter) -> None:
        """Its time is over."""
        assert waiter.read is not None, "work done elsewhere has no time"
        self.answer(waiter, waiter.read.nothing)

    def wake(self, names: Iterable[Name]) -> None:
        """Answers those that wait for any of `names` and find something, in order of arrival."""
        shared: Shared = {}
        woken: list[Reader] = []
        for name in names:
            for waiter in list(self._by_name.get(name, ())):
                client = waiter.client
                if client.waiter is not waiter or waiter.read is None:
                    continue
                reply = self._try(waiter.read, client, shared)
                if reply is not None:
                    self.remove(waiter)
                    client.answer(reply)
                    woken.append(client)
        for client in woken:
            client.proceed()

    def _try(self, read: BlockedRead, client: Reader, shared: Shared) -> bytes | None:
        try:
            return read.read(shared)
        except TimelineError as problem:  # damage found while reading
            return self._refusal(client.session, problem)

    def remove(self, waiter: Waiter) -> None:
        """Ends a wait: it was answered, or the client is gone."""
        if waiter.timer is not None:
            waiter.timer.cancel()
        for name in () if waiter.read is None else waiter.read.names:
            waiters = self._by_name[name]
            del waiters[waiter]
            if not waiters:
                del self._by_name[name]
        self._count -= 1
        waiter.client.waiter = None
        waiter.ended()
