"""The promise: a store of format 1, which has its log in RocksDB, is verified and repaired like any
other, whole or damaged, and also when it was killed while it moved on. What is repaired is of the
present format.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.golden.stores import listed_in, unpack
from tests.engine.test_golden import listing
from tests.verification.damage import flipped, log_files, pairs, put, raw, state
from timeline.engine.store.directory import STORE_KEY
from timeline.engine.store.upgrade import move_on
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.manifest import MANIFEST, BackupFile, Manifest, encode_manifest
from timeline.formats.rows import FORMAT, decode_progress, decode_store
from timeline.options import Options
from timeline.storage.files import checksum
from timeline.storage.rocks import FORMER_LOG, META
from timeline.verification import repair, repair_in_place, verify
from timeline.verification.checks import references
from timeline.verification.snapshot.snapshot import Snapshot

SEALED, UPTO, LAST = 33, 42, 43  # of a pass of sealing that was killed


@pytest.fixture(autouse=True)
def references_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such are in the store, which is no messenger's."""
    monkeypatch.setattr(references, "misleading", lambda *_: "")


@pytest.fixture
def listed() -> dict[str, Any]:
    return listed_in("v1")


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """As a kill left it: much of it is in RocksDB's WAL only."""
    return unpack("v1", tmp_path)


@pytest.fixture
def store(killed: Path) -> Path:
    """The same, with everything in tables."""
    with raw(killed):
        pass
    return killed


def row_of_format(path: Path) -> int:
    return decode_store(dict(pairs(path, META))[STORE_KEY]).format


def commits_of(path: Path) -> list[int]:
    """Those above the sealed LSN of a store that can be read, in the former log."""
    with Snapshot(path) as snapshot:
        return [record.last for record in snapshot.log.records(snapshot.progress.sealed)]


def held_by(path: Path, listed: dict[str, Any]) -> None:
    """The store holds what is listed. Its retention has had its way with one timeline."""
    with timeline.open(path, fsync="inline", search=False, create=False) as db:
        found = listing(db)
    del found["timelines"]["contiguous"]
    expected = {**listed, "timelines": dict(listed["timelines"])}
    del expected["timelines"]["contiguous"]
    for name in ("timelines", "in-boxes", "checkpoints"):
        assert found[name] == expected[name]


@pytest.mark.parametrize("name", ["killed", "store"])
def test_it_has_no_findings_and_is_left_as_it_is(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    before = state(path)
    report = verify(path)
    assert report.findings == []
    assert report.applied == LAST
    assert state(path) == before


@pytest.mark.parametrize("name", ["killed", "store"])
def test_what_is_made_of_it_holds_the_same_in_the_present_format(
    name: str, request: pytest.FixtureRequest, listed: dict[str, Any], tmp_path: Path
) -> None:
    path: Path = request.getfixturevalue(name)
    before = state(path)
    done = repair(path, tmp_path / "new")
    assert (done.found, done.mended, done.left) == ([], [], [])
    assert {**before, "LOCK": None} == {**state(path), "LOCK": None}
    held_by(tmp_path / "new", listed)
    assert verify(tmp_path / "new").findings == []
    assert row_of_format(tmp_path / "new") == FORMAT
    assert log_files(tmp_path / "new")
    with raw(tmp_path / "new") as storage:
        assert not storage.has_former_log


def test_it_is_replaced_in_place_and_kept_beside(killed: Path, listed: dict[str, Any]) -> None:
    before = state(killed / "rocks")
    done = repair_in_place(killed)
    assert done.kept == killed / "rocks.damaged"
    kept = state(done.kept)
    kept.pop("LOCK"), before.pop("LOCK")
    assert kept == before
    held_by(killed, listed)


@pytest.mark.parametrize("alter", [flipped, lambda _: None])
def test_a_damaged_record_ends_the_prefix(
    store: Path, tmp_path: Path, alter: Callable[[bytes], bytes | None]
) -> None:
    put(store, FORMER_LOG, *_record(store, 39, alter))
    with pytest.raises(CorruptError):
        timeline.open(store, search=False)
    told = [each for each in verify(store).findings if each.family == "log"]
    assert [(each.number, each.lost) for each in told] == [(39, True)]
    done = repair(store, tmp_path / "new")
    assert any(each.family == "log" for each in done.lost)
    assert done.left == []
    assert verify(tmp_path / "new").findings == []


def _record(
    path: Path, lsn: int, alter: Callable[[bytes], bytes | None]
) -> tuple[bytes, bytes | None]:
    return keys.number(lsn), alter(dict(pairs(path, FORMER_LOG))[keys.number(lsn)])


@pytest.mark.parametrize("alter", [flipped, lambda _: None])
@pytest.mark.parametrize("places", [range(4), range(10, 11), range(20, 24)])
def test_damage_to_log_that_is_sealed_costs_only_its_followers(
    store: Path,
    listed: dict[str, Any],
    tmp_path: Path,
    alter: Callable[[bytes], bytes | None],
    places: range,
) -> None:
    kept = [key for key, _ in pairs(store, FORMER_LOG)]
    for place in places:
        put(store, FORMER_LOG, *_record(store, int.from_bytes(kept[place], "big"), alter))
    done = repair(store, tmp_path / "new")
    assert done.lost == []
    assert done.left == []
    held_by(tmp_path / "new", listed)
    assert verify(tmp_path / "new").findings == []


@pytest.mark.parametrize("key", [b"abc", b""])
def test_a_key_of_another_kind_is_found(store: Path, tmp_path: Path, key: bytes) -> None:
    put(store, FORMER_LOG, key or b"\0", b"x")
    assert {each.family for each in verify(store).findings} == {"log"}
    assert repair(store, tmp_path / "new").left == []


def test_a_damaged_chapter_is_found(store: Path, tmp_path: Path) -> None:
    """Which says something of the former log only, and goes with it."""
    put(store, META, keys.CHAPTER + keys.number(3), b"short")
    (told,) = verify(store).findings
    assert told.family == META
    assert repair(store, tmp_path / "new").lost == []


def test_a_damaged_write_ahead_log_is_cut_at_the_damage(killed: Path, tmp_path: Path) -> None:
    (file,) = (killed / "rocks").glob("*.log")
    file.write_bytes(flipped(file.read_bytes()))
    assert {"files", "MARK"} & {each.family for each in verify(killed).findings}
    done = repair(killed, tmp_path / "new")
    assert done.left == []
    assert verify(tmp_path / "new").findings == []


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_a_list_of_files_that_is_lost_loses_no_entry(
    killed: Path, listed: dict[str, Any], tmp_path: Path, name: str
) -> None:
    """Nor what is in the write-ahead log only. RocksDB may bring back some that were deleted."""
    for file in (killed / "rocks").glob(name):
        file.unlink()
    done = repair(killed, tmp_path / "new")
    assert (done.lost, done.left) == ([], [])
    assert verify(tmp_path / "new").findings == []
    with timeline.open(tmp_path / "new", fsync="inline", search=False, create=False) as db:
        found = listing(db)["timelines"]
    del listed["timelines"]["contiguous"]  # retention has its way with it
    for each, kept in listed["timelines"].items():
        assert found[each]["head"] == kept["head"]
        assert {seq for seq, *_ in kept["entries"]} <= {seq for seq, *_ in found[each]["entries"]}


@pytest.mark.parametrize("told", ["its row says format 1", "its row says nothing"])
def test_killed_while_it_moved_on_it_is_read_as_before(
    store: Path, listed: dict[str, Any], tmp_path: Path, told: str
) -> None:
    """The new log is there, and is not whole so far."""
    copy = Path(shutil.copytree(store, tmp_path / "copy"))
    with raw(copy) as storage:
        move_on(storage, copy / "log", 1, Options(), LAST)
    (file,) = log_files(copy)
    (store / "log").mkdir()
    (store / "log" / file.name).write_bytes(file.read_bytes()[:3_000])
    if told == "its row says nothing":
        put(store, META, STORE_KEY, b"")
        assert {each.family for each in verify(store).findings} == {META}
    else:
        assert verify(store).findings == []
    assert repair(store, tmp_path / "new").lost == []
    held_by(tmp_path / "new", listed)


def test_moved_on_but_for_the_former_log_it_is_read_anew(
    store: Path, listed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.storage.rocks.Storage.drop_former_log", lambda _: None)
    with raw(store) as storage:
        move_on(storage, store / "log", listed["epoch"], Options(), LAST)
        assert storage.has_former_log
        progress = storage.get(META, b"progress")
    assert progress is not None
    assert decode_progress(progress).upto == UPTO
    assert row_of_format(store) == FORMAT
    assert verify(store).findings == []
    (file,) = log_files(store)
    file.unlink()
    assert "MARK" in {each.family for each in verify(store).findings}, "the former one is no more"


def test_a_backup_of_it_is_checked_and_restored(store: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(store / "rocks", backup / "files")
    files = tuple(
        BackupFile(file.name, file.stat().st_size, checksum(file))
        for file in sorted((backup / "files").iterdir())
        if file.name not in ("LOCK", "LOG")
    )
    (backup / MANIFEST).write_bytes(encode_manifest(Manifest(1, 1, LAST, 0, files)))
    report = verify(backup)
    assert report.findings == []
    assert report.backup
    assert report.applied == LAST
    timeline.restore(backup, tmp_path / "restored")
    assert row_of_format(tmp_path / "restored") == FORMAT
    with (
        timeline.open(store, search=False) as original,
        timeline.open(tmp_path / "restored", search=False) as restored,
    ):
        assert restored.log.head >= LAST  # retention may have trimmed since
        assert list(restored.timelines()) == list(original.timelines())
    assert verify(tmp_path / "restored").findings == []


def test_killed_under_load_it_is_verified_and_repaired_too(tmp_path: Path) -> None:
    path = unpack("v1-load", tmp_path)
    report = verify(path)
    assert report.findings == []
    done = repair(path, tmp_path / "new")
    assert (done.found, done.lost, done.left) == ([], [], [])
    assert done.applied >= report.applied
    assert verify(tmp_path / "new").findings == []
