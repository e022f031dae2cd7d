"""The promise: a store of format 1 that opened before opens, and is one of format 2 from then on.

The log above the sealed LSN, and what is kept of it for followers, is the same before and after.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rocksdict import Options as RocksOptions, Rdict

import timeline
from tests.engine.formerlog.stores import (
    NAME,
    OPTIONS,
    check,
    check_moved_on,
    former_lsns,
    sealed_in,
)
from tests.engine.golden.stores import unpack
from tests.engine.stores import copy_as_killed
from tests.verification.damage import pairs, put, raw
from timeline.engine.store import upgrade
from timeline.engine.store.directory import STORE_KEY
from timeline.errors import FormatVersionError
from timeline.formats import keys
from timeline.formats.rows import decode_progress
from timeline.log.log import CommitLog
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import FORMER_LOG, META


def test_it_holds_the_same_and_goes_on(store: Path, listed: dict[str, Any]) -> None:
    assert pairs(store, META, keys.CHAPTER), "there are rows that are to go"
    sealed = sealed_in(store)
    assert listed["checkpoints"]["behind"] < sealed < listed["lsn"]
    with timeline.open(store, OPTIONS) as db:
        check(db, listed)
        assert len(list((store / "log").glob("*.log"))) > 3
        head = db.timeline("room:0").head
        assert db.timeline("room:0").append({"v": "new"}) == head + 1
    check_moved_on(store)
    assert not list((store / "log").glob(".*")), "nothing is half made"
    for read_only in (True, False):
        with timeline.open(store, OPTIONS, read_only=read_only) as db:
            assert db.timeline("room:0").get(head + 1) is not None
            assert db.engine.applied == listed["lsn"] + 1
    check_moved_on(store)


def test_a_kill_after_it_costs_nothing(store: Path, listed: dict[str, Any]) -> None:
    with timeline.open(store, OPTIONS) as db:
        copy_as_killed(db, store.with_name("killed"))
    with timeline.open(store.with_name("killed"), OPTIONS) as db:
        check(db, listed)
    check_moved_on(store.with_name("killed"))


def test_a_store_whose_log_is_all_sealed_moves_on(store: Path, listed: dict[str, Any]) -> None:
    """As one that was closed: nothing is left to replay."""
    with raw(store) as storage:
        progress = decode_progress(storage.get(META, PROGRESS_KEY) or b"")
    for last in former_lsns(store):
        if last > progress.sealed:
            put(store, FORMER_LOG, keys.number(last), None)
    DurableMark(store / "MARK").close()
    (store / "MARK").unlink()
    with timeline.open(store, OPTIONS) as db:
        assert db.engine.applied == progress.sealed
        behind = listed["checkpoints"]["behind"]
        commits = db.log.read(after=behind, limit=10**6)
        assert [each.lsn for each in commits] == list(range(behind + 1, progress.sealed + 1))
    check_moved_on(store)


def test_a_store_of_no_commit_moves_on(store: Path) -> None:
    """It was made, and killed."""
    with raw(store) as storage:
        batch = storage.batch()
        for family in (META, FORMER_LOG):
            for key in list(storage.keys(family, b"", b"\xff" * 17)):
                if key != STORE_KEY:
                    batch.delete(family, key)
        storage.write(batch)
    (store / "MARK").unlink()
    with timeline.open(store, OPTIONS) as db:
        assert db.engine.applied == 0
    check_moved_on(store)


def test_a_log_larger_than_a_file_is_copied_in_parts(
    tmp_path: Path, listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied is made durable now and then, so that memory holds little of it."""
    monkeypatch.setattr(upgrade, "_SYNC_BYTES", 3_000)
    synced: list[int] = []
    sync = CommitLog.sync

    def noting(log: CommitLog) -> None:
        synced.append(log.last)
        sync(log)

    monkeypatch.setattr(CommitLog, "sync", noting)
    store = unpack(NAME, tmp_path)
    with timeline.open(store, OPTIONS) as db:
        check(db, listed)
    assert len(set(synced)) > 3


def test_a_log_that_a_killed_move_left_is_made_again(store: Path, listed: dict[str, Any]) -> None:
    log = store / "log"
    log.mkdir()
    for name in ("00000000000000000001.log", "00000000000000000300.log", ".spare.partial"):
        (log / name).write_bytes(b"of another time" * 300)
    with timeline.open(store, OPTIONS) as db:
        check(db, listed)
    assert not (log / "00000000000000000300.log").exists()


def test_a_former_log_that_was_left_behind_goes(store: Path, listed: dict[str, Any]) -> None:
    """By a kill between the last two steps, or by an older version that only looked at the store:
    it makes the family before it refuses the format.
    """
    timeline.open(store, OPTIONS).close()
    families = {name: RocksOptions(raw_mode=True) for name in Rdict.list_cf(str(store / "rocks"))}
    database = Rdict(str(store / "rocks"), RocksOptions(raw_mode=True), families)
    database.create_column_family(FORMER_LOG, RocksOptions(raw_mode=True))
    database.close()
    assert FORMER_LOG in Rdict.list_cf(str(store / "rocks"))
    with timeline.open(store, OPTIONS, read_only=True) as db:
        check(db, listed)
    with timeline.open(store, OPTIONS) as db:
        check(db, listed)
    check_moved_on(store)


def test_whoever_only_reads_is_told_what_to_do_and_changes_nothing(store: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    with pytest.raises(FormatVersionError, match=r"has format 1: open it once for writing"):
        timeline.open(store, read_only=True)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
