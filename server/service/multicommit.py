"""Multi-commit commands: more than one commit may hold, or than others should wait for.

Rule: each commit is staged in its own turn of the loop, when the commit before it is durable. So
commits of other clients lie between, and the reply leaves when the last is durable. Such a command
is not atomic. When one commit fails, those before it are stored, and the reply says so. Sending the
command again does the rest: its steps see to that.

When a client leaves, its command goes on. Only the end of the daemon ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from timeline.commit.draft import Draft
from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.errors import BusyError, TimelineError

from .pipeline import PAUSE, Pipeline

Step = Callable[[Draft], bool]


class MultiCommitRun:
    """One such command under way. `step` stages the next part into the draft it is given, and
    returns whether there is more. `done` is called once, on the loop, with how it ended.
    """

    __slots__ = (
        "_busy_seconds", "_done", "_engine", "_loop", "_more", "_pipeline", "_since", "_step",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        loop: asyncio.AbstractEventLoop,
        step: Step,
        done: Callable[[TimelineError | None], None],
        *,
        busy_seconds: float,
    ) -> None:
        self._engine = engine
        self._pipeline = pipeline
        self._loop = loop
        self._step = step
        self._done = done
        self._busy_seconds = busy_seconds
        self._more = True
        self._since = 0.0  # when the next commit first met BUSY; 0: it has not
        loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        try:
            self._stage()
        except BusyError as problem:  # the engine takes no commit now: the step was not called
            now = self._loop.time()
            self._since = self._since or now
            if now - self._since > self._busy_seconds:
                self._done(problem)
            else:
                self._loop.call_later(PAUSE, self._go_on)
        except TimelineError as problem:
            self._done(problem)

    def _stage(self) -> None:
        engine = self._engine
        with engine.lock:
            draft = engine.begin()
            self._since = 0.0
            self._more = self._step(draft)
            # One that had nothing to do waits for what it found done by others.
            group = draft.commit().group
            if group is engine.group:
                self._pipeline.pending()
            group.on_done(self._on_done)

    def _on_done(self, group: Group) -> None:
        # On whichever thread; after the replies that wait for the group.
        self._loop.call_soon_threadsafe(self._group_done, group)

    def _group_done(self, group: Group) -> None:
        if self._more and group.error is None:
            self._go_on()
        else:
            self._done(group.error)
