"""Compaction on request: fewer, larger segments, while the store serves.

Rule: the work goes in steps, and writers wait for one step at most. Work that is interrupted keeps
the steps that are done. Compaction is no commit and changes no answer.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import numpy as np

from timeline.admin.inspection import find_timeline
from timeline.admin.progress import Progress, ignore
from timeline.engine.engine import Engine
from timeline.engine.store.store import STALL_SECONDS, Store
from timeline.errors import StallError
from timeline.lsm.upkeep.merging import NO_GAIN, Gain
from timeline.lsm.upkeep.traversal import Traversal
from timeline.storage.rocks import FAMILIES

_SLICE_SECONDS: Final = 0.001  # that the engine's lock is kept, about


def compact(
    engine: Engine,
    name: bytes | None = None,
    *,
    prefix: bytes = b"",
    progress: Progress = ignore,
) -> int:
    """Merge the segments of one timeline, or of all whose name begins with `prefix`.

    Returns how many segments fewer there are. `progress` hears of timelines. An exception that it
    raises ends the work there, but RocksDB finishes the family of files that it rewrites.

    Raises `NotFoundError`, and `CorruptError` or `StorageError` where files cannot be rewritten.
    Writing is then off until the storage is opened again; until then this raises `ReadOnlyError`.
    """
    gained = compact_measured(engine, name, prefix=prefix, progress=progress)
    return gained.segments - gained.after


def compact_measured(
    engine: Engine,
    name: bytes | None = None,
    *,
    prefix: bytes = b"",
    progress: Progress = ignore,
) -> Gain:
    """As `compact`; returns what was gained."""
    engine.check_writable()
    _turn_log(engine)
    engine.seal()
    ids = _ids(engine, name, prefix)
    gained = _go_over(engine, ids, engine.standing_still, progress, dry=False)
    if name is None and not prefix:
        for family in FAMILIES:
            progress(len(ids), len(ids))
            engine.store.storage.compact(family, None, None)
        engine.store.rewrite_erased()
    else:
        engine.store.rewrite(ids)
    engine.store.flush()
    with engine.standing_still():
        engine.store.let_log_go()
    return gained


def _turn_log(engine: Engine) -> None:
    """Have the log go on elsewhere, so that it can let go of what it holds so far."""
    while True:
        with engine.standing_still():
            if engine.log.turn(engine.applied, engine.stage.now()):
                return
        time.sleep(STALL_SECONDS)


def gain(
    engine: Engine,
    name: bytes | None = None,
    *,
    prefix: bytes = b"",
    progress: Progress = ignore,
) -> Gain:
    """What `compact` would change in sealed segments. Changes nothing."""

    @contextmanager
    def looking() -> Iterator[None]:
        with engine.lock:
            engine.check_usable()
            yield

    return _go_over(engine, _ids(engine, name, prefix), looking, progress, dry=True)


def _ids(engine: Engine, name: bytes | None, prefix: bytes) -> Sequence[int]:
    """The id of one timeline, or those of all whose name begins with `prefix`, ascending."""
    if name is not None:
        return array("Q", [find_timeline(engine, name).id])
    ids = np.fromiter((each for _, each in engine.view.each(prefix)), dtype=np.uint64)
    ids.sort()
    return array("Q", ids.tobytes())


def _go_over(
    engine: Engine,
    ids: Sequence[int],
    keep_still: Callable[[], AbstractContextManager[None]],
    progress: Progress,
    *,
    dry: bool,
) -> Gain:
    """Go over the timelines in slices, each inside of `keep_still()`."""
    gained = NO_GAIN
    begun = done = 0
    store: Store | None = None
    traversal: Traversal | None = None
    progress(0, len(ids))
    while done < len(ids):
        try:
            with keep_still():
                if traversal is None or store is not engine.store:  # it was opened again
                    store, begun = engine.store, done
                    traversal = store.compaction.traversal(ids[done:], dry=dry)
                gained = gained.plus(traversal.slice(_SLICE_SECONDS))
                done = begun + traversal.done
        except StallError:  # nothing was done: RocksDB has to catch up
            time.sleep(STALL_SECONDS)
        progress(done, len(ids))
    return gained
