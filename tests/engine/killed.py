"""The process that the kill -9 loop kills: it goes on with a scenario and reports what stands.

Rule: an LSN goes into the pipe only after the store has acknowledged it, with what the consumers of
the log have reached by then. Everything else (steps, times, ids) is the same in every process that
runs the same scenario, so that the parent can tell from an LSN alone what the store must hold.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timeline
from tests.engine.stores import SMALL, Clock, abandon, scratch_directory, small_steps
from tests.engine.twin import Step, Twin, scenario, with_moves

# Files of the log so small that many begin and go.
OPTIONS = replace(SMALL, log_file_bytes=8_192)


def steps_of(length: int, seed: int) -> list[Step]:
    return with_moves(scenario(length, seed), seed)


def advance(twin: Twin, steps: list[Step], lsn: int) -> list[Step]:
    """Do steps until `lsn` is reached; what is left of them."""
    while twin.oracle.lsn < lsn and steps:
        twin.do(steps[0])
        steps = steps[1:]
    return steps


def go_on(path: Path, seed: int, length: int, changes: dict[str, Any], pipe: Connection) -> None:
    """Open the store at `path`, find out how far it is, and go on until killed."""
    options = replace(OPTIONS, **changes)
    scratch = scratch_directory()
    with Clock().installed() as clock, small_steps():
        db = timeline.open(path, options)
        twin = Twin(scratch / "replayed", replace(OPTIONS, fsync="inline"), clock)
        steps = advance(twin, steps_of(length, seed), db.engine.applied)
        abandon(twin.db)
        shutil.rmtree(scratch)
        twin.db = db
        twin.consumers = db.log.checkpoints()
        pipe.send((twin.oracle.lsn, twin.consumers))
        for step in steps:
            twin.do(step)
            pipe.send((twin.oracle.lsn, twin.consumers))
        db.close()
