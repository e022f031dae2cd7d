"""Power loss: what was never fsynced is gone, whole or in part, and what was fsynced is there.

A store is left as the disk might hold it: the WAL cut at a byte. RocksDB would open several of
these without a word; the durable mark is what tells a torn end, which is a crash, from a missing
one, which is damage.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, Clock, abandon, scratch_directory, small_steps
from tests.engine.twin import Twin, picture_of, scenario
from timeline.errors import CorruptError
from timeline.mark import DurableMark
from timeline.storage import Storage

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
