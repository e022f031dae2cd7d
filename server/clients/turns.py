"""Turns: clients with more to do than one turn takes, one after the other.

Rule: in a round of the loop at least one of those that wait has its turn. More follow until the
round has taken `_ROUND` seconds. Then the loop looks at the sockets. A client that asks for little
is served as soon as it is read, so it waits for one round at most. Clients that ask for much wait
for each other's turns, in order of arrival.

It does not know what a turn does: a connection goes on with its commands, a long reply with its
next page.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Any, Final, Protocol

_ROUND: Final = 0.002  # seconds of turns before the loop looks at the sockets
_DISPOSED: Final = 4096  # objects freed in one turn


class Worker(Protocol):
    def turn(self) -> None:
        """Does the next part of its work. It asks for another turn if there is more."""


class _Disposal:
    def __init__(self, turns: Turns, objects: list[Any]) -> None:
        self._turns = turns
        self._objects = objects

    def turn(self) -> None:
        del self._objects[-_DISPOSED:]
        self._turns.dispose(self._objects)


class Turns:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._workers: deque[Worker] = deque()
        self.busy = False  # somebody waits for a turn

    def __len__(self) -> int:
        return len(self._workers)

    def add(self, worker: Worker) -> None:
        """Gives it a turn, after those that wait for theirs."""
        self._workers.append(worker)
        self._schedule()

    def dispose(self, objects: list[Any]) -> None:
        """Lets go of what may be many objects, some at a time: each takes a moment to be freed."""
        if len(objects) > _DISPOSED:
            self.add(_Disposal(self, objects))

    def _schedule(self) -> None:
        if self._workers and not self.busy:
            self.busy = True
            self._loop.call_soon(self._round)

    def _round(self) -> None:
        until = perf_counter() + _ROUND
        try:
            while self._workers:
                self._workers.popleft().turn()
                if perf_counter() > until:
                    break
        finally:
            self.busy = False
            self._schedule()
