"""An index that was killed between any two of its steps is, when opened again, as a new one.

The steps are everything that changes the index or its checkpoint in the log. At the N-th the
indexer stops dead, and the directory is copied as a kill would leave it, for every N.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.stores import SMALL, copy_as_killed, copy_index
from timeline.embedded.database import Database
from timeline.engine.engine import Engine
from timeline.search.index.index import Index

STEPS = ("add", "add_entry", "remove", "remove_below", "remove_timeline", "commit")
OPTIONS = replace(SMALL, fsync="inline", search=True, search_commit_ms=1, search_prefixes=("log:",))


class Killed(BaseException):
    """What nobody catches."""


@contextmanager
def killed_at(number: int) -> Iterator[Callable[[], bool]]:
    """The indexer dies before its step `number`, counted from 1; gives whether it did."""
    left = number

    def dying(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **changes: Any) -> Any:  # noqa: ANN401  as the step has it
            nonlocal left
            if threading.current_thread().name == "timeline-index":
                left -= 1
                if left <= 0:
                    raise Killed
            return step(*args, **changes)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(Index, name, dying(getattr(Index, name)))
        patch.setattr(Engine, "move_checkpoint", dying(Engine.move_checkpoint))
        patch.setattr("threading.excepthook", lambda _: None)
        yield lambda: left <= 0


def play(db: Database) -> None:
    """A bit of everything that an index has to follow."""
    im = db.messaging
    im.create("team", "ann", members=["bob"], meta={"name": "The Team"})
    for number in range(4):
        im.send("team", "ann", {"text": f"word number {number}"})
    wait(db)
    im.edit("team", 2, actor="ann", fields={"text": "another word"})
    im.recall("team", 3, actor="ann")
    im.create("gone", "ann")
    im.send("gone", "ann", {"text": "word that goes"})
    wait(db)
    im.delete("gone")
    log = db.timeline("log:a")
    log.append_many([{"text": f"word of a log {number}"} for number in range(5)])
    log.trim(before=3)
    log.set_metadata({"city": "Oslo"})
    wait(db)
    im.send("team", "bob", {"text": "the last word"})


def wait(db: Database) -> None:
    """Let the index take in what there is, if it still lives."""
    indexer = db.index.searchable
    while indexer.alive and indexer.reached < db.engine.applied:
        pass


def found(db: Database) -> tuple[list[tuple[bytes, int]], list[str], list[bytes]]:
    everything = db.search("word", limit=100, wait=30)
    mine = db.messaging.search("bob", "word", limit=100)
    described = db.find("city:oslo OR team")
    return (
        [(hit.timeline, hit.seq) for hit in everything.hits],
        [hit.text("text") for hit in mine.hits],
        [name for name, _ in described],
    )


def expected(tmp_path: Path) -> object:
    with timeline.open(tmp_path / "whole", OPTIONS) as db:
        play(db)
        return found(db)


def test_a_kill_between_any_two_steps_leaves_no_trace(tmp_path: Path) -> None:
    whole = expected(tmp_path)
    number, died = 0, True
    while died:
        number += 1
        copy = tmp_path / f"killed{number}"
        with killed_at(number) as dead:
            db = timeline.open(tmp_path / f"store{number}", OPTIONS)
            play(db)
            wait(db)
            died = dead()
            while died and db.index.searchable.alive:
                pass  # it is about to end, and what it ends with is still expected
            copy_index(db, tmp_path)
            copy_as_killed(db, copy)
            shutil.move(tmp_path / "index", copy / "index")
        db.close()
        with timeline.open(copy, OPTIONS) as db:
            assert found(db) == whole, f"killed before step {number}"
        shutil.rmtree(copy)
    assert number > 20
