"""Stores that a released format version wrote open and read exactly as listed beside them.

golden/make.py made them; golden/v<format>.json says what is in them, byte for byte. One is left as
a kill left it in the middle of a pass of sealing, so opening it replays the log as well. How a
store of format 1 becomes one of format 2 is held in formerlog/test_moving_on.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.golden.stores import listed_in, unpack
from timeline.embedded.database import Database
from timeline.engine.store.directory import STORE_KEY
from timeline.errors import CorruptError, FormatVersionError, NotFoundError
from timeline.formats import keys
from timeline.formats.numbers import NO_LSN
from timeline.formats.rows import FORMAT, StoreRow, encode_store
from timeline.options import DAY, Options
from timeline.storage.rocks import META
from timeline.verification import verify
from timeline.verification.checks import references

VERSIONS = ["v1", "v2"]
AGELESS = Options(search=False, log_age_ms=200 * 365 * DAY)  # what is in them is old


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(version: str, tmp_path: Path) -> Path:
    return unpack(version, tmp_path)


@pytest.fixture
def listed(version: str) -> dict[str, Any]:
    return listed_in(version)


def text(value: bytes) -> str:
    return value.decode("latin-1")


def listing(db: Database) -> dict[str, Any]:
    """What the store holds, in the form of the list."""
    engine = db.engine
    timelines = {}
    for name in db.timelines():
        handle = db.timeline(name)
        first, head, length, created = handle.extent()[:4]
        found = engine.view.find(name)
        assert found is not None
        entries = [
            [entry.seq, entry.time, [text(item) for pair in entry.fields for item in pair]]
            for entry in handle.range()
        ]
        timelines[text(name)] = {
            "id": found.id,
            "first": first,
            "head": head,
            "length": length,
            "created": created,
            "entries": entries,
        }
    inboxes = {}
    for user in engine.view.names(b"@user:"):
        box = engine.view.find(user)
        assert box is not None
        inboxes[str(box.id)] = [
            list(reference[:4]) for reference, _ in engine.inboxes.read(box.id, NO_LSN, -1, 10**6)
        ]
    kept = engine.view.find(b"contiguous")
    assert kept is not None
    return {
        "lsn": engine.applied,
        "epoch": engine.store.epoch,
        "timelines": timelines,
        "in-boxes": inboxes,
        "retention": {"contiguous": list(engine.upkeep.retention.get(kept))},
        "checkpoints": {text(name): lsn for name, lsn in db.log.checkpoints().items()},
    }


def test_it_reads_exactly_as_listed(store: Path, listed: dict[str, Any]) -> None:
    for _ in range(2):  # the second time everything is sealed
        # Its entries are older than its retention, which is not to run here.
        with timeline.open(store, AGELESS, fsync="inline") as db:
            assert listing(db) == listed
            reached = listed["checkpoints"]["golden"]
            commits = db.log.read(after=reached, limit=10**6)
            assert [commit.lsn for commit in commits] == list(range(reached + 1, listed["lsn"] + 1))


def test_it_goes_on_where_it_stopped(store: Path, listed: dict[str, Any]) -> None:
    with timeline.open(store, fsync="inline") as db:
        for name, kept in listed["timelines"].items():
            if kept["head"] < keys.LAST:
                handle = db.timeline(name.encode("latin-1"))
                assert handle.append({"a": "1"}) == kept["head"] + 1
        ids = [kept["id"] for kept in listed["timelines"].values()]
        db.timeline("brand new").append({"a": "1"})
        new = db.engine.view.find(b"brand new")
        assert new is not None
        assert new.id > max(ids)
        db.compact()
        for name, kept in listed["timelines"].items():
            found = [entry.seq for entry in db.timeline(name.encode("latin-1")).range()]
            assert found[: len(kept["entries"])] == [entry[0] for entry in kept["entries"]]


@pytest.mark.parametrize("name", ["v1", "v2", "v1-load", "v2-load"])
def test_it_is_sound_once_it_was_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "misleading", lambda *_: "")  # it is no messenger's store
    store = unpack(name, tmp_path)
    timeline.open(store, search=False).close()
    assert verify(store).sound


def test_one_of_this_format_is_read_without_being_changed(tmp_path: Path) -> None:
    name = f"v{FORMAT}"
    store = unpack(name, tmp_path)
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    with timeline.open(store, read_only=True) as db:
        assert listing(db) == listed_in(name)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["v1-load", "v2-load"])
def test_one_that_was_killed_under_load_holds_what_was_acknowledged(
    name: str, tmp_path: Path
) -> None:
    store, listed = unpack(name, tmp_path), listed_in(name)
    for _ in range(2):
        with timeline.open(store, AGELESS) as db:
            assert db.engine.applied == listed["lsn"]
            assert db.engine.store.epoch == listed["epoch"]
            found = {
                text(room): [entry.text("v") for entry in db.timeline(room).range()]
                for room in db.timelines()
            }
            assert found == listed["timelines"]
            assert {text(each): lsn for each, lsn in db.log.checkpoints().items()} == listed[
                "checkpoints"
            ]
            reached = listed["checkpoints"]["behind"]
            commits = [commit.lsn for commit in db.log.read(after=reached, limit=10**6)]
            assert commits == list(range(reached + 1, listed["lsn"] + 1))


def file_to_damage(store: Path) -> Path:
    """Where the newest commits are: the WAL in format 1, the newest file of the log after that."""
    if (store / "log").exists():
        return max((store / "log").glob("*.log"))
    (wal,) = (store / "rocks").glob("*.log")
    return wal


def used_bytes(path: Path) -> int:
    return len(path.read_bytes().rstrip(b"\0"))


def test_a_damaged_copy_is_refused_or_says_where(store: Path) -> None:
    file = file_to_damage(store)
    content = bytearray(file.read_bytes())
    content[used_bytes(file) // 2 + 200] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptError):
        timeline.open(store)


def test_a_copy_without_its_end_is_refused(store: Path) -> None:
    file = file_to_damage(store)
    file.write_bytes(file.read_bytes()[: used_bytes(file) * 3 // 4])
    with pytest.raises(CorruptError):
        timeline.open(store)


def rewrite_store_row(path: Path, value: bytes) -> None:
    with timeline.open(path, fsync="inline") as db:
        batch = db.engine.store.storage.batch()
        batch.put(META, STORE_KEY, value)
        db.engine.store.storage.write(batch)


def test_a_later_format_is_refused_by_name(store: Path) -> None:
    rewrite_store_row(store, encode_store(StoreRow(FORMAT + 1, 1)))
    with pytest.raises(FormatVersionError, match=rf"format {FORMAT + 1}\b"):
        timeline.open(store)


def test_a_foreign_database_is_refused(store: Path) -> None:
    rewrite_store_row(store, b"SOMETHING ELSE IS IN HERE")
    with pytest.raises(CorruptError):
        timeline.open(store)


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", "utf-8")
    with pytest.raises(FormatVersionError):
        timeline.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_nothing_is_made_where_nothing_may_be_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        timeline.open(tmp_path / "absent", create=False)
    assert list(tmp_path.iterdir()) == []
