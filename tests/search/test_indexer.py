"""Whatever fails below it, the indexer goes on: when it tries again, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.stores import Clock, abandon
from tests.search.indexes import OPTIONS, PanicException, heal, indexer_of, stats, texts, until
from timeline.embedded.database import Database
from timeline.engine.engine import Engine
from timeline.errors import ClosedError, CorruptError, IndexLagError, UncertainError, UsageError
from timeline.search.follower import Follower
from timeline.search.index.index import Index, IndexFaultError


def test_what_cannot_be_written_to_is_kept_until_it_can(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.001)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    index = indexer_of(db)

    def full(*_: object) -> None:
        raise IndexFaultError("No space left on device")

    with monkeypatch.context() as patch, Clock(2**42).installed():
        patch.setattr(Index, "commit", full)
        patch.setattr("timeline.search.indexer.disk_takes_bytes", lambda _: False)
        db.messaging.send("team", "ann", {"text": "another word"})
        until(db, lambda: index.failures >= 5)
        assert texts(db, wait=0) == ["word"]
        assert int(index.stats()["index_lag_ms"]) > 0, "whoever watches it is told"
    assert texts(db) == ["another word", "word"]
    assert index.builds == 1, "it goes on where it was"


def test_it_goes_on_as_soon_as_the_disk_takes_something_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it failed before, and however long it would wait by that."""
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("timeline.search.indexer._MOST_DOUBLINGS", 40)
    assert texts(db) == []
    index = indexer_of(db)

    def full(*_: object) -> None:
        index._generations.failures = 41
        raise IndexFaultError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Index, "commit", full)
        patch.setattr("timeline.search.indexer.disk_takes_bytes", lambda _: False)
        db.messaging.send("team", "ann", {"text": "word"})
        until(db, lambda: index.failures == 1)
        with pytest.raises(IndexLagError):
            texts(db, wait=0.05)
    assert texts(db) == ["word"]
    assert index.failures == 1


def test_a_pause_of_who_writes_is_no_lag(tmp_path: Path) -> None:
    clock = Clock()
    with (
        clock.installed(),
        timeline.open(tmp_path / "store", OPTIONS, search_commit_ms=10_000) as db,
    ):
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word"})
        assert texts(db) == ["word"]
        clock.now += 86_400_000
        db.messaging.send("team", "ann", {"text": "another word"})
        stats = indexer_of(db).stats()
        assert stats["index_lag"] == 1
        assert int(stats["index_lag_ms"]) < 60_000


def test_who_waits_does_not_hasten_another_try(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 60.0)
    assert texts(db) == []
    index = indexer_of(db)
    monkeypatch.setattr(Index, "commit", unable)
    db.messaging.send("team", "ann", {"text": "word"})
    until(db, lambda: index.failures == 1)
    for _ in range(10):
        with pytest.raises(IndexLagError):
            texts(db, wait=0.005)
    assert index.failures == 1


def unable(*_: object) -> None:
    raise IndexFaultError("it cannot be written")


def test_it_can_be_asked_about_while_it_is_gone(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    shutil.rmtree(indexer_of(db).index.path)
    assert indexer_of(db).stats()["index_bytes"] == 0


def test_a_panic_while_indexing_is_a_failure(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    assert texts(db) == []
    reads = iter([True])
    take = Follower.step

    def failing(follower: Follower) -> bool:
        if next(reads, False):
            raise PanicException("index out of bounds")
        return take(follower)

    monkeypatch.setattr(Follower, "step", failing)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    assert indexer_of(db).failures == 1


def test_a_writer_that_dies_is_opened_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    add = Index.add_entry
    fails = iter([True, True, False])

    def failing(index: Index, document: str) -> None:
        if next(fails, False):
            raise IndexFaultError("an index writer\nwas killed")
        add(index, document)

    assert texts(db) == []
    monkeypatch.setattr(Index, "add_entry", failing)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    assert stats(db)["index_failures"] == 2
    assert stats(db)["index_last_failure"] == "an index writer was killed", "on one line"


def test_an_index_that_goes_on_failing_is_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    assert texts(db) == []
    commit = Index.commit
    fails = iter([True, True, True])

    def failing(index: Index, checkpoint: object) -> None:
        if next(fails, False):
            raise IndexFaultError("cannot write")
        commit(index, checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "commit", failing)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    assert stats(db)["index_builds"] == 2
    assert stats(db)["index_failures"] == 3


def test_it_goes_on_when_the_store_was_opened_again_at_the_second_try(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    index = indexer_of(db)
    with monkeypatch.context() as failing:
        failing.setattr(os, "pwritev", refused)
        with pytest.raises(UncertainError):
            db.messaging.send("team", "ann", {"text": "uncertain word"})
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_load", unreadable)
        until(db, lambda: not db.engine.work() and closed(db))
        assert db.engine.poisoned
        index.rebuild()  # it reads the store
        until(db, lambda: index.failures >= 4)
    heal(db)
    db.messaging.send("team", "ann", {"text": "another word"})
    assert texts(db) == ["another word", "uncertain word", "word"]
    assert index.builds == 1, "it was not the index that failed"


def refused(*_: object) -> None:
    raise OSError("I/O error")


def closed(db: Database) -> bool:
    """Whether its storage is, as after a failed try to open it again."""
    try:
        db.engine.store.files()
    except ClosedError:
        return True
    return False


def unreadable(*_: object) -> None:
    raise CorruptError("the store cannot be opened again")


@pytest.mark.parametrize(
    "changes",
    [
        {"search_fields": ()},
        {"search_fields": ("",)},
        {"search_prefixes": ("@user:",)},
        {"search_prefixes": ("",)},
        {"search_commit_ms": 0},
        {"search_fields": "text"},
        {"search": "yes"},
        {"write_buffer_bytes": "16 MiB"},
        {"slice_ms": "1"},
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        timeline.open(tmp_path / "store", **changes)


def test_waiting_too_long_says_so(db: Database) -> None:
    indexer = db.index.searchable
    assert texts(db) == []
    indexer.stop()
    db.messaging.send("team", "ann", {"text": "word"})
    with pytest.raises(IndexLagError, match="try again later"):
        db.messaging.search("bob", "word", wait=0.01)
    assert db.messaging.search("bob", "word").hits == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_closes_its_copy_without_waiting(db: Database) -> None:
    assert texts(db) == []
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with indexer_of(db)._lock:
            held.set()
            go_on.wait(10)

    holder = threading.Thread(target=hold)  # as the indexer may at the moment of the fork
    holder.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        db.close()
        os._exit(0)
    go_on.set()
    holder.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_closing_twice_at_once_is_closing(tmp_path: Path) -> None:
    db = timeline.open(tmp_path / "store", OPTIONS)
    threads = [threading.Thread(target=abandon, args=(db,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not indexer_of(db).alive


def test_a_search_before_there_is_an_index_says_so_to_embedders_too(db: Database) -> None:
    indexer = indexer_of(db)
    indexer._serving = None
    with pytest.raises(IndexLagError, match=r"it is being made, try again in a moment$"):
        texts(db, wait=0)
    indexer.failure = "the disk is full"
    with pytest.raises(IndexLagError, match=r"since making it failed: the disk is full$"):
        texts(db, wait=0)
