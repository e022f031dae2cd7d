"""Reading: the engine's lock, held on an engine that is open.

Rule: a call that reads holds it for a page at most. Arguments are checked before.
"""

from __future__ import annotations

from timeline.engine.engine import Engine


class Reading:
    """Hold it by `with`. Raises `ClosedError`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        self._engine.lock.acquire()
        try:
            self._engine.check_usable()
        except BaseException:
            self._engine.lock.release()
            raise

    def __exit__(self, *exception: object) -> None:
        self._engine.lock.release()
