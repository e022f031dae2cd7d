"""Outcomes: groups that are done, and the callbacks that are told so.

Rule: a group ends once, under the engine's lock, and its callbacks are called later, without the
lock. They are called in the order of groups, by one thread at a time. Another thread that comes
meanwhile leaves its part to the first. A callback may be added until the last of its group was
called, and then comes last.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from timeline.commit.group import Group
from timeline.errors import TimelineError

_log = logging.getLogger("timeline")


class Outcomes:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock  # the engine's
        self._untold: deque[Group] = deque()  # done, and not every callback was called
        self._telling = False  # some thread calls them

    def finish(self, group: Group, error: TimelineError | None) -> None:
        """The group is applied, or failed with `error`. The caller holds the lock."""
        group.error, group.done = error, True
        self._untold.append(group)

    def newest(self) -> Group | None:
        """The last group that is done, while callbacks may still be added to it. The caller holds
        the lock.
        """
        return self._untold[-1] if self._untold else None

    def tell(self) -> None:
        """Call the callbacks of groups that are done. Without the lock held."""
        if not self._untold:
            return
        with self._lock:
            if self._telling:
                return
            group, callbacks = self._next()
        ended: BaseException | None = None
        while group is not None:
            for callback in callbacks:
                try:
                    callback(group)
                except Exception:
                    # The commit stands whatever its caller makes of the news; the others must hear.
                    _log.exception("a callback of a group failed")
                except BaseException as error:  # this thread is to end, and the others must hear
                    ended = error
            with self._lock:
                group, callbacks = self._next()
        if ended is not None:
            raise ended

    def _next(self) -> tuple[Group | None, list[Callable[[Group], None]]]:
        while self._untold:
            callbacks = self._untold[0].take_callbacks()
            if callbacks:
                self._telling = True
                return self._untold[0], callbacks
            self._untold.popleft()
        self._telling = False
        return None, []
