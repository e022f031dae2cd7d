"""Callbacks of users run beside the store: they may do anything, and nobody waits for them.

Each test is a thing that somebody does in a callback of `append_async`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path

import pytest

import timeline
from timeline.commit.group import Group
from timeline.embedded.database import Database
from timeline.engine import callbacks
from timeline.errors import BusyError, ClosedError, ReadOnlyError, TimelineError, UncertainError
from timeline.storage.mark import DurableMark

SECONDS = 20.0


@pytest.fixture(
    params=[("sync", "thread"), ("sync", "inline"), ("interval", "thread")], ids="-".join
)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    durability, fsync = request.param
    db = timeline.open(tmp_path / "store", durability=durability, fsync=fsync, search=False)
    yield db
    with suppress(TimelineError):
        db.close()


def append(db: Database, name: str = "a") -> Future[int]:
    return db.timeline(name).append_async({"a": "1"})


def test_a_callback_appends(db: Database) -> None:
    done: Future[Future[int]] = Future()
    append(db).add_done_callback(lambda _: done.set_result(append(db)))
    db.flush()
    inner = done.result(SECONDS)
    db.flush()
    assert inner.result(SECONDS) == 2


def test_a_callback_waits_for_its_own_append(db: Database) -> None:
    done: Future[int] = Future()
    append(db).add_done_callback(lambda _: done.set_result(db.timeline("a").append({"a": "2"})))
    db.flush()
    assert done.result(SECONDS) == 2
    assert db.timeline("a").append({"a": "3"}) == 3


def test_a_callback_closes_the_store(db: Database) -> None:
    closed = threading.Event()

    def close(_: Future[int]) -> None:
        db.close()
        closed.set()

    append(db).add_done_callback(close)
    with suppress(ClosedError):
        db.flush()
    assert closed.wait(SECONDS)
    with pytest.raises(ClosedError):
        db.timeline("a").append({"a": "2"})
    with timeline.open(db.engine.path) as again:
        assert len(again.timeline("a")) == 1


def test_two_may_close_at_once(db: Database) -> None:
    began = threading.Event()

    def close(_: Future[int]) -> None:
        began.set()
        db.close()

    append(db).add_done_callback(close)
    with suppress(ClosedError):
        db.flush()
    assert began.wait(SECONDS)
    db.close()


def test_a_callback_that_raises_harms_no_other(db: Database) -> None:
    told: list[int] = []
    futures = [append(db) for _ in range(3)]
    futures[0].add_done_callback(lambda _: told.append(1 // 0))
    futures[1].add_done_callback(lambda _: exec("raise SystemExit"))
    futures[2].add_done_callback(lambda future: told.append(future.result()))
    db.flush()
    db.close()
    assert told == [3]


def test_a_callback_that_sleeps_stops_no_writer(db: Database) -> None:
    """Nor who waits for a result: only the callbacks behind it."""
    asleep, wake = threading.Event(), threading.Event()
    first, second = append(db), append(db)
    told: list[int] = []

    def sleep(_: Future[int]) -> None:
        asleep.set()
        wake.wait(SECONDS)

    first.add_done_callback(sleep)
    second.add_done_callback(lambda future: told.append(future.result()))
    db.flush()
    assert asleep.wait(SECONDS)
    assert [db.timeline("a").append({"a": "2"}) for _ in range(3)] == [3, 4, 5]
    assert second.result(SECONDS) == 2
    later = append(db)
    db.flush()
    assert not wait([later], SECONDS).not_done
    assert not told
    wake.set()
    db.close()
    assert told == [2]


def test_closing_does_not_wait_for_ever(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "_LAST_SECONDS", 0.01)
    asleep, wake = threading.Event(), threading.Event()

    def sleep(_: Future[int]) -> None:
        asleep.set()
        wake.wait(SECONDS)

    append(db).add_done_callback(sleep)
    db.flush()
    assert asleep.wait(SECONDS)
    db.close()
    with timeline.open(db.engine.path) as again:
        assert len(again.timeline("a")) == 1
    wake.set()


def test_callbacks_come_in_the_order_of_commits(db: Database) -> None:
    told: list[int] = []

    def write(name: str) -> None:
        for _ in range(50):
            append(db, name).add_done_callback(lambda future: told.append(future.result()))

    for turn in range(3):
        write("a")
        if turn:
            db.flush()
    db.close()
    assert told == list(range(1, 151))


def test_callbacks_that_are_due_are_bounded(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "MOST", 4)
    asleep, wake = threading.Event(), threading.Event()

    def sleep(_: Future[int]) -> None:
        asleep.set()
        wake.wait(SECONDS)

    append(db).add_done_callback(sleep)
    db.flush()
    assert asleep.wait(SECONDS)
    for _ in range(4):
        append(db).add_done_callback(id)
    db.flush()
    with pytest.raises(BusyError):
        append(db)
    assert db.timeline("a").append({"a": "2"}) == 6, "who gives no callback is not refused"
    wake.set()
    db.close()
    assert db.engine.callbacks.waiting == 0


def test_a_callback_hears_of_a_failure(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.timeline("a").append({"a": "1"})

    def fail(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "pwritev", fail)
    heard: Future[BaseException | None] = Future()
    append(db).add_done_callback(lambda future: heard.set_result(future.exception()))
    with suppress(TimelineError):
        db.flush()
    assert isinstance(heard.result(SECONDS), UncertainError)


def test_a_failure_beside_the_pipeline_is_heard_of_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody flushes: what was staged is never written."""
    with timeline.open(tmp_path / "store", fsync="inline", search=False) as db:
        future = append(db)

        def fail(*_: object) -> None:
            raise OSError

        with monkeypatch.context() as patch:
            patch.setattr(DurableMark, "write", fail)
            with pytest.raises(UncertainError):
                db.log.move("reader", 0)
        assert isinstance(future.exception(SECONDS), ReadOnlyError)


def test_a_future_can_be_awaited(db: Database) -> None:
    async def main() -> int:
        future = asyncio.wrap_future(append(db))
        db.flush()
        return await asyncio.wait_for(future, SECONDS)

    assert asyncio.run(main()) == 1


def test_who_is_told_of_a_group_holds_no_lock(db: Database) -> None:
    """What the store's own parts hang on a group may take every lock, commit, and close."""
    engine = db.engine
    told: list[int] = []
    done = threading.Event()

    def take(group: Group) -> None:
        other = threading.Thread(target=lambda: told.append(len(db.timeline("a"))))
        other.start()
        other.join(SECONDS)
        told.append(db.timeline("b").append({"b": "1"}))
        done.set()

    with engine.lock:
        engine.appender.append(b"a", [b"a", b"1"])
        engine.group.on_done(take)
    db.flush()
    assert done.wait(SECONDS)
    assert told == [1, 1]


def test_who_comes_late_is_told_behind_the_others(tmp_path: Path) -> None:
    """A group that has nothing to wait for is done after those that are being told of."""
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        engine = db.engine
        told: list[str] = []

        def first(_: Group) -> None:
            with engine.lock:
                engine.begin().commit().group.on_done(lambda _: told.append("late"))
            told.append("first")

        with engine.lock:
            engine.appender.append(b"a", [b"a", b"1"])
            engine.group.on_done(first)
            engine.group.on_done(lambda _: told.append("second"))
        engine.flush()
        assert told == ["first", "second", "late"]
