"""Compaction on request: fewer, larger segments, while the store serves.

Rule: the work goes in steps, and writers wait for one step at most. Work that is interrupted keeps
the steps that are done. Compaction is no commit and changes no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from timeline.admin.inspection import find_timeline
from timeline.admin.progress import Progress, ignore
from timeline.engine.engine import Engine
from timeline.engine.store.store import STALL_SECONDS
from timeline.lsm.upkeep.compaction import NO_GAIN, Gain
from timeline.storage.rocks import FAMILIES


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
    engine.check_writable()
    _turn_log(engine)
    engine.seal()
    gone = 0
    compacted = []
    for timeline_id, tell in _telling(engine, name, prefix, progress):
        steps = engine.store.compaction.whole(timeline_id)
        while True:
            tell()
            with engine.standing_still():
                step = next(steps, None)
            if step is None:
                break
            gone += step
        compacted.append(timeline_id)
    if name is None and not prefix:
        for family in FAMILIES:
            progress(len(compacted), len(compacted))
            engine.store.storage.compact(family, None, None)
        engine.store.rewrite_erased()
    else:
        engine.store.rewrite(compacted)
    engine.store.flush()
    with engine.standing_still():
        engine.store.let_log_go()
    return gone


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
    found = NO_GAIN
    for timeline_id, tell in _telling(engine, name, prefix, progress):
        steps = engine.store.compaction.gain(timeline_id)
        while True:
            tell()
            with engine.lock:
                engine.check_usable()
                step = next(steps, None)
            if step is None:
                break
            found = found.plus(step)
    return found


def _telling(
    engine: Engine, name: bytes | None, prefix: bytes, progress: Progress
) -> Iterator[tuple[int, Callable[[], None]]]:
    """The id of one timeline, or of each whose name begins with `prefix`; with it a call that tells
    `progress` that the work is at this timeline.
    """
    if name is None:
        named, total = engine.view.each(prefix), sum(1 for _ in engine.view.each(prefix))
    else:
        named, total = iter([(name, find_timeline(engine, name).id)]), 1
    for done, (_, timeline_id) in enumerate(named):
        yield timeline_id, partial(progress, done, total)
    progress(total, total)
