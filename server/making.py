"""Replies that are made a page at a time: long ranges, which would keep others waiting.

Rule: the first page is made at once, and a reply that ends there is like any other. A longer one
first waits until there is room for all of it (`holdings`), and then has a turn for each page
(`turns`). Meanwhile its client waits, as it does for a blocked read: its commands are carried out
and answered in order.

The steps of a reply must allow for what changes between them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from timeline.errors import TimelineError

from .errors import CommandError

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Service

# A reply in the making: each step yields the bytes that it will have in all, about; the reply
# itself comes in pieces.
Steps = Generator[int, None, list[bytes]]


def finish(steps: Steps) -> list[bytes]:
    """Makes the whole reply at once: for those who need it so."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            pieces: list[bytes] = end.value
            return pieces


class Making:
    """One such reply, of which the first step is done."""

    __slots__ = (
        "_claim", "_connection", "_ended", "_nothing", "_service", "_size", "_steps", "_waiter",
    )  # fmt: skip

    def __init__(
        self, service: Service, connection: Connection, steps: Steps, size: int, nothing: bytes
    ) -> None:
        self._service = service
        self._connection = connection
        self._steps = steps
        self._size = size
        self._nothing = nothing
        self._ended = False
        self._waiter = service.waiters.hold(connection, self._end, soon=True)
        self._claim = service.holdings.claim(connection, size, self._begin, self._refuse)

    def turn(self) -> None:
        """Makes the next page."""
        if self._ended:
            return
        try:
            with self._service.engine.lock:
                size = next(self._steps)
        except StopIteration as end:
            self._service.waiters.answer(self._waiter, end.value or self._nothing)
        except TimelineError as problem:
            self._give_up(problem)
        else:
            if size > self._connection.claimed:  # more than it seemed
                self._connection.claimed = size
                self._connection.account()
            self._service.turns.add(self)

    def _begin(self) -> None:
        self._connection.claimed = self._size
        self._connection.account()
        self._service.turns.add(self)

    def _refuse(self) -> None:
        if self._ended:  # its client went meanwhile
            return
        self._give_up(
            CommandError(
                f"clients hold too much for a reply of {self._size} bytes (option clients_bytes): "
                "ask for less by COUNT, or later",
                "BUSY",
            )
        )

    def _give_up(self, problem: TimelineError) -> None:
        refusal = self._service.refuse_late(self._connection, problem)
        self._service.waiters.answer(self._waiter, refusal)

    def _end(self) -> None:
        """It is answered, or its client is gone."""
        self._ended = True
        self._steps.close()
        self._connection.claimed = 0
        self._service.holdings.withdraw(self._claim)
