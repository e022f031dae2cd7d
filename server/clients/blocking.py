"""Reads that wait: XREAD, USER.SYNC and LOG.TAIL with BLOCK, for thousands of clients.

Rule: nothing polls. A waiter is listed under what it waits for, in order of arrival: a timeline by
its name, an in-box by its id. It is tried when a group that concerns that was applied; one that
finds nothing (what was appended is gone again) goes on waiting. Waiters that ask for the same page
share one answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from timeline.errors import TimelineError

from ..errors import CommandError
from .state import ClientState

# The answers found while waking for one group, by what was asked.
Shared = dict[object, bytes | None]
Attempt = Callable[[Shared], bytes | None]

# A timeline, or the id of an in-box.
Name = bytes | int

# Stands for the commit log among the names of timelines, which are never empty.
LOG = b""


class Reader(Protocol):
    """A client, as it is seen here."""

    waiter: Waiter | None

    @property
    def session(self) -> ClientState: ...

    def answer(self, reply: bytes | list[bytes]) -> None:
        """Sends the reply to a command that has waited; a long one comes in parts."""

    def proceed(self) -> None:
        """Goes on with what was kept, now that something it may have waited for has happened."""


class Waiter:
    """One blocked read: `attempt` gives its reply, or None while there is nothing."""

    __slots__ = ("attempt", "client", "ended", "expired", "names", "soon", "timer")

    def __init__(
        self,
        client: Reader,
        names: list[Name],
        attempt: Attempt,
        expired: bytes,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self.ended = ended
        self.client = client
        self.names = names
        self.attempt = attempt
        self.expired = expired
        self.timer: asyncio.TimerHandle | None = None
        # It is certain to be answered, and before long: a client that has sent its last waits too.
        self.soon = False


class Waiters:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        most: int,
        refusal: Callable[[ClientState, TimelineError], bytes],
    ) -> None:
        self._loop = loop
        self._refusal = refusal  # the reply to who meets an error while waiting
        self._most = most
        self._by_name: dict[Name, dict[Waiter, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def names(self) -> dict[Name, dict[Waiter, None]]:
        """What is waited for; empty means that nobody need be woken."""
        return self._by_name

    def block(
        self,
        client: Reader,
        names: Iterable[Name],
        attempt: Attempt,
        expired: bytes,
        seconds: float | None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        """Makes `connection` wait; after `seconds` (None: no limit) it is answered `expired`.

        `ended` is called when it waits no more, for whatever reason.
        """
        if self._count >= self._most:
            raise CommandError(f"too many blocked reads ({self._most}, option blocked)", "BUSY")
        waiter = Waiter(client, list(dict.fromkeys(names)), attempt, expired, ended)
        for name in waiter.names:
            self._by_name.setdefault(name, {})[waiter] = None
        self._count += 1
        if seconds is not None:
            waiter.timer = self._loop.call_later(seconds, self._expire, waiter)
        client.waiter = waiter

    def listen(self, client: Reader, name: Name) -> None:
        """From now on `connection`, which is blocked, waits for `name` too."""
        waiter = client.waiter
        if waiter is not None and name not in waiter.names:
            waiter.names.append(name)
            self._by_name.setdefault(name, {})[waiter] = None

    def hold(
        self,
        client: Reader,
        ended: Callable[[], None] | None = None,
        *,
        soon: bool = False,
    ) -> Waiter:
        """Makes `connection` wait for work done elsewhere; `answer` ends it. `ended` is called
        when it waits no more, for whatever reason.
        """
        waiter = client.waiter = Waiter(client, [], _nothing, b"", ended)
        waiter.soon = soon
        self._count += 1
        return waiter

    def answer(self, waiter: Waiter, reply: bytes | list[bytes]) -> None:
        """Sends `reply`, which may come in pieces, unless the client is gone. It goes on in a turn
        of the loop of its own: this may be called from within a command of another.
        """
        client = waiter.client
        if client.waiter is waiter:
            self.remove(waiter)
            client.answer(reply)
            self._loop.call_soon(client.proceed)

    def wake(self, names: Iterable[Name]) -> None:
        """Answers those who wait for any of `names` and now find something, in order of arrival."""
        shared: Shared = {}
        woken: list[Reader] = []
        for name in names:
            for waiter in list(self._by_name.get(name, ())):
                if waiter.client.waiter is not waiter:
                    continue
                reply = self._attempt(waiter, shared)
                if reply is not None:
                    self.remove(waiter)
                    waiter.client.answer(reply)
                    woken.append(waiter.client)
        for client in woken:
            client.proceed()

    def _attempt(self, waiter: Waiter, shared: Shared) -> bytes | None:
        try:
            return waiter.attempt(shared)
        except TimelineError as problem:  # damage found while reading
            return self._refusal(waiter.client.session, problem)

    def _expire(self, waiter: Waiter) -> None:
        self.answer(waiter, waiter.expired)

    def remove(self, waiter: Waiter) -> None:
        """Ends a wait: it was answered, or the connection is gone."""
        if waiter.timer is not None:
            waiter.timer.cancel()
        for name in waiter.names:
            waiters = self._by_name[name]
            del waiters[waiter]
            if not waiters:
                del self._by_name[name]
        self._count -= 1
        waiter.client.waiter = None
        if waiter.ended is not None:
            waiter.ended()


def _nothing(_: Shared) -> None:
    """What a waiter finds that no timeline concerns."""
