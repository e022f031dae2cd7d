"""The promise: a chore's commit is made, one that fails leaves nothing, and a round ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.commit.draft import Draft
from timeline.engine.engine import Engine
from timeline.engine.upkeep.chores import Chores
from timeline.errors import UsageError
from timeline.options import Options

HOUR = 3_600.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store", Options(fsync="inline")) as opened:
        yield opened


class Counting:
    """A chore with so much to do."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.calls = 0

    def __call__(self, draft: Draft) -> bool:
        self.calls += 1
        if not self.left:
            return False
        self.left -= 1
        draft.put(b"u-chore", b"%d" % self.left)
        return True


def test_a_chore_is_done_to_its_end_a_commit_at_a_time(engine: Engine) -> None:
    chores, chore = Chores(HOUR), Counting(3)
    chores.add(chore)
    with engine.lock:
        before = engine.stage.open.next
        assert not chores.work(engine.stage, seconds=1.0)
        assert engine.stage.open.next == before + 3
    assert chore.left == 0


def test_a_round_goes_on_when_its_time_was_too_short(engine: Engine) -> None:
    chores, chore = Chores(HOUR), Counting(3)
    chores.add(chore)
    with engine.lock:
        assert chores.work(engine.stage, seconds=0.0)
        assert chore.left == 2
        while chores.work(engine.stage, seconds=0.0):
            pass
    assert chore.left == 0


def test_a_round_that_ended_is_followed_by_another_in_its_time(engine: Engine) -> None:
    chores, chore = Chores(HOUR), Counting(0)
    chores.add(chore)
    with engine.lock:
        chores.work(engine.stage, seconds=1.0)
        chores.work(engine.stage, seconds=1.0)
        assert chore.calls == 1
        chores.soon()
        chores.work(engine.stage, seconds=1.0)
        assert chore.calls == 2


def test_a_chore_that_fails_leaves_nothing_and_the_others_go_on(engine: Engine) -> None:
    def fail(draft: Draft) -> bool:
        draft.put(b"u-fail", b"1")
        raise UsageError("not now")

    chores, chore = Chores(HOUR), Counting(1)
    chores.add(fail)
    chores.add(chore)
    with engine.lock:
        assert not chores.work(engine.stage, seconds=1.0)
        assert engine.stage.get(b"u-fail") is None
    assert chore.left == 0


def test_a_chore_that_is_done_waits_for_the_others_of_its_round(engine: Engine) -> None:
    chores, done, busy = Chores(HOUR), Counting(0), Counting(3)
    chores.add(done)
    chores.add(busy)
    with engine.lock:
        while chores.work(engine.stage, seconds=0.0):
            pass
    assert (done.calls, busy.left) == (1, 0)
