"""The promise: whatever is made of a store with feeds, everybody reads the same in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from tests.admin.exports import exported
from tests.engine.stores import SMALL
from tests.verification import linked, tied
from tests.verification.homes import OPTIONS, fill, homes, publish
from timeline.admin.compact import compact
from timeline.admin.load import load
from timeline.admin.merge import EngineDestination, merge
from timeline.errors import NoPermissionError, UsageError
from timeline.verification import repair_in_place, verify


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    fill(path)
    return path


def same(path: Path, other: Path) -> None:
    """Both stores are sound and answer alike, also about what is published from now on."""
    answers = []
    for each in (path, other):
        assert verify(each).findings == []
        with timeline.open(each, OPTIONS) as db:
            before = homes(db)
            publish(db, "later")
            after = homes(db)
            texts = {
                user: [(name, dict(fields)[b"text"]) for name, fields in after[user]]
                for user in ("bob", "cat", "gus")
            }
            answers.append((before, texts))
        assert verify(each).findings == []
    assert answers[0] == answers[1]


def test_a_load_makes_the_same_store(store: Path, tmp_path: Path) -> None:
    records = exported(store)
    (tmp_path / "new").mkdir()
    load(tmp_path / "new", iter(records))
    assert exported(tmp_path / "new")[1:] == records[1:]
    same(store, tmp_path / "new")


def test_a_load_makes_the_same_replies_and_reposts(tmp_path: Path) -> None:
    linked.fill(tmp_path / "data")
    records = exported(tmp_path / "data")
    (tmp_path / "new").mkdir()
    load(tmp_path / "new", iter(records))
    assert linked.rows(tmp_path / "new") == linked.rows(tmp_path / "data")
    assert exported(tmp_path / "new")[1:] == records[1:]
    assert verify(tmp_path / "new").findings == []


def test_an_export_is_the_same_however_the_store_lies(store: Path) -> None:
    records = exported(store)
    with timeline.open(store, OPTIONS) as db:
        db.engine.seal()
        db.compact()
    assert exported(store) == records


def test_a_backup_is_the_same_store(store: Path, tmp_path: Path) -> None:
    with timeline.open(store, OPTIONS) as db:
        db.backup(tmp_path / "backup")
    assert verify(tmp_path / "backup").findings == []
    timeline.restore(tmp_path / "backup", tmp_path / "new")
    same(store, tmp_path / "new")


def test_a_repair_in_place_leaves_the_same_store(store: Path, tmp_path: Path) -> None:
    with timeline.open(store, OPTIONS) as db:
        db.backup(tmp_path / "backup")
    timeline.restore(tmp_path / "backup", tmp_path / "other")
    done = repair_in_place(store)
    assert done.found == []
    assert done.left == []
    same(store, tmp_path / "other")


def test_compaction_changes_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "data"
    fill(path)
    for number in range(3):  # of each feed some segments
        with timeline.open(path, OPTIONS) as db:
            publish(db, f"more {number}")
            db.engine.seal()
    with timeline.open(path, OPTIONS) as db:
        before = homes(db)
        segments = len(db.timeline("@feed:ann").inspect().segments)
        assert compact(db.engine) > 0
        assert len(db.timeline("@feed:ann").inspect().segments) < segments
        assert homes(db) == before
    assert verify(path).findings == []


def test_feeds_come_with_a_store_of_their_own(store: Path, tmp_path: Path) -> None:
    """As conversations do: nothing of them is added to a store that is there."""
    with timeline.open(tmp_path / "new", SMALL) as db:
        with pytest.raises(UsageError, match="belong to the store"):
            merge(EngineDestination(db.engine), exported(store))
        assert list(db.timelines("@")) == []


@pytest.fixture(scope="module")
def with_ties(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ties") / "data"
    tied.fill(path)
    return path


def test_a_load_makes_the_same_blocks_requests_and_fields(with_ties: Path, tmp_path: Path) -> None:
    records = exported(with_ties)
    (tmp_path / "new").mkdir()
    load(tmp_path / "new", iter(records))
    assert exported(tmp_path / "new")[1:] == records[1:]
    same_ties(with_ties, tmp_path / "new")


def test_a_backup_has_the_same_blocks_requests_and_fields(with_ties: Path, tmp_path: Path) -> None:
    with timeline.open(with_ties, OPTIONS) as db:
        db.backup(tmp_path / "backup")
    assert verify(tmp_path / "backup").findings == []
    timeline.restore(tmp_path / "backup", tmp_path / "new")
    same_ties(with_ties, tmp_path / "new")


def same_ties(path: Path, other: Path) -> None:
    assert tied.rows(path) == tied.rows(other)
    assert verify(other).findings == []
    found = []
    for each in (path, other):
        with timeline.open(each, OPTIONS, read_only=True) as db:
            found.append(tied.answers(db))
    assert found[0] == found[1]


def test_a_reader_beside_the_owner_sees_blocks_as_soon_as_it_moves_on(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        for user in ("ann", "bob"):
            db.feeds.publish(user, {"text": "hello"})
        with timeline.open(tmp_path / "data", OPTIONS, read_only=True) as reader:
            db.feeds.set("ann", "ann", {"name": "Ann"})
            db.feeds.block("ann", ["bob"])
            reader.refresh()
            assert reader.feeds.info("ann", "ann").meta == {b"name": b"Ann"}
            assert [each.user for each in reader.feeds.blocked("ann").users] == ["bob"]
            with pytest.raises(NoPermissionError):
                reader.feeds.info("bob", "ann")
            db.feeds.unblock("ann", ["bob"])
            reader.refresh()
            assert reader.feeds.info("bob", "ann").posts == 1
