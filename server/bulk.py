"""Commands that take several commits, such as adding a hundred thousand members.

Rule: one part in a turn of the loop, the next when the group of the last one is durable, so that
nobody else waits for longer than a part takes. The client is answered when all of it is durable; if
it leaves meanwhile, the command goes on all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from timeline.engine import Draft, Group
from timeline.errors import BusyError, TimelineError

from . import replies

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Service

_PAUSE = 0.002  # seconds until a part is tried again that met BUSY


class Steps(Protocol):
    """A command in parts: `step` does the next one and says whether there is more."""

    def step(self, draft: Draft) -> bool: ...


class Bulk:
    def __init__(
        self, service: Service, connection: Connection, steps: Steps, reply: Callable[[], bytes]
    ) -> None:
        self._service = service
        self._steps = steps
        self._reply = reply
        self._waiter = service.waiters.hold(connection)
        self._more = True

    def go_on(self) -> None:
        """Call it in the turn after the first part was committed."""
        engine, loop = self._service.engine, self._service.loop
        with engine.lock:
            group = self._service.pipeline.flight().group if engine.group.commits else None
        if group is None:  # the group that held the part is on its way, or nothing was changed
            with engine.lock:
                group = engine.stage.latest()

        def landed(done: Group) -> None:  # on whichever thread
            loop.call_soon_threadsafe(self._landed, done)

        group.on_done(landed)

    def _landed(self, group: Group) -> None:
        if group.error is not None:
            self._answer(replies.error(group.error))
        elif self._more:
            self._next()
        else:
            self._answer(self._reply())

    def _next(self) -> None:
        engine = self._service.engine
        try:
            with engine.lock:
                draft = engine.begin()
                more = self._steps.step(draft)
                draft.commit()
        except BusyError:
            self._service.loop.call_later(_PAUSE, self._next)
            return
        except TimelineError as problem:
            self._answer(replies.error(problem))
            return
        self._more = more
        self.go_on()

    def _answer(self, reply: bytes) -> None:
        self._service.waiters.answer(self._waiter, reply)
