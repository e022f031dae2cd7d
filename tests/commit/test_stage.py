"""The promise: what is staged has its numbers, is seen by the next commit, and by no reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.engine.engine import Engine
from timeline.errors import ReadOnlyError, TooLargeError, UsageError
from timeline.options import Options

ITEMS = (b"f", b"v")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store", Options(fsync="inline", entry_fields=2)) as opened:
        yield opened


def test_a_stage_begins_at_the_end_of_the_log(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", Options(fsync="inline")) as engine:
        with engine.lock:
            engine.appender.append(b"a", ITEMS)
            engine.appender.append(b"b", ITEMS)
        engine.flush()
    with Engine(tmp_path / "store", Options(fsync="inline")) as engine:
        stage = engine.stage
        assert (stage.open.first, stage.open.commits, stage.pending) == (3, 0, None)
        assert stage.next_id == 3, "ids are never given out again"


def test_what_is_staged_is_found_by_the_next_commit_and_by_no_reader(engine: Engine) -> None:
    with engine.lock:
        engine.appender.append(b"a", ITEMS)
        staged = engine.stage.find(b"a")
        assert staged is not None
        assert engine.view.find(b"a") is None
        group = engine.stage.close_group()
        assert engine.stage.find(b"a") is staged, "the pending group holds it"
        assert engine.appender.append(b"a", ITEMS) == 2
        assert engine.stage.groups() == [group, engine.stage.open]
        assert [row[0] for row in engine.stage.staged(staged, 0, 10)] == [1, 2]
    while engine.pending:
        engine.flush()
    assert engine.view.find(b"a") is staged


def test_what_is_given_up_leaves_a_stage_that_is_empty(engine: Engine) -> None:
    with engine.lock:
        engine.appender.append(b"a", ITEMS)
        pending = engine.stage.close_group()
        engine.appender.append(b"b", ITEMS)
        behind = engine.stage.open
        assert engine.stage.abandon() == (pending, behind)
        assert (engine.stage.pending, engine.stage.open.commits) == (None, 0)


def test_another_stage_follows_a_failure(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    before = engine.stage, engine.appender
    engine.pipeline.poison(OSError("no space left"))
    with pytest.raises(ReadOnlyError), engine.lock:
        engine.appender.append(b"a", ITEMS)
    engine.work()
    assert engine.stage is not before[0]
    assert engine.appender is not before[1]
    with engine.lock:
        assert engine.appender.append(b"a", ITEMS) == 1


def test_time_does_not_step_back_with_the_clock(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = engine.stage.last_time = engine.stage.now()
    monkeypatch.setattr("time.time_ns", lambda: (last - 1_000) * 1_000_000)
    assert engine.stage.now() == last


def test_what_is_beyond_the_limits_is_refused(engine: Engine) -> None:
    stage = engine.stage
    stage.check_items((b"f", b"v", b"g", b"w"))
    with pytest.raises(TooLargeError):
        stage.check_items((b"f", b"v") * 3)
    for items in ((), (b"f",), (b"f", b"v", b"g")):
        with pytest.raises(UsageError):
            stage.check_items(items)
    with pytest.raises(TooLargeError):
        stage.check_field(b"f" * (stage.field_limit + 1))
    with pytest.raises(TooLargeError):
        stage.check_size(stage.entry_limit + 1)
    with pytest.raises(UsageError):
        stage.check_name(b"")
