"""An index follows its store: when another is built, where it lies, what of the log it keeps."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.search.indexes import OPTIONS, heal, indexer_of, stats, texts, until
from timeline.embedded.database import Database
from timeline.errors import IndexLagError, NotFoundError, TrimmedError, UsageError
from timeline.search.build import Build
from timeline.search.follower import Follower
from timeline.search.generations import CONSUMER
from timeline.search.index.index import Index, IndexFaultError, hold


def test_what_else_is_in_the_directory_stays(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for name in ("20240101", "00000001", "²", "lost+found"):
        (place / name).mkdir(parents=True)
        (place / name / "precious").write_text("a year of work")
    (place / "7").write_text("seven")
    with timeline.open(tmp_path / "store", OPTIONS, search_directory=str(place)) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word"})
        assert texts(db) == ["word"]
    for name in ("20240101", "00000001", "²", "lost+found"):
        assert (place / name / "precious").read_text() == "a year of work"
    assert (place / "7").read_text() == "seven"


def test_two_stores_do_not_share_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    options = replace(OPTIONS, search_directory=str(tmp_path / "place"))
    with timeline.open(tmp_path / "second", options, search=False) as second:
        second.messaging.create("team", "ann", members=["bob"])
        second.messaging.send("team", "ann", {"text": "second word"})
    first = timeline.open(tmp_path / "first", options)
    first.messaging.create("team", "ann", members=["bob"])
    first.messaging.send("team", "ann", {"text": "first word"})
    assert texts(first) == ["first word"]
    with timeline.open(tmp_path / "second", options) as second:
        until(second, lambda: indexer_of(second).failures >= 4)
        assert "another store" in indexer_of(second).failure
        with pytest.raises(IndexLagError, match="another store"):
            second.messaging.search("bob", "word")
        first.messaging.send("team", "ann", {"text": "another word"})
        assert texts(first) == ["another word", "first word"]
        assert indexer_of(first).builds == 1
        first.close()
        assert texts(second) == ["second word"]


def test_a_directory_that_was_removed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    place = tmp_path / "place"
    options = replace(OPTIONS, search_directory=str(place))
    with timeline.open(tmp_path / "first", options) as first:
        first.messaging.create("team", "ann", members=["bob"])
        first.messaging.send("team", "ann", {"text": "a word"})
        assert texts(first) == ["a word"]
        shutil.rmtree(place)
        first.messaging.send("team", "ann", {"text": "another word"})
        until(first, lambda: indexer_of(first).builds == 2)
        assert texts(first) == ["another word", "a word"]
        with pytest.raises(IndexFaultError, match="another store"):
            hold(place)


def test_other_prefixes_make_another_index(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS, search_prefixes=()) as db:
        db.timeline("log:a").append({"text": "word"})
        assert db.search("word", wait=20).total == 0
    with timeline.open(path, OPTIONS) as db:
        assert db.search("word", wait=20).total == 1
        assert indexer_of(db).builds == 1
    with timeline.open(path, OPTIONS, search_prefixes=()) as db:
        assert db.search("word", wait=20).total == 0


def test_other_fields_make_another_index(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word", "body": "flesh"})
        assert texts(db, "flesh") == []
    with timeline.open(path, OPTIONS, search_fields=("body",)) as db:
        assert texts(db, "flesh") == ["word"]
        assert texts(db, "word") == []


def test_a_lost_index_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(20):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
        db.compact()
        before = texts(db)
    shutil.rmtree(path / "index")
    with timeline.open(path, OPTIONS) as db:
        assert texts(db) == before
        assert stats(db)["index_builds"] == 1


def test_a_copy_that_goes_its_own_way_gets_an_index_of_its_own(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word"})
        assert texts(db) == ["word"]
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    with timeline.open(tmp_path / "copy", OPTIONS, new_epoch=True) as db:
        assert texts(db) == ["word"]
        assert stats(db)["index_builds"] == 1


def test_an_index_ahead_of_its_store_is_built_anew_whatever_is_sent_meanwhile(
    tmp_path: Path,
) -> None:
    """In `interval` durability a power cut may take commits that the index has already."""
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "first word"})
    shutil.copytree(path, tmp_path / "before")
    with timeline.open(path, OPTIONS) as db:
        for _ in range(3):
            db.messaging.send("team", "ann", {"text": "lost word"})
        assert len(texts(db)) == 4
    shutil.rmtree(tmp_path / "before" / "index")
    (path / "index").rename(tmp_path / "before" / "index")
    with timeline.open(tmp_path / "before", OPTIONS) as db:
        for number in range(8):
            db.messaging.send("team", "ann", {"text": f"new word {number}"})
        assert texts(db, "lost") == []
        assert len(texts(db)) == 9


def test_an_index_ahead_of_a_healed_store_is_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    index = indexer_of(db)
    follower = index._generations.current
    assert follower is not None
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    step, go_on = Follower.step, threading.Event()
    monkeypatch.setattr(Follower, "step", lambda each: go_on.is_set() and step(each))
    follower.position += 3  # as if what was applied last had been lost on the way to the disk
    db.engine.pipeline.poison(OSError("I/O error"))
    heal(db)
    for number in range(5):
        db.messaging.send("team", "ann", {"text": f"new word {number}"})
    go_on.set()
    assert len(texts(db)) == 6


def test_the_log_is_kept_for_the_index_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        assert texts(db) == []
        reached = db.log.checkpoint(CONSUMER)
        assert reached == db.log.head
    with timeline.open(path, OPTIONS, search=False) as db:
        assert db.log.checkpoint(CONSUMER) == reached, "looking harms nothing"
    with timeline.open(path, OPTIONS, search=False) as db:
        db.messaging.send("team", "ann", {"text": "unseen word"})
        with pytest.raises(UsageError, match="search is off"):
            db.messaging.search("bob", "word")
    with timeline.open(path, OPTIONS, search=False) as db, pytest.raises(NotFoundError):
        db.log.checkpoint(CONSUMER)
    with timeline.open(path, OPTIONS) as db:
        assert texts(db) == ["unseen word"]


def test_what_has_nothing_to_index_is_no_lag(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it cost a commit of the index for each who waits."""
    monkeypatch.setattr("timeline.search.generations._QUIET_SECONDS", 3_600.0)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    commits = []
    commit = Index.commit

    def counted(index: Index, checkpoint: object) -> None:
        commits.append(checkpoint)
        commit(index, checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "commit", counted)
    for _ in range(3):
        db.timeline("raw").append_many([{"n": "1"}] * 100)
        assert texts(db) == ["word"]
        assert stats(db)["index_lag"] == 0
        assert stats(db)["index_lsn"] == db.log.head
    assert commits == []
    db.messaging.send("team", "ann", {"text": "another word"})
    assert len(texts(db)) == 2
    assert len(commits) == 1


def test_what_comes_without_end_is_found_before_its_end(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, ended = Follower.step, threading.Event()

    def step_and_send(follower: Follower) -> bool:
        """There is always more to take in."""
        more = step(follower)
        if not ended.is_set():
            db.timeline("log:a").append({"text": "and more"})
        return more

    db.messaging.send("team", "ann", {"text": "the first word"})
    monkeypatch.setattr(Follower, "step", step_and_send)
    try:
        assert texts(db, "first") == ["the first word"]
    finally:
        ended.set()


def test_the_old_index_serves_while_another_is_built(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    go_on = threading.Event()
    indexer = db.index.searchable
    step = Build.step
    monkeypatch.setattr(Build, "step", lambda build: not go_on.is_set() or step(build))
    before = indexer.index
    indexer.rebuild()
    while not stats(db)["index_building"] and indexer.alive:
        pass
    db.messaging.send("team", "ann", {"text": "second word"})
    assert texts(db) == ["second word", "first word"]
    assert stats(db)["index_building"] == 1
    go_on.set()
    while before.path.exists() and indexer.alive:
        pass
    assert indexer.index is not before
    assert texts(db) == ["second word", "first word"]


def test_the_old_index_is_followed_while_the_new_one_catches_up(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.follower._STEP_BYTES", 1)
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    index = indexer_of(db)
    before = index.index
    catching_up, go_on = threading.Event(), threading.Event()
    step = Follower.step

    def slow(follower: Follower) -> bool:
        if follower.index is before or go_on.is_set():
            return step(follower)
        catching_up.set()
        return True

    monkeypatch.setattr(Follower, "step", slow)
    index.rebuild()
    catching_up.wait(10)
    db.messaging.send("team", "ann", {"text": "second word"})
    assert texts(db) == ["second word", "first word"]
    assert index.index is before
    go_on.set()
    until(db, lambda: index.index is not before)
    assert texts(db) == ["second word", "first word"]


def test_a_build_that_falls_behind_the_log_costs_the_old_index_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    index = indexer_of(db)
    before = index.index
    step = Follower.step
    behind = iter([True])
    again, go_on = threading.Event(), threading.Event()

    def trimmed(follower: Follower) -> bool:
        if follower.index is before or go_on.is_set():
            return step(follower)
        if next(behind, False):
            raise TrimmedError("the log begins behind it")
        again.set()
        return True

    monkeypatch.setattr(Follower, "step", trimmed)
    index.rebuild()
    again.wait(10)
    assert before.path.is_dir()
    go_on.set()
    until(db, lambda: index.index is not before)
    assert texts(db) == ["first word"]
    assert index.builds == 2
