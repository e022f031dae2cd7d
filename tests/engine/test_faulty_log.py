"""The promise: whatever the log answers, a caller hears the right thing. A log that is not ready is
waited for. One that has no room refuses, and then nothing was done. One that fails leaves in doubt
what it was writing, and nothing else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.stores import SMALL, fail_next_write, fail_once, heal_when_asked, healed, seqs
from timeline.embedded.database import Database
from timeline.engine.writecontrol import State
from timeline.errors import (
    BusyError,
    ReadOnlyError,
    StallError,
    StorageError,
    TimelineError,
    UncertainError,
)
from timeline.log.ledger import Ledger, LogFullError
from timeline.storage.mark import DurableMark

SECONDS = 20.0
OPTIONS = replace(SMALL, fsync="inline", stall_ms=50, interval_ms=10**9)
FULL = LogFullError("the disk is full: free some space")
STALL = StallError("the next file of the log is being made: try again soon")


class FaultyLedger:
    """A log whose calls raise what they are told to, a number of times."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.raises: dict[str, list[Exception]] = {}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever a log has
        found = getattr(self._ledger, name)
        if not callable(found):
            return found

        def call(*arguments: object, **options: object) -> object:
            if errors := self.raises.get(name):
                raise errors.pop()
            return found(*arguments, **options)

        return call


@pytest.fixture(params=["sync", "interval"])
def db(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    heal_when_asked(monkeypatch)
    with timeline.open(tmp_path / "store", replace(OPTIONS, durability=request.param)) as db:
        db.timeline("a").append({"a": "1"})
        yield db


@pytest.fixture
def ledger(db: Database) -> FaultyLedger:
    log = db.engine.store.log
    assert log._written is not None
    faulty = FaultyLedger(log._written)
    log._written = faulty
    return faulty


def move(db: Database) -> None:
    db.log.move("reader", 1)


def append(db: Database) -> None:
    db.timeline("a").append({"a": "2"})


@pytest.mark.parametrize("write", [append, move])
def test_a_log_that_is_not_ready_is_waited_for(
    db: Database, ledger: FaultyLedger, write: Callable[[Database], None]
) -> None:
    ledger.raises["append"] = [STALL] * 5
    write(db)
    assert not ledger.raises["append"]


def test_a_consumer_that_would_wait_for_long_hears_busy(db: Database, ledger: FaultyLedger) -> None:
    ledger.raises["append"] = [STALL] * 10_000
    with pytest.raises(BusyError):
        move(db)
    ledger.raises.clear()
    move(db)
    assert db.timeline("a").append({"a": "2"}) == 2


def test_who_comes_while_the_log_is_not_ready_for_long_hears_busy(
    db: Database, ledger: FaultyLedger
) -> None:
    ledger.raises["append"] = [STALL] * 10_000
    waiting = db.timeline("a").append_async({"a": "2"})
    while db.engine.control.state is not State.STALLED:
        assert not db.engine.flush()
    for write in (append, move):
        with pytest.raises(BusyError):
            write(db)
    assert seqs(db, "a") == [1], "reads go on"
    ledger.raises.clear()
    db.flush()
    assert waiting.result(SECONDS) == 2
    move(db)
    assert db.timeline("a").append({"a": "3"}) == 3


@pytest.mark.parametrize("write", [append, move])
def test_a_log_without_room_refuses_and_nothing_was_done(
    db: Database, ledger: FaultyLedger, write: Callable[[Database], None]
) -> None:
    ledger.raises = {"append": [FULL], "heal": [FULL, STALL, FULL]}
    with pytest.raises(ReadOnlyError, match="free some space"):
        write(db)
    for _ in range(4):
        assert db.engine.poisoned
        for again in (append, move):
            with pytest.raises(ReadOnlyError):
                again(db)
        assert seqs(db, "a") == [1]
        db.engine.work()
    assert healed(db)
    assert seqs(db, "a") == [1]
    assert db.log.checkpoints() == {}
    for again in (append, move):
        again(db)
    assert seqs(db, "a") == [1, 2]
    assert db.log.checkpoints() == {b"reader": 1}


@pytest.mark.parametrize("to", [1, None])
@pytest.mark.parametrize("known", [True, False])
def test_a_failure_leaves_in_doubt_whether_a_consumer_moved(
    db: Database, monkeypatch: pytest.MonkeyPatch, to: int | None, known: bool
) -> None:
    db.log.move("other", 1)
    if known or to is None:
        db.log.move("reader", 0)
    before = db.log.checkpoints()
    fail_next_write(monkeypatch)
    with pytest.raises(UncertainError, match=r"reader.*may or may not.*again"):
        db.log.move("reader", to)
    with pytest.raises(ReadOnlyError):
        db.log.move("reader", to)
    assert healed(db)
    meant = {b"other": 1} if to is None else {b"other": 1, b"reader": to}
    assert db.log.checkpoints() in (before, meant)
    db.log.move("reader", to)
    assert db.log.checkpoints() == meant


def test_a_group_that_waits_while_a_consumer_meets_a_log_without_room_is_refused(
    db: Database, ledger: FaultyLedger
) -> None:
    ledger.raises["append"] = [FULL]
    waiting = db.timeline("a").append_async({"a": "2"})
    with pytest.raises(ReadOnlyError):
        move(db)
    assert isinstance(waiting.exception(SECONDS), ReadOnlyError)
    assert healed(db)
    assert seqs(db, "a") == [1]


@pytest.mark.parametrize("times", [1, 2])
def test_healing_that_fails_when_the_log_has_healed_goes_on_later(
    db: Database, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    for _ in range(2):
        head = db.timeline("a").head
        fail_next_write(monkeypatch)
        with pytest.raises(UncertainError):
            append(db)
        for _ in range(times):
            fail_once(monkeypatch, DurableMark, "read", StorageError("the disk is away"))
        assert healed(db)
        assert seqs(db, "a") == [*range(1, head + 2)], "what was in doubt stands"
        assert db.timeline("a").append({"a": "1"}) == head + 2


def test_the_log_and_rocksdb_may_fail_both(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.engine.seal()
    db.timeline("a").append({"a": "2"})
    move(db)
    fail_next_write(monkeypatch)
    with pytest.raises(UncertainError):
        append(db)
    db.engine.store.storage.failed = StorageError("a flush failed")
    with pytest.raises(ReadOnlyError):
        append(db)
    assert healed(db)
    assert seqs(db, "a") == [1, 2, 3]
    assert db.log.checkpoints() == {b"reader": 1}
    assert db.timeline("a").append({"a": "4"}) == 4


def test_a_store_that_is_closed_before_it_healed_has_what_was_acknowledged(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.timeline("a").append({"a": "2"})
    fail_next_write(monkeypatch)
    with pytest.raises(UncertainError):
        append(db)
    db.close()
    with timeline.open(db.engine.path, OPTIONS) as again:
        assert seqs(again, "a") in ([1, 2], [1, 2, 3])


def test_one_that_has_no_room_is_closed_all_the_same(db: Database, ledger: FaultyLedger) -> None:
    ledger.raises = {"append": [FULL], "heal": [FULL] * 1_000, "sync": [FULL] * 1_000}
    with pytest.raises(ReadOnlyError):
        append(db)
    db.close()
    with timeline.open(db.engine.path, OPTIONS) as again:
        assert seqs(again, "a") == [1]


def test_a_log_that_failed_outside_the_pipeline_puts_no_group_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heal_when_asked(monkeypatch)
    with timeline.open(tmp_path / "store", replace(OPTIONS, durability="interval")) as db:
        db.timeline("a").append({"a": "1"})
        fail_once(monkeypatch, os, "fdatasync", OSError(errno.EIO, "Input/output error"))
        with db.engine.standing_still(), pytest.raises(StorageError):
            db.engine.store.log.sync(1)
        with pytest.raises(ReadOnlyError):
            append(db)
        assert healed(db)
        assert seqs(db, "a") == [1]


def test_an_fsync_that_fails_outside_a_group_puts_no_group_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heal_when_asked(monkeypatch)
    options = replace(OPTIONS, durability="interval")
    with timeline.open(tmp_path / "store", options) as db:
        db.timeline("a").append({"a": "1"})
        log = db.engine.store.log
        assert log._written is not None
        log._written = ledger = FaultyLedger(log._written)
        waiting = db.timeline("a").append_async({"a": "2"})
        ledger.raises["sync"] = [StorageError("Input/output error")]
        with pytest.raises(StorageError):
            db.engine.seal()
        assert isinstance(waiting.exception(SECONDS), ReadOnlyError)
        with pytest.raises(ReadOnlyError):
            append(db)
        assert healed(db)
        assert seqs(db, "a") == [1]
        with suppress(TimelineError):
            db.compact()
        assert seqs(db, "a") == [1]
