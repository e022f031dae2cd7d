"""The promise of consumers of the log: a move that was answered survives a kill. A new consumer
survives a power cut too: the log would be let go without it.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

import timeline
from tests.engine.stores import SMALL, copy_as_killed, copy_store_but_log
from tests.log.disk import Disk

OPTIONS = replace(SMALL, fsync="inline", unsealed_bytes=2**20, log_file_bytes=4_096)
TOO_MUCH = [{"v": "x" * 1_000}] * 5  # for what a file of the log has left


def test_moves_of_several_openings_survive_kills_and_a_log_that_goes_on_in_another_file(
    tmp_path: Path,
) -> None:
    with timeline.open(tmp_path / "0", OPTIONS) as db:
        db.timeline("a").append({"v": "1"})
        db.engine.seal()
        db.engine.store.flush()
        db.log.move("one", 1)
        copy_as_killed(db, tmp_path / "1")
    with timeline.open(tmp_path / "1", OPTIONS) as db:
        db.log.move("other", 0)
        db.timeline("a").append_many(TOO_MUCH)
        copy_as_killed(db, tmp_path / "2")
    with timeline.open(tmp_path / "2", OPTIONS) as db:
        assert db.log.checkpoints() == {b"one": 1, b"other": 0}


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_a_new_consumer_survives_a_power_cut(
    tmp_path: Path, durability: Literal["sync", "interval"], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, durability=durability, interval_ms=10**9)
    disk = Disk(monkeypatch)
    disk.watch(tmp_path / "store" / "log")
    with timeline.open(tmp_path / "store", options) as db:
        for number in range(1, 4):
            db.timeline("a").append({"v": "x" * 1_000})
            db.log.move("moved", number)
            db.log.move(f"new{number}", number)
            with db.engine.standing_still():
                copy_store_but_log(db, tmp_path / str(number))
                disk.copy_without_power(tmp_path / str(number) / "log", random.Random(number))
            with timeline.open(tmp_path / str(number), options) as cut:
                found = cut.log.checkpoints()
                assert found == {
                    b"moved": number,  # it was moved before, and is durable with what is new
                    **{b"new%d" % each: each for each in range(1, number + 1)},
                }


def test_one_that_is_forgotten_stays_forgotten_after_a_kill(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "0", OPTIONS) as db:
        db.timeline("a").append({"v": "1"})
        db.log.move("one", 1)
        db.engine.seal()
        db.engine.store.flush()
        db.log.move("one", None)
        copy_as_killed(db, tmp_path / "1")
    with timeline.open(tmp_path / "1", OPTIONS) as db:
        assert db.log.checkpoints() == {}
        db.timeline("a").append_many(TOO_MUCH)
        copy_as_killed(db, tmp_path / "2")
    with timeline.open(tmp_path / "2", OPTIONS) as db:
        assert db.log.checkpoints() == {}
