"""The promise: who opened a store read only searches the index of its owner as it lies there, and
follows it, and never touches it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, state_of
from timeline.embedded.database import Database
from timeline.errors import IndexLagError
from timeline.search.generations import CONSUMER
from timeline.search.indexer import Indexer

OPTIONS = replace(SMALL, search=True, search_commit_ms=10, search_prefixes=("log:",))


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(5):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
        db.timeline("log:a").append({"text": "word of a log"})
        db.messaging.search("bob", "word", wait=20)
        yield db


def opened(path: Path) -> Database:
    return timeline.open(path / "store", OPTIONS, read_only=True)


def found(db: Database, query: str = "word", wait: float = 0.0) -> list[str]:
    return [hit.text("text") for hit in db.messaging.search("bob", query, wait=wait).hits]


def test_it_finds_what_the_owner_finds(owner: Database, tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        assert found(db) == found(owner)
        assert db.search("log").hits == owner.search("log").hits
        assert db.index.searchable.stats()["index_lag"] == 0


def test_it_follows_merges_and_a_build(owner: Database, tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        for number in range(40):
            owner.messaging.send("team", "ann", {"text": f"word more {number}"})
            owner.messaging.search("bob", "word", wait=20)
            db.refresh()
            assert len(found(db, "more", wait=20)) == min(number + 1, 20)
        indexer = owner.index.searchable
        assert isinstance(indexer, Indexer)
        indexer.rebuild()
        owner.messaging.send("team", "ann", {"text": "word at last"})
        db.refresh()
        assert found(db, "last", wait=20) == ["word at last"]


def test_what_the_index_lags_behind_is_told_and_left_out(owner: Database, tmp_path: Path) -> None:
    owner.messaging.recall("team", 1)
    with opened(tmp_path) as db:
        assert "word 0" not in found(db), "checked against the store, whatever the index knows"
    other = replace(OPTIONS, search_fields=("body",))
    with (
        timeline.open(tmp_path / "store", other, read_only=True) as db,
        pytest.raises(IndexLagError, match="fields body"),
    ):
        found(db)


def test_without_an_index_it_is_said(owner: Database, tmp_path: Path) -> None:
    owner.close()
    shutil.rmtree(tmp_path / "store" / "index")
    with opened(tmp_path) as db:
        with pytest.raises(IndexLagError, match="holds no index"):
            found(db)
        assert db.messaging.unread("bob") == 5
    assert not (tmp_path / "store" / "index").exists()


def test_a_damaged_index_is_said_and_left(owner: Database, tmp_path: Path) -> None:
    owner.close()
    copy = tmp_path / "copy"  # cutting files that are mapped into memory kills who mapped them
    shutil.copytree(tmp_path / "store", copy / "store")
    for file in (copy / "store" / "index").rglob("*.term"):
        file.write_bytes(b"")
    before = state_of(copy)
    with opened(copy) as db, pytest.raises(IndexLagError):
        found(db)
    assert state_of(copy) == before


def test_nothing_is_changed(owner: Database, tmp_path: Path) -> None:
    owner.close()
    before = state_of(tmp_path)
    with opened(tmp_path) as db:
        assert len(found(db)) == 5
    assert state_of(tmp_path) == before


def test_a_reader_without_search_leaves_the_checkpoint_of_the_index(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as owner:
        reader = timeline.open(path, OPTIONS, read_only=True, search=False)
        owner.timeline("a").append({"n": "1"})
        assert reader.refresh()
        reader.close()
        assert owner.log.checkpoint(CONSUMER) <= owner.log.head
