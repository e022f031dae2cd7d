"""The promise: a store of format 1 that opened before opens, and is one of format 2 from then on.

The log above the sealed LSN, and what is kept of it for followers, is the same before and after. A
kill in the middle changes nothing: the next opening finds what this one would have found. What was
refused before, for damage, is refused, and stays of format 1.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rocksdict import Options as RocksOptions, Rdict

import timeline
from tests.engine.golden.stores import listed_in, unpack
from tests.engine.stores import copy_as_killed
from tests.engine.test_corruption import Forgetful
from tests.log.disk import Disk, Rename
from tests.verification.damage import pairs, put, raw
from timeline.embedded.database import Database
from timeline.engine.store import upgrade
from timeline.engine.store.directory import STORE_KEY
from timeline.errors import CorruptError, FormatVersionError, StallError, StorageError, TrimmedError
from timeline.formats import keys
from timeline.formats.logfiles import decode_file_header
from timeline.formats.rows import decode_progress, decode_store
from timeline.log.log import CommitLog
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.options import DAY, Options
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import FORMER_LOG, META, Storage

NAME = "v1-load"
OPTIONS = Options(search=False, log_age_ms=200 * 365 * DAY, log_file_bytes=4_096)
INTERVAL = replace(OPTIONS, durability="interval")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return unpack(NAME, tmp_path)


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    return listed_in(NAME)


def rooms(db: Database) -> dict[str, list[str]]:
    return {
        name.decode(): [entry.text("v") for entry in db.timeline(name).range()]
        for name in db.timelines()
    }


def check(db: Database, listed: dict[str, Any]) -> None:
    """`db` holds what is listed, and its log what a follower needs."""
    assert rooms(db) == listed["timelines"]
    assert db.engine.applied == listed["lsn"]
    assert db.log.checkpoint("behind") == listed["checkpoints"]["behind"]
    behind = listed["checkpoints"]["behind"]
    commits = db.log.read(after=behind, limit=10**6)
    assert [commit.lsn for commit in commits] == list(range(behind + 1, listed["lsn"] + 1))


def check_moved_on(path: Path) -> None:
    assert FORMER_LOG not in Rdict.list_cf(str(path / "rocks"))
    assert format_of(path) == 2
    assert pairs(path, META, keys.CHAPTER) == []


def format_of(path: Path) -> int:
    with raw(path) as storage:
        return decode_store(storage.get(META, STORE_KEY) or b"").format


def sealed_in(path: Path) -> int:
    with raw(path) as storage:
        return decode_progress(storage.get(META, PROGRESS_KEY) or b"").sealed


def former_lsns(path: Path) -> list[int]:
    """The last LSNs of the records of a store of format 1."""
    return [keys.split_number(key) for key, _ in pairs(path, FORMER_LOG)]


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


# --- kills ----------------------------------------------------------------------------------------


CALLS: list[tuple[Any, str]] = [
    (shutil, "rmtree"),
    (CommitLog, "append"),
    (CommitLog, "sync"),
    (CommitLog, "close"),
    (os, "pwrite"),  # of the header of a file of the log
    (os, "pwritev"),  # of a record
    (Storage, "write"),
    (Storage, "flush"),
    (Storage, "drop_former_log"),
]


@contextmanager
def before_each_call(do: Callable[[str], None]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CALLS:
            original = getattr(owner, name)

            label = f"{owner.__name__}.{name}"

            def wrapped(
                *arguments: Any,  # noqa: ANN401
                _original: Callable[..., Any] = original,
                _name: str = label,
                **options: Any,  # noqa: ANN401
            ) -> Any:  # noqa: ANN401
                if _name != "os.pwrite" or decode_file_header(bytes(arguments[1])) is not None:
                    do(_name)
                return _original(*arguments, **options)

            patch.setattr(owner, name, wrapped)
        yield


def copy_if_there(source: str, target: str) -> None:
    """A thread makes the next file of the log, and gives it its name, meanwhile."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def test_a_kill_before_any_call_leaves_the_same_store(
    tmp_path: Path, listed: dict[str, Any]
) -> None:
    store = unpack(NAME, tmp_path)
    killed: list[tuple[str, Path]] = []

    def copy(name: str) -> None:
        target = tmp_path / f"killed-{len(killed)}"
        killed.append((name, target))
        shutil.copytree(store, target, copy_function=copy_if_there)

    with before_each_call(copy):
        db = timeline.open(store, OPTIONS)
    db.close()
    names = [name for name, _ in killed]
    assert {f"{owner.__name__}.{name}" for owner, name in CALLS} == set(names)
    # Many records are copied; a kill at the first, at the last and at some between will do.
    copying = [number for number, name in enumerate(names) if name.startswith("os.")]
    for number, (_, path) in enumerate(killed):
        if number in copying[6:-6] and number % 17:
            continue
        with timeline.open(path, OPTIONS) as db:
            check(db, listed)
        check_moved_on(path)
        with timeline.open(path, OPTIONS) as db:
            check(db, listed)
        shutil.rmtree(path)


def test_the_new_log_is_durable_before_the_store_says_so(
    store: Path, listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut takes what was not fsynced, names of files too."""
    disk = Disk(monkeypatch)
    disk.watch(store / "log")
    pending: list[object] = []

    def note(name: str) -> None:
        if name == "Storage.write" and not pending:
            files = {path.stat().st_ino for path in (store / "log").glob("*.log")}
            assert files
            pending.append([write for write in disk._writes if write.inode in files])
            renames = [each for each in disk._names if isinstance(each, Rename)]
            pending.append([each for each in renames if each.target.suffix == ".log"])

    with before_each_call(note):
        db = timeline.open(store, OPTIONS)
    check(db, listed)
    db.close()
    assert pending == [[], []]


@pytest.mark.parametrize(
    "call",
    [
        "CommitLog.append",
        "CommitLog.sync",
        "os.pwrite",
        "Storage.write",
        "Storage.flush",
        "Storage.drop_former_log",
    ],
)
def test_a_failure_is_raised_and_the_next_opening_moves_on(
    store: Path, listed: dict[str, Any], call: str
) -> None:
    def fail(name: str) -> None:
        if name == call:
            full = OSError(errno.ENOSPC, "No space left on device")
            raise full if name.startswith("os.") else StorageError("the disk is full")

    with before_each_call(fail), pytest.raises(StorageError, match="the disk is full"):
        timeline.open(store, OPTIONS)
    with timeline.open(store, OPTIONS) as db:
        check(db, listed)
    check_moved_on(store)


def test_a_pause_that_the_disk_asks_for_is_waited_for(store: Path, listed: dict[str, Any]) -> None:
    asked: set[str] = set()

    def pause(name: str) -> None:
        if name in ("CommitLog.append", "Storage.write") and name not in asked:
            asked.add(name)
            raise StallError("try again soon")

    with before_each_call(pause):
        db = timeline.open(store, OPTIONS)
    check(db, listed)
    db.close()
    check_moved_on(store)


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


# --- damage ---------------------------------------------------------------------------------------


def spoil(path: Path, last: int) -> None:
    """Flip a bit of the record that ends at LSN `last`, below RocksDB's checksums."""
    ((_, value),) = [pair for pair in pairs(path, FORMER_LOG) if pair[0] == keys.number(last)]
    put(path, FORMER_LOG, keys.number(last), value[:-5] + bytes((value[-5] ^ 1,)) + value[-4:])


def test_a_damaged_record_that_is_sealed_costs_its_followers_only(
    store: Path, listed: dict[str, Any]
) -> None:
    sealed = sealed_in(store)
    last = [each for each in former_lsns(store) if each <= sealed][-3]
    spoil(store, last)
    with timeline.open(store, OPTIONS) as db:
        assert rooms(db) == listed["timelines"]
        commits = db.log.read(after=last, limit=10**6)
        assert [each.lsn for each in commits] == list(range(last + 1, listed["lsn"] + 1))
        with pytest.raises(TrimmedError):
            db.log.read(after=listed["checkpoints"]["behind"], limit=10)
    check_moved_on(store)


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_damaged_record_that_is_not_sealed_refuses_the_opening(store: Path, which: int) -> None:
    sealed = sealed_in(store)
    last = [each for each in former_lsns(store) if each > sealed][which]
    spoil(store, last)
    for options in (OPTIONS, INTERVAL):
        with pytest.raises(CorruptError, match=str(last)):
            timeline.open(store, options)
    assert format_of(store) == 1


def test_a_record_that_is_missing_refuses_the_opening(store: Path) -> None:
    sealed = sealed_in(store)
    first, second, *_ = [each for each in former_lsns(store) if each > sealed]
    put(store, FORMER_LOG, keys.number(second), None)
    for options in (OPTIONS, INTERVAL):  # the mark is above it
        with pytest.raises(CorruptError, match=f"from LSN {first} to .*restore a backup"):
            timeline.open(store, options)
    assert format_of(store) == 1


def mark(path: Path, lsn: int) -> None:
    (path / "MARK").unlink()
    written = DurableMark(path / "MARK")
    written.write(lsn)
    written.close()


def test_a_gap_above_the_mark_is_the_end_in_interval_durability(
    store: Path, listed: dict[str, Any]
) -> None:
    sealed = sealed_in(store)
    above = [each for each in former_lsns(store) if each > sealed]
    put(store, FORMER_LOG, keys.number(above[4]), None)
    put(store, META, keys.CHECKPOINT + b"ahead", keys.number(listed["lsn"]))
    mark(store, above[2])
    with pytest.raises(CorruptError, match="lost"):
        timeline.open(store, OPTIONS)
    assert format_of(store) == 1
    with timeline.open(store, INTERVAL) as db:
        assert db.engine.applied == above[3]
        assert db.log.checkpoint("ahead") == above[3], "what it saw above has gone"
        db.timeline("room:0").append({"v": "in the place of what was lost"})
    with timeline.open(store, INTERVAL) as db:
        assert db.engine.applied == above[3] + 1
    check_moved_on(store)


def test_damage_in_the_wal_above_the_mark_is_the_end_in_interval_durability(store: Path) -> None:
    unsealed = [each for each in former_lsns_of_copy(store) if each > 0]
    (wal,) = (store / "rocks").glob("*.log")
    content = bytearray(wal.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    wal.write_bytes(content)
    with pytest.raises(CorruptError):
        timeline.open(store, OPTIONS)
    with pytest.raises(CorruptError, match="acknowledged"):  # the mark is above the damage
        timeline.open(store, INTERVAL)
    mark(store, unsealed[1])
    with timeline.open(store, INTERVAL) as db:
        assert db.engine.applied in unsealed
    check_moved_on(store)


def former_lsns_of_copy(store: Path) -> list[int]:
    """What `former_lsns` says, of a copy: RocksDB writes its WAL into tables when it opens one."""
    copy = store.with_name("looked-at")
    shutil.copytree(store, copy)
    return former_lsns(copy)


def test_a_log_that_misses_its_end_is_refused_and_stays_of_format_1(store: Path) -> None:
    above = [each for each in former_lsns(store) if each > sealed_in(store)]
    for last in above[-3:]:
        put(store, FORMER_LOG, keys.number(last), None)
    for options in (OPTIONS, INTERVAL):
        with pytest.raises(CorruptError, match=f"ends at LSN {above[-4]}, .*acknowledged"):
            timeline.open(store, options)
    assert format_of(store) == 1


def test_a_torn_last_write_is_left_out(store: Path) -> None:
    """A power cut tore it, and it was never acknowledged."""
    lsns = former_lsns_of_copy(store)
    (wal,) = (store / "rocks").glob("*.log")
    content = wal.read_bytes()
    wal.write_bytes(content[:-20])
    mark(store, lsns[-2])
    with timeline.open(store, OPTIONS) as db:
        assert db.engine.applied == lsns[-2]
    check_moved_on(store)


def test_damaged_blocks_of_a_sealed_log_cost_its_followers_only(
    tmp_path: Path, listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of the former log that cannot be read, below the sealed LSN."""
    store = unpack(NAME, tmp_path)
    monkeypatch.setattr("timeline.storage.tuning._caches", Forgetful())
    table = max((store / "rocks").glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[2_000] ^= 1
    table.write_bytes(content)
    with timeline.open(store, OPTIONS) as db:
        assert rooms(db) == listed["timelines"]
        behind = listed["checkpoints"]["behind"]
        with pytest.raises(TrimmedError):
            db.log.read(after=behind, limit=10)
        assert (
            db.log.read(after=db.engine.store.log.first() - 1, limit=10**6)[-1].lsn
            == (listed["lsn"])
        )
    check_moved_on(store)


# --- who may not ----------------------------------------------------------------------------------


def test_whoever_only_reads_is_told_what_to_do_and_changes_nothing(store: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    with pytest.raises(FormatVersionError, match=r"has format 1: open it once for writing"):
        timeline.open(store, read_only=True)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
