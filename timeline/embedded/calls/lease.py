"""A lease: what keeps a store open as long as an embedder has anything of it.

Rule: the threads of an engine keep it alive, so it would not be closed when the last reference to
it is dropped. Every handle holds the lease instead, and the engine does not know the lease. When
the last handle is gone, the store is closed as a forgotten file is, with a `ResourceWarning`.
Another opening of the store waits for that. A new thread closes it, since objects go at any moment,
under any lock.
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
            # Not by `threading`: it takes locks that this thread may hold already.
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
