"""Clients that have done nothing for `timeout` seconds are closed.

Rule: a client that waits for us, in a blocked read for instance, or that has subscribed to
something is not idle, as in Redis. Each turn of the loop looks at a bounded number of clients.
Peers that vanish without a word are the system's to find: keepalive, which `listening` asks it for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from .service import Service

if TYPE_CHECKING:
    from .connection import Connection

_PERIOD: Final = 0.5  # seconds between rounds
_TURN: Final = 1_000  # clients


class Idle:
    """Looks from now on, until `stop`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._timer: asyncio.TimerHandle | asyncio.Handle
        self._begin()

    def stop(self) -> None:
        self._timer.cancel()

    def _begin(self) -> None:
        allowed = self._service.tunables.timeout
        clients = list(self._service.clients.values()) if allowed else []
        self._look(iter(clients), allowed)

    def _look(self, clients: Iterator[Connection], allowed: int) -> None:
        loop = self._service.loop
        before = loop.time() - allowed
        some = list(islice(clients, _TURN))
        for client in some:
            if client.session.active < before and client.does_nothing():
                client.expire(allowed)
        if some:
            self._timer = loop.call_soon(self._look, clients, allowed)
        else:
            self._timer = loop.call_later(_PERIOD, self._begin)
