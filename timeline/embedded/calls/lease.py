"""A lease: everything an embedder has of a store holds it, and it keeps the store open.

Rule: the threads of an engine keep it alive, so dropping the last reference to it would not close
it. Every handle holds the lease instead, which the engine does not know. When the last handle has
gone, the store is closed as a forgotten file is, with a `ResourceWarning`; another opening of it
waits for that. A thread of its own closes it, since objects go at any moment, under any lock.
"""

from __future__ import annotations

import _thread
import sys
import warnings
from contextlib import suppress

from timeline.engine.engine import Engine
from timeline.errors import TimelineError


class Lease:
    """Give it to everything that needs the engine open."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __del__(self) -> None:
        engine = self.engine
        if engine.closed or sys.is_finalizing():
            return
        engine.leave()
        with suppress(RuntimeError):  # the interpreter ends: what was acknowledged is durable
            # `threading` takes locks to start one, which the thread that is in here may hold.
            _thread.start_new_thread(_close, (engine,))
        warnings.warn(
            f"the store {engine.path}, opened at {engine.opened_by}, was not closed",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )


def _close(engine: Engine) -> None:
    with suppress(TimelineError):  # nobody is left to be told
        engine.close()
