"""Who drives an engine: a thread of its own, or its callers, and never a forked child.

The commit thread flushes what is staged, and works when there is nothing to flush. Where callers
drive an engine, the idle thread does what must be done though nobody calls: it makes the fsync that
`interval` durability puts off, and opens the storage again after a failure.

Rule: a thread ends when its engine is closed, or when nothing refers to the engine any more. A fork
leaves the child with engines that refuse everything: two writers would destroy the store, and the
parent's threads do not run in the child. Nothing that the engine raises is caught here.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

from timeline.engine.store.store import STALL_SECONDS


class Driven(Protocol):
    """What the thread and the guard need of an engine."""

    staged: threading.Condition

    @property
    def pending(self) -> bool: ...
    @property
    def poisoned(self) -> bool: ...
    @property
    def idle_seconds(self) -> float: ...
    @property
    def due_in(self) -> float | None: ...
    def do_due(self) -> None: ...
    def flush(self) -> bool: ...
    def work(self) -> bool: ...
    def refuse_in_child(self) -> None: ...


class CommitThread:
    """Drives `engine` from now on, until `stop`. It does not keep the engine alive."""

    def __init__(self, engine: Driven) -> None:
        self._staged = engine.staged
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, args=(weakref.ref(engine),), name="timeline-commit", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Wait until the thread has ended, except on the thread itself. Without the engine's lock
        held.
        """
        with self._staged:
            self._stopping = True
            self._staged.notify_all()
        if not self.is_current:
            self._thread.join()

    @property
    def is_current(self) -> bool:
        """Whether this is called on the thread."""
        return self._thread is threading.current_thread()

    def _run(self, reference: weakref.ref[Driven]) -> None:
        while not self._stopping:
            engine = reference()
            if engine is None:
                return
            if engine.pending and not engine.poisoned:
                if not engine.flush():
                    time.sleep(STALL_SECONDS)
            elif not engine.work():
                with engine.staged:
                    if not engine.pending and not self._stopping:
                        engine.staged.wait(engine.idle_seconds)
            del engine


class IdleThread:
    """Does what is due in `engine` though nobody calls it, from when it is woken until there is no
    more, and until `stop`. It does not keep the engine alive.
    """

    def __init__(self, engine: Driven) -> None:
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(weakref.ref(engine, lambda _: self._end()),),
            name="timeline-idle",
            daemon=True,
        )
        self._thread.start()

    def wake(self) -> None:
        """Something is due."""
        self._wanted.set()

    def stop(self) -> None:
        """Wait until the thread has ended, except on the thread itself. Without the engine's locks
        held.
        """
        self._end()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _end(self) -> None:
        self._ended.set()
        self._wanted.set()

    def _run(self, reference: weakref.ref[Driven]) -> None:
        while not self._ended.is_set():
            engine = reference()
            seconds = None if engine is None else engine.due_in
            del engine
            if seconds is None:
                self._wanted.wait()
                self._wanted.clear()
            elif not self._ended.wait(seconds):
                engine = reference()
                if engine is not None:
                    engine.do_due()
                del engine


class Driver:
    """Who drives `engine`: a thread of its own where it is `threaded`, else its callers, and a
    thread for what is due. It does not keep the engine alive.
    """

    def __init__(self, engine: Driven, *, threaded: bool) -> None:
        self._engine = weakref.ref(engine)
        self._threaded = threaded
        self._commits: CommitThread | None = None
        self._guard = threading.Lock()  # of the next two
        self._idle: IdleThread | None = None
        self._stopped = False

    def start(self) -> None:
        engine = self._engine()
        if self._threaded and engine is not None:
            self._commits = CommitThread(engine)

    @property
    def is_current(self) -> bool:
        """Whether this is called on the thread that commits."""
        return self._commits is not None and self._commits.is_current

    def note_due(self) -> None:
        """Something is to be done soon, and nobody may call the engine then. After `stop` nothing
        is: closing does what is left.
        """
        engine = self._engine()
        if self._threaded or engine is None:
            return
        with self._guard:
            if self._stopped:
                return
            if self._idle is None:
                self._idle = IdleThread(engine)
            self._idle.wake()

    def stop(self) -> None:
        """Return when the threads have ended. Without the engine's locks held."""
        commits, self._commits = self._commits, None
        if commits is not None:
            commits.stop()
        with self._guard:
            self._stopped = True
            idle, self._idle = self._idle, None
        if idle is not None:
            idle.stop()


_guarded: weakref.WeakSet[Driven] = weakref.WeakSet()


def refuse_after_fork(engine: Driven) -> None:
    """From now on `engine` refuses in every child that this process forks."""
    _guarded.add(engine)


def _refuse_in_child() -> None:
    for engine in list(_guarded):
        engine.refuse_in_child()


os.register_at_fork(after_in_child=_refuse_in_child)
