"""A store that lost its last commits gives their numbers out again: devices that saw the lost ones
are told to resync, whether or not the new ones have passed their cursors.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, abandon, copy_as_killed
from timeline.embedded.database import Database
from timeline.errors import UsageError
from timeline.lsm.openings import Openings
from timeline.options import Options

OPTIONS = replace(SMALL, fsync="inline", search=False)


@contextmanager
def opened(path: Path, options: Options = OPTIONS) -> Iterator[Database]:
    with timeline.open(path, options) as db:
        yield db


def send(db: Database, *texts: str) -> None:
    for text in texts:
        db.messaging.send("team", "ann", {"text": text})


def texts(db: Database, after: str) -> list[str]:
    page = db.messaging.sync("bob", "phone", after=after)
    assert not page.resync
    return [each.text("text") for each in page.entries if each.kind == "message"]


def begin(path: Path) -> str:
    """A store that was open once, and a cursor behind all of it."""
    with opened(path) as db:
        db.messaging.create("team", "ann", members=["bob"])
        send(db, "1")
        return db.messaging.conversations("bob").position


@pytest.mark.parametrize("opened_before", [False, True])
def test_a_cursor_of_lost_commits_resyncs_though_its_number_is_passed(
    tmp_path: Path, opened_before: bool
) -> None:
    early = begin(tmp_path / "store")
    if opened_before:
        with opened(tmp_path / "store") as db:
            send(db, "2")
            early = db.messaging.conversations("bob").position
    shutil.copytree(tmp_path / "store", tmp_path / "snapshot")
    with opened(tmp_path / "store") as db:
        send(db, "lost", "lost too")
        lost = db.messaging.conversations("bob").position
        db.messaging.ack("bob", "phone", lost)
    shutil.rmtree(tmp_path / "store")
    shutil.copytree(tmp_path / "snapshot", tmp_path / "store")
    with opened(tmp_path / "store") as db:
        assert db.messaging.sync("bob", "phone", after=lost).resync, "it is of the future"
        assert texts(db, early) == []
        send(db, "a", "b", "c")
        assert db.messaging.sync("bob", "phone", after=lost).resync
        with pytest.raises(UsageError, match="another epoch"):
            db.messaging.ack("bob", "phone", lost)
        assert texts(db, early) == ["a", "b", "c"]
    with opened(tmp_path / "store") as db:
        send(db, "d")
        assert db.messaging.sync("bob", "phone", after=lost).resync
        assert texts(db, early) == ["a", "b", "c", "d"]


def test_the_first_opening_may_be_rolled_back_too(tmp_path: Path) -> None:
    db = timeline.open(tmp_path / "store", OPTIONS)
    db.messaging.create("team", "ann", members=["bob"])
    copy_as_killed(db, tmp_path / "snapshot")
    send(db, "lost")
    lost = db.messaging.conversations("bob").position
    abandon(db)
    with opened(tmp_path / "snapshot") as db:
        send(db, "a", "b")
        assert db.messaging.sync("bob", "phone", after=lost).resync


def test_cursors_hold_over_restarts_kills_and_a_copy_to_read(tmp_path: Path) -> None:
    cursors = [begin(tmp_path / "0")]
    for number in range(4):
        db = timeline.open(tmp_path / str(number), OPTIONS)
        for cursor in cursors:
            assert not db.messaging.sync("bob", "phone", after=cursor).resync
        send(db, "x")
        cursors.append(db.messaging.conversations("bob").position)
        reader = timeline.open(tmp_path / str(number), OPTIONS, read_only=True)
        assert reader.messaging.conversations("bob").position == cursors[-1]
        send(db, "y")
        cursors.append(db.messaging.conversations("bob").position)
        reader.refresh()
        assert reader.messaging.conversations("bob").position == cursors[-1]
        reader.close()
        copy_as_killed(db, tmp_path / str(number + 1))
        abandon(db)
    with opened(tmp_path / "4") as db:
        counts = [len(texts(db, cursor)) for cursor in cursors]
        assert counts == list(range(8, -1, -1))
        assert len(set(cursors)) == len(cursors)


def test_an_opening_that_commits_nothing_leaves_nothing(tmp_path: Path) -> None:
    before = begin(tmp_path / "store")
    for _ in range(3):
        with opened(tmp_path / "store") as db:
            assert db.messaging.conversations("bob").position == before
            assert Openings(db.engine.store.storage).tag_of(2**40) == 0


def test_only_the_newest_openings_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.lsm.openings._MOST_OPENINGS", 3)
    cursors = [begin(tmp_path / "store")]
    for _ in range(8):
        with opened(tmp_path / "store") as db:
            send(db, "x")
            cursors.append(db.messaging.conversations("bob").position)
    with opened(tmp_path / "store") as db:
        assert [len(texts(db, cursor)) for cursor in cursors] == list(range(8, -1, -1))


def test_what_interval_durability_loses_is_told_too(tmp_path: Path) -> None:
    """The log is cut as a power cut leaves it: what was acknowledged last has gone."""
    options = replace(OPTIONS, durability="interval", interval_ms=60_000)
    with opened(tmp_path / "store", options) as db:
        db.messaging.create("team", "ann", members=["bob"])
        send(db, "kept")
    db = timeline.open(tmp_path / "store", options)
    copy_as_killed(db, tmp_path / "cut")
    send(db, "lost")
    lost = db.messaging.conversations("bob").position
    abandon(db)
    with opened(tmp_path / "cut", options) as db:
        send(db, "a", "b")
        assert db.messaging.sync("bob", "phone", after=lost).resync
        assert db.messaging.read("bob", "team", 99) == 3
