"""What goes wrong ends in a typed error or passes by itself; nobody waits for ever.

Each test is a promise about one thing that fails: a pause RocksDB asks for, the durable mark, a
callback, an error of any type.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_as_killed, fail_once, healed, seqs
from timeline.embedded.database import Database
from timeline.errors import ReadOnlyError, StallError, StorageError, UncertainError
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import Batch, Storage

SECONDS = 20.0  # how long a future may take before the test says that it hangs


def test_a_stalled_group_is_written_when_the_stall_is_over(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.timeline("a").append({"a": "1"})
    fail_once(monkeypatch, Storage, "write", StallError("a pause"))
    future = db.timeline("a").append_async({"a": "2"})
    if not db.engine.threaded:
        db.flush()
    assert future.result(SECONDS) == 2


def test_a_stall_in_the_last_slice_of_sealing_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = timeline.open(tmp_path / "store", fsync="inline")
    db.timeline("a").append({"a": "1"})
    write = Storage.write
    refuse = False

    def flaky(storage: Storage, batch: Batch) -> None:
        if refuse:
            raise StallError("a pause")
        write(storage, batch)

    monkeypatch.setattr(Storage, "write", flaky)
    with db.engine.lock:
        store = db.engine.store
        store.begin_pass()
        while store.sealing.under_way:
            refuse = True
            with pytest.raises(StallError):
                store.sealing.slice()
            refuse = False
            store.sealing.slice()
        assert store.sealing.sealed == 1
    db.timeline("a").append({"a": "2"})
    copy_as_killed(db, tmp_path / "copy")
    db.close()
    with timeline.open(tmp_path / "copy") as copy:
        assert seqs(copy, "a") == [1, 2]


def test_a_mark_that_cannot_be_written_is_uncertain_then_readonly_then_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        handle = db.timeline("a")
        handle.append({"a": "1"})

        def no_space(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.pwrite", no_space)  # which the log does not call for a group
            with pytest.raises(UncertainError):
                handle.append({"a": "2"})
        with pytest.raises(ReadOnlyError):
            handle.append({"a": "3"})
        with pytest.raises(ReadOnlyError):
            handle.compact()
        with pytest.raises(ReadOnlyError):
            db.compact()
        assert seqs(db, "a") == [1]
        db.engine.work()
        assert seqs(db, "a") == [1, 2], "it was written, only the mark was not"
        assert handle.append({"a": "3"}) == 3


def test_a_refusal_that_is_raised_again_and_again_holds_no_more_of_memory(db: Database) -> None:
    db.engine.pipeline.poison(OSError("no space left"))
    with pytest.raises(ReadOnlyError) as refused:
        db.timeline("a").append({"a": "1"})
    once = len(refused.traceback)
    for _ in range(20):
        with pytest.raises(ReadOnlyError) as refused:
            db.timeline("a").append({"a": "1"})
    assert len(refused.traceback) == once


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError()])
def test_an_error_of_any_type_poisons_and_kills_no_thread(
    db: Database, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    handle = db.timeline("a")
    handle.append({"a": "1"})
    fail_once(monkeypatch, DurableMark, "write", error)
    with pytest.raises(UncertainError):
        handle.append({"a": "2"})
    assert healed(db)
    assert handle.append_many([{"a": "3"}]) == range(3, 4)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_an_error_of_any_type_while_the_storage_is_opened_again_kills_no_thread(
    db: Database, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    handle = db.timeline("a")
    fail_once(monkeypatch, DurableMark, "read", error)
    fail_once(monkeypatch, DurableMark, "write", StorageError("the disk is gone"))
    with pytest.raises(UncertainError):
        handle.append({"a": "1"})
    assert healed(db)
    assert handle.append({"a": "2"}) == 2


def test_a_callback_that_raises_harms_nobody_else(db: Database) -> None:
    told: list[int] = []
    with db.engine.lock:
        db.engine.appender.append(b"a", [b"a", b"1"])
        db.engine.group.on_done(lambda group: told.append(1 // group.commits // 0))
        db.engine.group.on_done(lambda group: told.append(group.last))
    db.flush()
    future = db.timeline("a").append_async({"a": "2"})
    db.flush()
    assert future.result(SECONDS) == 2
    assert told == [1]


def test_an_append_that_cannot_be_encoded_leaves_nothing(db: Database) -> None:
    with db.engine.lock:
        with pytest.raises(TypeError):
            db.engine.appender.append(b"a", [b"f", b"1", b"g", 2])  # type: ignore[list-item]
        db.engine.appender.append(b"a", [b"f", b"1"])
        with pytest.raises(TypeError):
            db.engine.appender.append(b"a", [b"f", b"1", b"g", 2])  # type: ignore[list-item]
        assert db.engine.appender.append(b"a", [b"f", b"2"]) == 2
    db.flush()
    assert [entry.text("f") for entry in db.timeline("a").range()] == ["1", "2"]


@pytest.mark.skipif(timeline.compiled, reason="compiled, memory cannot be made to run out here")
def test_a_run_that_cannot_be_encoded_leaves_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that were given to entries which then could not be made are taken back."""

    def run_out(*_: object) -> None:
        raise MemoryError

    with db.engine.lock:
        db.engine.appender.append(b"a", [b"f", b"1"])
        with monkeypatch.context() as patched:
            patched.setattr("timeline.commit.append.encode_run", run_out)
            with pytest.raises(MemoryError):
                db.engine.appender.append_run([b"a", b"a"], [[b"f", b"f"], [b"x", b"y"]])
        assert list(db.engine.appender.append_run([b"a", b"a"], [[b"f", b"f"], [b"2", b"3"]])) == [
            2,
            3,
        ]
    db.flush()
    assert [entry.text("f") for entry in db.timeline("a").range()] == ["1", "2", "3"]
    db.engine.seal()
    assert db.timeline("a").append({"f": "4"}) == 4
    assert seqs(db, "a") == [1, 2, 3, 4]
