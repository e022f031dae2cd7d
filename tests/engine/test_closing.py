"""The promise: closing a store settles what is under way. What comes after it is refused, and so is
all that a forked child asks.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

import timeline
from tests.engine.stores import fail_next_write, fail_once, seqs
from timeline.commit.draft import Draft
from timeline.embedded.database import Database
from timeline.engine import writecontrol
from timeline.engine.committer import Driver
from timeline.engine.store.store import Store
from timeline.errors import (
    ClosedError,
    CorruptError,
    StorageError,
    TimelineError,
    UncertainError,
    UsageError,
)
from timeline.options import Options
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import Storage

SECONDS = 20.0  # how long a future may take before the test says that it hangs


def test_everything_after_close_says_so(db: Database) -> None:
    kept, absent = db.timeline("a"), db.timeline("b")
    kept.append({"a": "1"})
    db.close()
    calls: list[Callable[[], object]] = [
        db.flush,
        db.compact,
        db.engine.seal,
        db.log.read,
        db.log.checkpoints,
        lambda: list(db.timelines()),
        lambda: db.log.move("a", 1),
        lambda: db.transaction().__enter__(),
    ]
    for handle in (kept, absent):
        calls += [
            handle.extent,
            handle.latest,
            handle.compact,
            partial(next, handle.range(), None),
            partial(handle.get, 1),
            partial(handle.append, {"a": "1"}),
            partial(handle.append_async, {"a": "1"}),
            partial(handle.trim, length=0),
        ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    assert not db.engine.work()
    db.close()


def test_close_settles_every_future(db: Database) -> None:
    """Those who append while another closes get their number or a ClosedError."""
    futures: list[Future[int]] = []
    plenty = threading.Event()

    def write() -> None:
        while True:
            try:
                futures.append(db.timeline("a").append_async({"a": "1"}))
            except ClosedError:
                return
            if len(futures) > 100:
                plenty.set()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert plenty.wait(SECONDS)
    db.close()
    for thread in threads:
        thread.join()
    numbers = []
    for future in futures:
        with suppress(ClosedError):
            numbers.append(future.result(SECONDS))
    with timeline.open(db.engine.path) as again:
        found = seqs(again, "a")
    assert found[: len(numbers)] == sorted(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_refused_everything(db: Database) -> None:
    handle = db.timeline("a")
    handle.append({"a": "1"})
    calls: dict[str, Callable[[], object]] = {
        "append": lambda: handle.append({"a": "2"}),
        "append_async": lambda: handle.append_async({"a": "2"}),
        "transaction": lambda: db.transaction().__enter__(),
        "trim": lambda: handle.trim(length=0),
        "extent": handle.extent,
        "range": lambda: list(handle.range()),
        "names": lambda: list(db.timelines()),
        "log": db.log.read,
        "move": lambda: db.log.move("a", 1),
        "flush": db.flush,
        "seal": db.engine.seal,
        "compact": db.compact,
    }
    receive, send = os.pipe()
    # As if the parent's thread were flushing at that moment.
    held = db.engine.pipeline.writing.acquire()
    child = os.fork()
    if child == 0:
        allowed = []
        for name, call in calls.items():
            try:
                call()
                allowed.append(name)
            except ClosedError:
                pass
            except BaseException as error:
                allowed.append(f"{name}: {error!r}")
        db.close()
        os.write(send, repr(allowed).encode())
        os._exit(0)
    assert held
    db.engine.pipeline.writing.release()
    os.close(send)
    with open(receive, "rb") as answer:  # noqa: PTH123  a descriptor
        assert answer.read() == b"[]"
    os.waitpid(child, 0)
    assert handle.append({"a": "2"}) == 2


def test_a_forked_child_of_who_opened_a_store_is_refused_one_of_its_own(tmp_path: Path) -> None:
    """RocksDB's threads stay behind: it would wait for them for ever when it closes."""
    timeline.open(tmp_path / "store").close()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            with suppress(UsageError):
                timeline.open(tmp_path / "other").close()
                status = 2
            status = 0 if status == 1 else status
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_damage_met_while_closing_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "store") as db:
        db.timeline("a").append({"a": "1"})
        fail_once(monkeypatch, Storage, "flush", CorruptError("a block"))
    with timeline.open(tmp_path / "store") as db:
        assert seqs(db, "a") == [1]


@pytest.mark.parametrize("how", ["heal", "close"])
def test_files_that_are_rewritten_hold_up_nobody(
    db: Database, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Who heals or closes the store waits for it without the lock that readers need."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    db.timeline("a").append({"a": "1"})
    waiting, release = threading.Event(), threading.Event()
    ended = Store.end_rewriting

    def wait(store: Store) -> None:
        waiting.set()
        release.wait(SECONDS)
        ended(store)

    monkeypatch.setattr(Store, "end_rewriting", wait)
    if how == "heal":
        fail_once(monkeypatch, DurableMark, "write", OSError())
        with pytest.raises(UncertainError):
            db.timeline("a").append({"a": "2"})
        call: Callable[[], object] = db.engine.work
    else:
        call = db.close
    other = threading.Thread(target=call)
    other.start()
    assert waiting.wait(SECONDS)
    assert seqs(db, "a")[0] == 1
    release.set()
    other.join(SECONDS)


def test_closing_after_a_failure_lets_the_storage_go_at_once(tmp_path: Path) -> None:
    """Whatever the failure left open, and without waiting for Python to collect it."""

    def fail(draft: Draft) -> bool:
        draft.put(b"?", b"in the open group")
        scanned = draft.scan(b"", b"\xff")
        next(scanned)
        raise ValueError("in the middle of a scan")

    path = tmp_path / "store"
    gc.disable()
    try:
        db = timeline.open(path, fsync="inline", search=False)
        for name in "abc":
            db.timeline(name).append({"a": "1"})
        db.engine.seal()  # so that the scan has something to read
        db.engine.chores.add(fail)
        db.engine.chores.soon()
        with db.engine.lock:  # it is staged, and the failure ends its group
            waiting = db.timeline("a").append_async({"a": "2"})
            while not db.engine.poisoned:
                db.engine.chores.soon()
                db.engine.work()
        db.close()
        Storage(path / "rocks", Options(create=False)).close()
        assert waiting.exception() is not None
    finally:
        gc.enable()


def test_a_store_that_would_heal_while_it_is_closed_takes_no_writes(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would flush what it took then, and who waits for it would wait for ever."""
    handle = db.timeline("a")
    handle.append({"a": "1"})
    monkeypatch.setattr(writecontrol, "_HEAL_SECONDS", 0.0)
    monkeypatch.setattr(writecontrol, "disk_takes_bytes", lambda _: False)
    fail_next_write(monkeypatch)
    with pytest.raises(UncertainError):
        handle.append({"a": "2"})
    stop = Driver.stop
    refused: list[TimelineError] = []

    def stop_late(driver: Driver) -> None:
        stop(driver)
        monkeypatch.setattr(writecontrol, "disk_takes_bytes", lambda _: True)
        db.engine.work()  # as any thread may that calls the engine meanwhile
        try:
            handle.append_async({"a": "3"})
        except TimelineError as error:
            refused.append(error)

    monkeypatch.setattr(Driver, "stop", stop_late)
    db.close()
    assert [type(error) for error in refused] == [ClosedError]


def test_a_write_that_fails_while_a_store_is_closed_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = timeline.open(tmp_path / "store", fsync="inline", search=False)
    before = set(threading.enumerate())
    future = db.timeline("a").append_async({"a": "1"})
    fail_next_write(monkeypatch)
    db.close()
    with pytest.raises(UncertainError):
        future.result(SECONDS)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert "timeline-idle" not in left


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_what_cannot_be_sealed_while_a_store_is_closed_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Literal["sync", "interval"]
) -> None:
    db = timeline.open(tmp_path / "store", fsync="inline", durability=durability, search=False)
    before = set(threading.enumerate())
    for _ in range(3):
        db.timeline("a").append({"a": "1"})
    fail_once(monkeypatch, Storage, "write", StorageError("no space left"))
    with pytest.raises(StorageError):
        db.close()
    assert not set(threading.enumerate()) - before
    with timeline.open(tmp_path / "store") as db:
        assert seqs(db, "a") == [1, 2, 3]
        assert db.timeline("a").append({"a": "1"}) == 4
