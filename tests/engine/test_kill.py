"""kill -9 at random moments, over and over, on one store.

A child appends to several timelines, commits across two, edits, deletes, trims, drops, delivers to
in-boxes, moves consumers, seals and compacts, and reports every acknowledgement on a pipe. After
each kill the parent opens the store, or a copy, so that kills follow on kills: what was
acknowledged is there, nothing is there by half, numbers have no gap, every reference is there once.
Bounds are so small that many kills land inside sealing, or while files of the log begin or go.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.killed import OPTIONS, advance, go_on, steps_of
from tests.engine.stores import Clock, abandon, small_steps
from tests.engine.twin import Twin, picture_of
from tests.forked import CONTEXT


def killed_run(
    path: Path, seed: int, length: int, changes: dict[str, Any], draw: random.Random
) -> tuple[int, dict[bytes, int] | None]:
    """Let a child work on the store and kill it; the last LSN that it reported, or 0, and what
    consumers had reached.
    """
    ours, theirs = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=go_on, args=(path, seed, length, changes, theirs))
    child.start()
    theirs.close()
    reported: tuple[int, dict[bytes, int] | None] = 0, None
    try:
        if draw.random() < 0.2:  # while it opens, or soon after
            ours.poll(draw.random() * 0.3)
        else:
            for _ in range(draw.randint(1, 40)):
                reported = ours.recv()
            ours.poll(draw.random() * 0.003)
        child.kill()
        while True:
            reported = ours.recv()
    except EOFError:
        pass
    finally:
        child.kill()
        child.join()
    assert child.exitcode in (-9, 0), "the child failed by itself; its error is above"
    return reported


@pytest.mark.timeout(0)
def test_whatever_was_acknowledged_survives_every_kill(
    directory: Path, kill_rounds: int, request: pytest.FixtureRequest
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  shown when it fails
    draw = random.Random(seed)
    length = 30 * kill_rounds + 50
    path = directory / "store"
    with Clock().installed() as clock, small_steps():
        model = Twin(directory / "model", replace(OPTIONS, fsync="inline"), clock)
        steps = steps_of(length, seed)
        consumers: dict[bytes, int] = {}
        for number in range(kill_rounds):
            changes = {
                "fsync": draw.choice(("thread", "inline")),
                "durability": draw.choice(("sync", "sync", "interval")),
            }
            reported, told = killed_run(path, seed, length, changes, draw)
            where = f"round {number}, {changes}, seed {seed}"
            opened = path
            if draw.random() < 0.6 and path.exists():
                opened = directory / "copy"
                shutil.copytree(path, opened)
            with timeline.open(opened, OPTIONS) as db:
                recovered = db.engine.applied
                assert recovered >= reported, f"acknowledged and lost: {where}"
                found = db.log.checkpoints()
                if told is None:  # it was killed before it did anything
                    assert found == consumers, where
                else:  # one may have been moved and not been told of
                    names = found.keys() | told.keys()
                    assert sum(found.get(name) != told.get(name) for name in names) <= 1, where
                consumers = found
                steps = advance(model, steps, recovered)
                assert recovered <= reported + 1 or not reported, where
                assert picture_of(db, model.users) == model.pictures[recovered], where
            shutil.rmtree(directory / "copy", ignore_errors=True)
        assert model.oracle.lsn > kill_rounds
        abandon(model.db)
