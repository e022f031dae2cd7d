"""A process may change its directory while it has a store open: paths are resolved at opening.

Beside every relative name there is a trap in the directory that the process goes to: another store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, healed
from timeline.embedded.database import Database
from timeline.errors import UsageError
from timeline.verification import repair, repair_in_place, verify

OPTIONS = replace(SMALL, search=True, search_directory="index", search_prefixes=("a",))


def fill(db: Database, text: str, count: int = 40) -> None:
    for _ in range(count):
        db.timeline("a").append({"text": text})


def texts(db: Database) -> set[str]:
    return {entry.text("text") for entry in db.timeline("a").range()}


def state(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a process goes that works in `tmp_path/home`, and what must stay as it is."""
    for name in ("away", "home"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        if name == "away":
            with timeline.open("store", OPTIONS) as other:
                fill(other, "another's")
    away = tmp_path / "away"
    before = state(away)
    yield away
    assert state(away) == before


def test_a_store_stays_where_it_was_opened(trap: Path) -> None:
    home = Path.cwd()
    with timeline.open("store", OPTIONS) as db:
        fill(db, "first")
        os.chdir(trap)
        fill(db, "second", 200)
        db.compact()
        db.backup(home / "backup")
        with db.engine.standing_still():
            db.engine.store.close()
            db.engine._load()
        fill(db, "third")
        assert texts(db) == {"first", "second", "third"}
        assert db.search("third", wait=10).total == 40
        db.index.searchable.rebuild()
    options = replace(OPTIONS, search_directory=str(home / "index"))
    with timeline.open(home / "store", options) as db:
        assert texts(db) == {"first", "second", "third"}
        assert db.search("third", wait=10).total == 40
    assert sorted(each.name for each in home.iterdir()) == ["backup", "index", "store"]


def test_a_store_that_writing_was_turned_off_for_is_opened_again_where_it_was(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    with timeline.open("store", OPTIONS) as db:
        fill(db, "first")
        os.chdir(trap)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", lambda *_: 1 / 0)
            with pytest.raises(timeline.TimelineError):
                fill(db, "doubtful", 1)
        assert healed(db)
        fill(db, "second")
        assert texts(db) - {"doubtful"} == {"first", "second"}


def test_one_that_is_read_only_follows_its_owner(trap: Path) -> None:
    home = Path.cwd()
    with timeline.open("store", OPTIONS) as db:
        fill(db, "first")
        with timeline.open("store", OPTIONS, read_only=True) as look:
            os.chdir(trap)
            fill(db, "second", 200)
            db.compact()
            assert look.refresh()
            assert texts(look) == {"first", "second"}
            assert look.search("second", wait=10).total == 200
        assert (home / "store").is_dir()


def test_a_symbolic_link_that_turns_elsewhere_moves_no_store(trap: Path) -> None:
    home = Path.cwd()
    (home / "link").symlink_to(home / "store")
    (home / "store").mkdir()
    with timeline.open("link", search=False) as db:
        fill(db, "first")
        (home / "link").unlink()
        (home / "link").symlink_to(trap / "store")
        with db.engine.standing_still():
            db.engine.store.close()
            db.engine._load()
        fill(db, "second")
        assert texts(db) == {"first", "second"}


def test_verifying_and_repairing_go_on_where_they_began(trap: Path) -> None:
    home = Path.cwd()
    with timeline.open("store", OPTIONS) as db:
        fill(db, "first")

    def go(*_: object) -> None:
        os.chdir(trap)

    assert verify("store", progress=go).findings == []
    os.chdir(home)
    assert repair("store", "new", step=go).left == []
    os.chdir(home)
    assert repair_in_place("store", step=go).left == []
    assert {"new", "store"} <= {each.name for each in home.iterdir()}


def test_backing_up_and_restoring_too(trap: Path) -> None:
    home = Path.cwd()

    def go(*_: object) -> None:
        os.chdir(trap)

    with timeline.open("store", OPTIONS) as db:
        fill(db, "first")
        manifest = db.backup("backup", progress=go)
    os.chdir(home)
    assert timeline.restore("backup", "restored", progress=go).lsn == manifest.lsn
    assert {"backup", "restored"} <= {each.name for each in home.iterdir()}


def test_where_there_is_no_directory_any_more_a_relative_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="leads nowhere"):
        timeline.open("store")
    timeline.open(tmp_path / "store", search=False).close()
