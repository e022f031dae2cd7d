"""Callbacks: code of users that is called when something is done.

Rule: no callback of a user runs on a thread that writers wait for, or under a lock of the engine.
Each store has one thread for them, made when it is first needed. It calls them one after another,
in the order in which they came due: that of the commits. A callback may do whatever any other
thread may: append, wait for its own append, close the store. One that raises is logged. One that
sleeps delays the callbacks after it and nothing else. Code that adds callbacks asks `check_room`
first, which bounds how many wait.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from timeline.errors import BusyError

MOST: Final = 65_536  # callbacks that may be due before more work is refused
_IDLE_SECONDS: Final = 5.0  # after which the thread ends until it is needed again
_LAST_SECONDS: Final = 5.0  # how long `finish` waits for a callback that does not return

_log = logging.getLogger("timeline")


class Callbacks:
    """Calls what is due on a thread of its own, in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: deque[Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._finishing = False

    @property
    def waiting(self) -> int:
        """How many are due and were not called."""
        return len(self._due)

    def check_room(self) -> None:
        """Raise `BusyError` when too many are due to make more of them."""
        if len(self._due) >= MOST:
            raise BusyError(f"{MOST} callbacks wait to be called: they take too long; try later")

    def call(self, callback: Callable[[], object]) -> None:
        """Call `callback()` soon, after those that are due."""
        with self._changed:
            self._due.append(callback)
            self._changed.notify_all()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="timeline-callbacks", daemon=True)
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError:  # no thread can be had now: the next call tries again
                    self._thread = None
                    raise

    def finish(self) -> None:
        """Wait until all that is due was called, some seconds at most. On the thread that calls
        them it does not wait.
        """
        with self._changed:
            self._finishing = True
            self._changed.notify_all()
            if self._thread is not threading.current_thread():
                self._changed.wait_for(lambda: self._thread is None, _LAST_SECONDS)
            self._finishing = False

    def _run(self) -> None:
        while (callback := self._next()) is not None:
            try:
                callback()
            except BaseException:  # the thread calls the others whatever this one raised
                _log.exception("a callback failed")
            del callback  # keeps nothing alive while it waits for the next

    def _next(self) -> Callable[[], object] | None:
        """What is called next; None when the thread is to end."""
        with self._changed:
            while not self._due:
                if self._finishing or not self._changed.wait(_IDLE_SECONDS):
                    if self._due:
                        break
                    self._thread = None
                    self._changed.notify_all()
                    return None
            return self._due.popleft()


class Outcome(Future[int]):
    """A future whose callbacks are called by `callbacks`, not by the thread that settles it.

    A thread that waits for the result is woken immediately. A callback that is added after the
    result is there is called immediately, as with any future.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        super().__init__()
        self._later = callbacks.call
        self.set_running_or_notify_cancel()  # it was staged, and cannot be taken back

    def add_done_callback(self, fn: Callable[[Future[int]], Any]) -> None:
        if self.done():
            super().add_done_callback(fn)
        else:
            super().add_done_callback(lambda future: self._later(lambda: fn(future)))
