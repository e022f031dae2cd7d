"""Power loss: what was never fsynced is gone, whole or in part, and what was fsynced is there.

A store is left as the disk might hold it: the WAL cut at a byte. RocksDB would open several of
these without a word; the durable mark is what tells a torn end, which is a crash, from a missing
one, which is damage.
"""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

import timeline
from tests.engine.stores import SMALL, Clock, abandon, scratch_directory, small_steps
from tests.engine.twin import Twin, picture_of, scenario
from tests.verification.damage import raw
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import Storage

# Nothing but the WAL: no memtable is written out, so every commit lies in one file.
INLINE = replace(SMALL, fsync="inline", write_buffer_bytes=2**25)


@pytest.fixture
def directory() -> Iterator[Path]:
    path = scratch_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def twin(directory: Path) -> Iterator[Twin]:
    """A store in use; its pictures say what each commit made of it."""
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", INLINE, clock)
        for step in scenario(25, 11):
            if step[0] not in ("seal", "compact", "drop"):
                twin.do(step)
        yield twin
        abandon(twin.db)


def wal_of(path: Path) -> Path:
    (wal,) = (path / "rocks").glob("*.log")
    return wal


def cut(path: Path, target: Path, size: int) -> Path:
    """A copy of the store at `path` whose WAL ends after `size` bytes."""
    shutil.copytree(path, target)
    with wal_of(target).open("r+b") as wal:
        wal.truncate(size)
    return target


def unsynced_copy(twin: Twin, target: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Copy the store between the write and the fsync of a commit: (size synced, size written)."""
    synced = wal_of(twin.path).stat().st_size
    sync = Storage.sync

    def copy_first(storage: Storage) -> None:
        shutil.copytree(twin.path, target)
        sync(storage)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "sync", copy_first)
        twin.do(("both", b"a", b"b", b"the commit under way"))
    return synced, wal_of(target).stat().st_size


def test_a_commit_whose_fsync_did_not_return_is_there_or_not_wherever_the_wal_ends(
    twin: Twin, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged = twin.oracle.lsn
    synced, written = unsynced_copy(twin, directory / "copy", monkeypatch)
    assert synced < written
    for size in {*range(synced, written, 4), written - 1, written}:
        path = cut(directory / "copy", directory / "cut", size)
        with timeline.open(path, INLINE) as db:
            whole = acknowledged + (size == written)
            assert db.engine.applied == whole, f"cut after {size - synced} bytes"
            assert picture_of(db, twin.users) == twin.pictures[whole]
        shutil.rmtree(path)


def test_an_end_missing_below_the_durable_mark_is_corruption(twin: Twin, directory: Path) -> None:
    """Also where it is cut on the border of a record, which RocksDB takes for whole."""
    wal = wal_of(twin.path).read_bytes()
    borders = {0, 1, len(wal) - 1}
    sizes = borders | set(random.Random(1).sample(range(len(wal)), 60))
    refused = 0
    for size in sorted(sizes):
        path = cut(twin.path, directory / "cut", size)
        try:
            db = timeline.open(path, INLINE)
        except CorruptError:
            refused += 1
            with pytest.raises(CorruptError):  # trying again makes it no better
                timeline.open(path, INLINE)
        else:  # what is missing is sealing that came after the last commit
            assert db.engine.applied == twin.oracle.lsn
            assert picture_of(db, twin.users) == twin.expected(), f"cut after {size} bytes"
            db.close()
        shutil.rmtree(path)
    assert refused > 50


def test_a_lost_wal_is_corruption(twin: Twin, directory: Path) -> None:
    path = directory / "copy"
    shutil.copytree(twin.path, path)
    wal_of(path).unlink()
    for _ in range(2):
        with pytest.raises(CorruptError):
            timeline.open(path, INLINE)


def test_interval_durability_loses_a_suffix_of_whole_commits_and_no_more(directory: Path) -> None:
    options = replace(INLINE, durability="interval", interval_ms=10**9)
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", options, clock)
        # The first wait for the next fsync begins when the store is opened.
        for step in scenario(20, 12):
            if step[0] not in ("seal", "compact", "drop"):
                twin.do(step)
        wal = wal_of(twin.path).stat().st_size
        reached = set()
        for size in sorted(random.Random(2).sample(range(wal), 80)):
            path = cut(twin.path, directory / "cut", size)
            with timeline.open(path, options) as db:
                lsn = db.engine.applied
                reached.add(lsn)
                users = twin.users if lsn else []
                assert picture_of(db, users) == twin.pictures[lsn], f"cut after {size} bytes"
            shutil.rmtree(path)
        abandon(twin.db)
    assert len(reached) > 5


SECTOR = 512


@pytest.mark.parametrize("entries", [3, 80])
def test_a_last_write_of_which_sectors_are_missing_is_cut(
    directory: Path, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    """Within a block of RocksDB's, and over several. Nothing was acknowledged behind it."""
    path, torn = directory / "store", directory / "torn"
    sync = Storage.sync
    with timeline.open(path, INLINE) as db:
        handle = db.timeline("a")
        for number in range(9):
            handle.append({"n": str(number), "pad": "x" * 100})
        synced = wal_of(path).stat().st_size

        def copy_first(storage: Storage) -> None:
            shutil.copytree(path, torn)
            sync(storage)

        with monkeypatch.context() as patch:
            patch.setattr(Storage, "sync", copy_first)
            handle.append_many([{"n": str(number), "pad": "y" * 700} for number in range(entries)])
    whole = wal_of(torn).read_bytes()
    sectors = range(synced - synced % SECTOR, len(whole), SECTOR)
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    for _ in range(12):
        copy = Path(shutil.copytree(torn, directory / "copy"))
        content = bytearray(whole)
        lost = [at for at in sectors if draw.random() < 0.4] or [sectors[-1]]
        for at in lost:
            begin, end = max(at, synced), min(at + SECTOR, len(content))
            content[begin:end] = bytes(end - begin)
        wal_of(copy).write_bytes(content)
        with timeline.open(copy, INLINE) as db:
            assert db.timeline("a").append({"n": "new"}) == 10, f"{lost}, seed {seed}"
        with timeline.open(copy, INLINE) as db:
            assert db.timeline("a").head == 10
        shutil.rmtree(copy)


def test_damage_that_is_followed_by_another_write_is_no_torn_write(directory: Path) -> None:
    """Also where the mark is of long ago: what was acknowledged is never dropped without a word."""
    path, copy = directory / "store", directory / "copy"
    with timeline.open(path, INLINE) as db:
        for number in range(9):
            db.timeline("a").append({"n": str(number), "pad": "x" * 900})
        shutil.copytree(path, copy)
    content = bytearray(wal_of(copy).read_bytes())
    at = content.index(b"$1\r\n7\r\n")
    content[at - 300 : at] = bytes(300)
    wal_of(copy).write_bytes(content)
    (copy / "MARK").write_bytes(b"")
    with pytest.raises(CorruptError, match="timeline repair"):
        timeline.open(copy, INLINE)


PAGE = 4096
UNSYNCED = replace(INLINE, durability="interval", interval_ms=10**9)


@pytest.fixture
def unsynced(directory: Path) -> Path:
    """A store of 10 commits that were fsynced and 60 that were not, and of a consumer."""
    path = directory / "store"
    with timeline.open(path, INLINE) as db:
        db.log.move("reader", 0)
        for number in range(10):
            db.timeline("a").append({"n": str(number)})
    with timeline.open(path, UNSYNCED) as db:
        for number in range(10, 70):
            db.timeline("a").append({"n": str(number), "pad": str(number % 10) * 700})
            db.log.move("reader", number)
        shutil.copytree(path, directory / "lost")
    return directory / "lost"


def test_interval_durability_keeps_a_prefix_whichever_pages_were_lost(
    unsynced: Path, directory: Path
) -> None:
    """Pages reach a disk in any order: what follows a lost one goes with it."""
    whole = max((unsynced / "rocks").glob("*.log"), key=lambda file: file.stat().st_size)
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    cut = 0
    for _ in range(25):
        path = directory / "copy"
        shutil.copytree(unsynced, path)
        content = bytearray(whole.read_bytes())
        lost = [at for at in range(0, len(content), PAGE) if draw.random() < 0.2]
        for at in lost:
            content[at : at + PAGE] = bytes(len(content[at : at + PAGE]))
        (path / "rocks" / whole.name).write_bytes(content)
        where = f"pages {lost}, seed {seed}"
        with timeline.open(path, UNSYNCED) as db:
            kept = [entry.text("n") for entry in db.timeline("a").range()]
            assert kept == [str(number) for number in range(len(kept))], where
            assert len(kept) >= 10, where
            cut += 10 < len(kept) < 70
            assert db.log.checkpoint("reader") <= db.log.head, where
            assert db.timeline("a").append({"n": "new"}) == len(kept) + 1
        with timeline.open(path, INLINE) as db:
            assert db.timeline("a").head == len(kept) + 1, where
            assert [each.lsn for each in db.log.read(after=db.log.head - 1)] == [db.log.head]
        shutil.rmtree(path)
    assert cut > 3


def test_a_gap_in_the_log_is_refused_where_every_commit_was_fsynced(
    unsynced: Path, directory: Path
) -> None:
    with raw(unsynced) as storage:
        batch = storage.batch()
        batch.delete("log", keys.number(40))
        storage.write(batch)
    for options, marked in ((INLINE, 0), (UNSYNCED, 60)):
        path = directory / f"copy{marked}"
        shutil.copytree(unsynced, path)
        if marked:
            mark = DurableMark(path / "MARK")
            mark.write(marked)
            mark.close()
        with pytest.raises(CorruptError, match="the log goes from LSN 39 to 41"):
            timeline.open(path, options)
    with timeline.open(unsynced, UNSYNCED) as db:
        assert db.log.head == 39


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_a_write_that_is_followed_by_silence_is_fsynced_all_the_same(
    directory: Path, fsync: Literal["inline", "thread"]
) -> None:
    options = replace(INLINE, durability="interval", interval_ms=20, fsync=fsync)
    pause = threading.Event()
    with timeline.open(directory / "store", options) as db:
        for number in range(1, 4):  # the first is fsynced at once: the last fsync was long ago
            db.timeline("a").append({"n": str(number)})
        for _ in range(1_000):
            if db.engine.mark.read() == 3:
                break
            pause.wait(0.01)
        assert db.engine.mark.read() == 3


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_a_new_consumer_is_never_forgotten(
    directory: Path, monkeypatch: pytest.MonkeyPatch, durability: Literal["sync", "interval"]
) -> None:
    """The log would be let go without it."""
    options = replace(INLINE, durability=durability, interval_ms=10**9)
    with timeline.open(directory / "store", options) as db:
        db.timeline("a").append({"n": "1"})
        synced: list[int] = []
        sync = Storage.sync

        def note(storage: Storage) -> None:
            sync(storage)
            synced.append(wal_of(directory / "store").stat().st_size)

        monkeypatch.setattr(Storage, "sync", note)
        db.log.move("reader", 1)
        path = cut(directory / "store", directory / "cut", max(synced))
    with timeline.open(path, options) as db:
        assert db.log.checkpoints() == {b"reader": 1}


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("damage", ["torn", "zero"])
def test_a_torn_mark_costs_a_step_and_not_the_mark(
    twin: Twin, directory: Path, slot: int, damage: str
) -> None:
    size = wal_of(twin.path).stat().st_size
    for number, half in enumerate((size, size // 2)):
        path = cut(twin.path, directory / str(number), half)
        with (path / "MARK").open("r+b") as mark:
            mark.seek(512 * slot)
            mark.write(bytes(12) if damage == "zero" else b"\xa5\x5a\x17")
        if half == size:
            with timeline.open(path, INLINE) as db:
                assert picture_of(db, twin.users) == twin.expected()
        else:
            with pytest.raises(CorruptError):
                timeline.open(path, INLINE)


def test_a_missing_mark_hides_nothing(twin: Twin, directory: Path) -> None:
    path = directory / "copy"
    shutil.copytree(twin.path, path)
    (path / "MARK").unlink()
    with timeline.open(path, INLINE) as db:
        assert picture_of(db, twin.users) == twin.expected()


@pytest.fixture
def damaged_log(directory: Path) -> Path:
    """A store of 20 commits in `interval` durability, none fsynced, the 13th damaged."""
    path, copy = directory / "whole", directory / "damaged"
    options = timeline.Options(
        durability="interval", interval_ms=10**9, fsync="inline", search=False
    )  # an index is written to while it is copied
    with timeline.open(path, options) as db:
        for number in range(20):
            db.timeline("a").append({"n": str(number), "pad": "x" * 100})
        shutil.copytree(path, copy)
    wal = max((copy / "rocks").glob("*.log"), key=lambda file: file.stat().st_size)
    content = bytearray(wal.read_bytes())
    content[content.index(b"$2\r\n12\r\n") + 4] ^= 1
    wal.write_bytes(content)
    return copy


def test_interval_durability_cuts_damage_beyond_the_mark(damaged_log: Path) -> None:
    with timeline.open(damaged_log, durability="interval") as db:
        found = [entry.text("n") for entry in db.timeline("a").range()]
        assert found == [str(number) for number in range(12)]
        assert db.timeline("a").append({"n": "new"}) == 13
    with timeline.open(damaged_log) as db:
        assert db.timeline("a").head == 13


def test_the_same_damage_is_refused_where_every_commit_was_fsynced(damaged_log: Path) -> None:
    with pytest.raises(CorruptError):
        timeline.open(damaged_log)


def test_interval_durability_refuses_damage_below_the_mark(damaged_log: Path) -> None:
    mark = DurableMark(damaged_log / "MARK")
    mark.write(20)
    mark.close()
    with pytest.raises(CorruptError, match="acknowledged"):
        timeline.open(damaged_log, durability="interval")
