"""Damage on the disk is reported where it lies; wrong content is never served.

A bit is flipped in the WAL, in RocksDB's table files, in a segment, an in-box, a log record: what
is read is what was written or a `CorruptError`, and the rest of the store goes on being served.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import timeline
from tests.engine.oracle import Items
from tests.engine.stores import SMALL, Clock, abandon, scratch_directory, small_steps
from tests.engine.twin import Twin, picture_of, plain, scenario
from timeline.embedded.database import Database
from timeline.embedded.handle import TimelineHandle
from timeline.errors import CorruptError
from timeline.formats.numbers import NO_LSN
from timeline.storage.rocks import FAMILIES, INBOXES, LOG, SEGMENTS

INLINE = replace(SMALL, fsync="inline", write_buffer_bytes=2**25)


@pytest.fixture(autouse=True)
def no_shared_block_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one store have one identity to RocksDB, whose cache would hide the damage."""
    monkeypatch.setattr("timeline.storage.tuning._caches", Forgetful())


class Forgetful(dict[int, object]):
    def setdefault(self, _: int, default: object = None) -> object:
        return default


@pytest.fixture
def directory() -> Iterator[Path]:
    path = scratch_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def twin(directory: Path) -> Iterator[Twin]:
    """A store whose newest commits are in the log only."""
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", INLINE, clock)
        twin.db.log.move("keeps the log", 0)
        for step in scenario(40, 21):
            if step[0] not in ("drop", "compact"):
                twin.do(step)
        twin.do(("append", b"a", b"the newest"))
        yield twin
        abandon(twin.db)


def flip(path: Path, position: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes((byte ^ 1 << bit,)))


def extent_of(handle: TimelineHandle) -> list[int]:
    return list(handle.extent()[:4])


def entries_of(handle: TimelineHandle, *, reverse: bool = False) -> list[tuple[int, int, Items]]:
    return plain(list(handle.range(reverse=reverse)))


def references_of(db: Database, inbox: int) -> list[tuple[int, int, int, int]]:
    found = db.engine.inboxes.read(inbox, NO_LSN, -1, 10**6)
    return [reference[:4] for reference, _ in found]


def read_what_can_be_read(db: Database, twin: Twin) -> tuple[int, int]:
    """Compare each timeline and in-box with what it should be: (right, reported as damaged)."""
    timelines, inboxes = twin.expected()
    right = damaged = 0
    reads: list[tuple[Callable[[], object], object]] = [
        (lambda: list(db.timelines()), sorted(timelines)),
        (lambda: db.log.read(limit=10**6)[-1].lsn, twin.oracle.lsn),
    ]
    for name, (*extent, entries) in timelines.items():
        handle = db.timeline(name)
        reads += [
            (partial(extent_of, handle), extent),
            (partial(entries_of, handle), entries),
            (partial(entries_of, handle, reverse=True), entries[::-1]),
        ]
    reads += [(partial(references_of, db, inbox), found) for inbox, found in inboxes.items()]
    for read, expected in reads:
        try:
            assert read() == expected, "other content was served"
            right += 1
        except CorruptError:
            damaged += 1
    return right, damaged


def test_a_flipped_bit_in_the_wal_is_found_when_opening(twin: Twin, directory: Path) -> None:
    (wal,) = (twin.path / "rocks").glob("*.log")
    draw = random.Random(3)
    refused = 0
    for position in sorted(draw.sample(range(wal.stat().st_size), 70)):
        path = directory / "copy"
        shutil.copytree(twin.path, path)
        flip(path / "rocks" / wal.name, position, draw.randrange(8))
        try:
            db = timeline.open(path, INLINE)
        except CorruptError:
            refused += 1
        else:
            # A bit that carries nothing (padding of a block, say).
            assert picture_of(db, twin.users) == twin.expected(), f"byte {position}"
            db.close()
        shutil.rmtree(path)
    assert refused > 60


def test_a_flipped_bit_in_a_table_file_is_an_error_or_nothing(twin: Twin, directory: Path) -> None:
    twin.db.compact()
    twin.do(("append", b"a", b"after"))
    twin.db.close()
    tables = sorted((twin.path / "rocks").glob("*.sst"))
    assert tables
    draw = random.Random(4)
    partly = refused = 0
    for round_ in range(90):
        table = tables[round_ % len(tables)]
        path = directory / "copy"
        shutil.copytree(twin.path, path)
        flip(path / "rocks" / table.name, draw.randrange(table.stat().st_size), draw.randrange(8))
        try:
            db = timeline.open(path, INLINE)
        except CorruptError:
            refused += 1
        else:
            right, damaged = read_what_can_be_read(db, twin)
            partly += bool(right and damaged)
            abandon(db)
        shutil.rmtree(path)
    assert refused + partly > 30
    twin.db = timeline.open(twin.path, INLINE)


def damage(db: Database, family: str, key: bytes, *, at: int = -1) -> None:
    """Flip a bit of a stored value, as if the disk had done so below RocksDB's checksums."""
    storage = db.engine.store.storage
    value = bytearray(storage.get(family, key) or b"")
    value[at if at >= 0 else len(value) // 2] ^= 0x10
    batch = storage.batch()
    batch.put(family, key, bytes(value))
    storage.write(batch)


def keys_of(db: Database, family: str) -> list[bytes]:
    return list(db.engine.store.storage.keys(family, b"", b"\xff" * 17))


def test_a_damaged_segment_hurts_its_own_range_only(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", segment_entries=10) as db:
        for name in ("a", "b"):
            db.timeline(name).append_many([{"n": str(n)} for n in range(50)])
    with timeline.open(tmp_path / "store", segment_entries=10) as db:
        a = db.engine.view.find(b"a")
        assert a is not None
        keys = [key for key in keys_of(db, SEGMENTS) if key[:8] == a.id.to_bytes(8, "big")]
        assert len(keys) == 5
        damage(db, SEGMENTS, keys[2])  # entries 21 to 30
        handle = db.timeline("a")
        with pytest.raises(CorruptError, match=rf"timeline {a.id} .*30"):
            list(handle.range())
        assert [entry.seq for entry in handle.range(last=20)] == list(range(1, 21))
        assert [entry.seq for entry in handle.range(first=31)] == list(range(31, 51))
        assert [entry.seq for entry in handle.range(first=31, reverse=True)][-1] == 31
        assert len(list(db.timeline("b").range())) == 50
        assert handle.append({"n": "new"}) == 51
        assert handle.get(51) is not None
        assert db.timeline("b").compact() >= 0


@pytest.mark.parametrize("part", range(12))
def test_no_byte_of_a_segment_may_change_unseen(tmp_path: Path, part: int) -> None:
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        handle = db.timeline("a")
        handle.append_many([{"n": str(n), "m": "x" * n} for n in range(9)])
        db.engine.seal()
        before = plain(list(handle.range()))
        (key,) = keys_of(db, SEGMENTS)
        size = len(db.engine.store.storage.get(SEGMENTS, key) or b"")
        timeline_object = db.engine.view.find(b"a")
        assert timeline_object is not None
        for position in range(part, size, 12):
            damage(db, SEGMENTS, key, at=position)
            db.engine.timelines.ranges.cache.forget(timeline_object)
            with pytest.raises(CorruptError):
                list(handle.range())
            damage(db, SEGMENTS, key, at=position)
        assert plain(list(handle.range())) == before


def test_a_damaged_in_box_is_named_and_the_others_are_read(twin: Twin) -> None:
    twin.db.engine.seal()
    keys = keys_of(twin.db, INBOXES)
    owner = int.from_bytes(keys[0][:8], "big")
    damage(twin.db, INBOXES, keys[0])
    with pytest.raises(CorruptError, match=rf"in-box {owner} "):
        twin.db.engine.inboxes.read(owner, NO_LSN, -1, 10**6)
    others = [user for user in twin.users if user != owner]
    assert others
    for user in others:
        assert references_of(twin.db, user) == twin.expected()[1][user]


def test_a_damaged_record_refuses_the_opening_while_it_is_needed(
    twin: Twin, directory: Path
) -> None:
    key = keys_of(twin.db, LOG)[-1]
    damage(twin.db, LOG, key)
    shutil.copytree(twin.path, directory / "copy")
    with pytest.raises(CorruptError, match=str(int.from_bytes(key, "big"))):
        timeline.open(directory / "copy", INLINE)


def test_a_damaged_record_that_is_sealed_stops_its_followers_only(twin: Twin) -> None:
    twin.db.engine.seal()
    key = keys_of(twin.db, LOG)[5]
    damage(twin.db, LOG, key)
    with pytest.raises(CorruptError, match=str(int.from_bytes(key, "big"))):
        twin.db.log.read(limit=10**6)
    twin.db.close()
    twin.db = timeline.open(twin.path, INLINE)
    twin.check()
    assert twin.db.log.read(after=int.from_bytes(key, "big"), limit=10**6)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "lost", ["MANIFEST-* gone", "MANIFEST-* cut", "CURRENT gone", "*.log gone"]
)
def test_what_rocksdb_finds_its_files_by_is_damage_when_it_is_lost(
    directory: Path, lost: str, read_only: bool
) -> None:
    """Whoever opens it, and whatever RocksDB calls it; in a store that was never flushed too."""
    with timeline.open(directory / "store", INLINE) as db:
        db.timeline("a").append({"n": "1"})
        shutil.copytree(directory / "store", directory / "copy")
    name, how = lost.split()
    for file in (directory / "copy" / "rocks").glob(name):
        if how == "gone":
            file.unlink()
        else:
            content = file.read_bytes()
            families = [content.index(family.encode()) for family in FAMILIES[1:]]
            file.write_bytes(content[: min(families) - 20])  # they come in any order
    with pytest.raises(CorruptError):
        timeline.open(directory / "copy", INLINE, read_only=read_only)
