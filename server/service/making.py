"""Replies that are made a page at a time: long ranges, which would keep others waiting.

Rule: the first page is made immediately, and a reply that ends there is like any other. A longer
one first waits until there is room for all of it (`holdings`), and then has a turn for each page
(`turns`). Meanwhile its client waits as for a blocked read, since its commands are answered in
order.

Between two steps of a reply the store may change. The steps must allow for that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from timeline.engine.engine import Engine
from timeline.errors import TimelineError

from ..clients.blocking import Waiters
from ..clients.client import Client
from ..clients.holdings import Holdings
from ..clients.state import ClientState
from ..clients.turns import Turns
from ..errors import CommandError

# A reply that is being made. Each step yields about how many bytes the reply will have in all. At
# the end there is the reply, in pieces.
Steps = Generator[int, None, list[bytes]]


def finish(steps: Steps) -> list[bytes]:
    """Makes the whole reply in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            pieces: list[bytes] = end.value
            return pieces


class Making:
    """Makes the replies of all clients."""

    def __init__(
        self,
        engine: Engine,
        turns: Turns,
        holdings: Holdings,
        waiters: Waiters,
        refusal: Callable[[ClientState, TimelineError], bytes],
    ) -> None:
        self.engine = engine
        self.turns = turns
        self.holdings = holdings
        self.waiters = waiters
        self.refusal = refusal  # the reply to a command that fails once it has waited

    def make(self, client: Client, steps: Steps, nothing: bytes = b"") -> bytes | None:
        """Answers with what `steps` make: immediately when the first makes all, perhaps of no
        bytes; else in turns, and with `nothing` for nothing.
        """
        try:
            size = next(steps)
        except StopIteration as end:
            return b"".join(end.value)
        _LongReply(self, client, steps, size, nothing)
        return None


class _LongReply:
    """One that is made in turns, of which the first step is done."""

    __slots__ = ("_claim", "_client", "_ended", "_making", "_nothing", "_size", "_steps", "_waiter")

    def __init__(
        self, making: Making, client: Client, steps: Steps, size: int, nothing: bytes
    ) -> None:
        self._making = making
        self._client = client
        self._steps = steps
        self._size = size
        self._nothing = nothing
        self._ended = False
        self._waiter = making.waiters.hold(client, self._end, soon=True)
        self._claim = making.holdings.claim(client, size, self._begin, self._refuse)

    def turn(self) -> None:
        """Makes the next page."""
        if self._ended:
            return
        try:
            with self._making.engine.lock:
                size = next(self._steps)
        except StopIteration as end:
            self._making.waiters.answer(self._waiter, end.value or self._nothing)
        except TimelineError as problem:
            self._give_up(problem)
        else:
            if size > self._client.claimed:  # more than it seemed
                self._client.claimed = size
                self._client.account()
            self._making.turns.add(self)

    def _begin(self) -> None:
        self._client.claimed = self._size
        self._client.account()
        self._making.turns.add(self)

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
        refusal = self._making.refusal(self._client.session, problem)
        self._making.waiters.answer(self._waiter, refusal)

    def _end(self) -> None:
        """It is answered, or its client is gone."""
        self._ended = True
        self._steps.close()
        self._client.claimed = 0
        self._making.holdings.withdraw(self._claim)
