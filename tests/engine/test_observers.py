"""The promise: those who observe an engine hear what they asked for, once, in the place stated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.commit.draft import Draft
from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.formats.rows import Retention
from timeline.lsm.timeline import Timeline
from timeline.options import Options

ITEMS = (b"f", b"v")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    options = Options(fsync="inline", retention_check_ms=1)
    with Engine(tmp_path / "store", options) as opened:
        yield opened


def test_a_group_is_heard_of_when_it_is_applied_and_before_those_who_wait(engine: Engine) -> None:
    heard: list[object] = []

    def observe(group: Group) -> None:
        heard.append(("applied", group.last, engine.applied))

    engine.observers.on_apply(observe)
    with engine.lock:
        engine.appender.append(b"a", ITEMS)
        engine.group.on_done(lambda group: heard.append(("done", group.last)))
        assert not heard
    engine.flush()
    assert heard == [("applied", 1, 1), ("done", 1)]


def test_what_follows_from_a_trim_by_retention_is_in_its_commit(engine: Engine) -> None:
    def observe(draft: Draft, timeline: Timeline) -> None:
        draft.put(b"u-trimmed", timeline.name)

    engine.observers.on_trim(observe)
    with engine.lock:
        draft = engine.begin()
        draft.append_many(timeline := draft.create(b"a"), [ITEMS] * 5)
        draft.set_retention(timeline, Retention(0, 2, 0))
        draft.commit()
    engine.flush()
    before = engine.applied
    while engine.applied == before:
        engine.work()
        engine.flush()
    assert engine.applied == before + 1
    with engine.lock:
        assert engine.view.extent(timeline).length == 2
        assert engine.view.get(b"u-trimmed") == b"a"


def test_a_reload_is_heard_of_when_the_storage_was_opened_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    applied: list[Group] = []
    reloads: list[int] = []
    engine.observers.on_apply(applied.append)
    engine.observers.on_reload(lambda: reloads.append(engine.view.opening))
    first = engine.view.opening
    engine.pipeline.poison(OSError("no space left"))
    engine.work()
    assert (applied, reloads) == ([], [first + 1])


def test_parts_are_stopped_before_the_engine_the_last_one_first(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "store", Options(fsync="inline"))
    stopped: list[object] = []
    engine.observers.before_closing(lambda: stopped.append(("first", engine.closed)))
    engine.observers.before_closing(lambda: stopped.append(("last", engine.closed)))
    engine.close()
    engine.close()
    assert stopped == [("last", False), ("first", False)]
