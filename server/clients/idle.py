"""Clients that have done nothing for `timeout` seconds are closed.

Rule: as in Redis, a client is not idle while it waits for an answer, in a blocked read for
instance, or has subscribed to something. Each turn of the loop looks at a bounded number of
clients. Peers that vanish without a word are found by the system (keepalive, see `listener`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from .client import Client

_PERIOD: Final = 0.5  # seconds between looks at all clients
_TURN: Final = 1_000  # clients looked at in one turn of the loop


class Idle:
    """Looks from now on, until `stop`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clients: Mapping[int, Client],
        allowed: Callable[[], int],
    ) -> None:
        """`allowed` gives the option `timeout`, 0 for none."""
        self._loop = loop
        self._clients = clients
        self._allowed = allowed
        self._timer: asyncio.TimerHandle | asyncio.Handle
        self._begin()

    def stop(self) -> None:
        self._timer.cancel()

    def _begin(self) -> None:
        allowed = self._allowed()
        clients = list(self._clients.values()) if allowed else []
        self._look(iter(clients), allowed)

    def _look(self, clients: Iterator[Client], allowed: int) -> None:
        before = self._loop.time() - allowed
        some = list(islice(clients, _TURN))
        for client in some:
            if client.session.active < before and client.does_nothing():
                client.expire(allowed)
        if some:
            self._timer = self._loop.call_soon(self._look, clients, allowed)
        else:
            self._timer = self._loop.call_later(_PERIOD, self._begin)
