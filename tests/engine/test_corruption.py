"""Damage on the disk is reported where it lies; wrong content is never served.

A bit is flipped in the files of the log, in RocksDB's table files, in a segment, an in-box, a log
record: what is read is what was written or a `CorruptError`, and the rest of the store is served.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

import timeline
from tests.engine.oracle import Items
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    small_steps,
)
from tests.engine.twin import Twin, picture_of, plain, scenario
from timeline.embedded.database import Database
from timeline.embedded.handle import TimelineHandle
from timeline.errors import CorruptError
from timeline.formats.logfiles import (
    FRAME_BYTES,
    HEADER_BYTES,
    decode_file_header,
    decode_frame,
    encode_frame,
    framed_size,
    salted,
)
from timeline.formats.numbers import NO_LSN
from timeline.log.file import LogFile
from timeline.storage.rocks import FAMILIES, INBOXES, SEGMENTS

INLINE = replace(SMALL, fsync="inline", write_buffer_bytes=2**25, log_file_bytes=8_192)


@pytest.fixture(autouse=True)
def no_shared_block_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one store have one identity to RocksDB, whose cache would hide the damage."""
    monkeypatch.setattr("timeline.storage.tuning._caches", Forgetful())


class Forgetful(dict[int, object]):
    def setdefault(self, _: int, default: object = None) -> object:
        return default


@pytest.fixture
def twin(directory: Path) -> Iterator[Twin]:
    """A store whose newest commits are in the log only. What is below them is sealed and flushed,
    and stays in the log.
    """
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", INLINE, clock)
        twin.do(("move", b"keeps the log", 0))
        for step in scenario(40, 21):
            if step[0] not in ("drop", "compact"):
                twin.do(step)
        twin.db.engine.seal()
        twin.db.engine.store.flush()
        for number in range(6):
            twin.do(("append", b"a", b"new %d" % number))
        yield twin
        abandon(twin.db)


class Frame(NamedTuple):
    """A record in a file of the log, and where."""

    file: Path
    place: int
    first: int
    last: int
    size: int

    @property
    def body(self) -> int:
        """Where its record begins."""
        return self.place + FRAME_BYTES


def frames_of(path: Path) -> list[Frame]:
    """What is in the log of the store at `path`."""
    found = []
    for file in sorted((path / "log").glob("*.log")):
        opened = LogFile.open(file, read_only=True)
        assert opened is not None
        for place, first, last, _, size in opened.frames():
            found.append(Frame(file, place, first, last, size))
    return found


def spoil(frame: Frame) -> None:
    """Change the record in a frame and let the frame be whole, as if it was written so."""
    before = frame.file.read_bytes()
    header = decode_file_header(before[:HEADER_BYTES])
    assert header is not None
    seed = salted(header.salt)
    old = decode_frame(seed, before, frame.place)
    assert old is not None
    content = bytearray(before)
    body = content[frame.body : frame.body + frame.size]
    body[len(body) // 2] ^= 0x10
    content[frame.place : frame.body] = encode_frame(
        seed, frame.first, frame.last, old.flags, bytes(body)
    )
    content[frame.body : frame.body + frame.size] = body
    frame.file.write_bytes(content)


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


def test_a_flipped_bit_anywhere_in_the_log_is_refused_by_file_or_costs_nothing(
    twin: Twin, directory: Path
) -> None:
    draw = random.Random(3)
    sealed = twin.db.engine.store.sealing.sealed
    frames = frames_of(twin.path)
    assert len({frame.file for frame in frames}) > 1
    needed = [frame for frame in frames if frame.first > sealed]
    assert 5 <= len(needed) < len(frames)
    refused: list[str] = []
    for file in sorted({frame.file for frame in frames}):
        for position in sorted(draw.sample(range(file.stat().st_size), 40)):
            path = directory / "copy"
            copy_as_killed(twin.db, path)
            flip(path / "log" / file.name, position, draw.randrange(8))
            try:
                db = timeline.open(path, INLINE)
            except CorruptError as error:
                refused.append(f"{file.name}: {error}")
            else:
                assert picture_of(db, twin.users) == twin.expected(), f"{file.name} {position}"
                db.close()
            shutil.rmtree(path)
    assert refused
    assert all(each.count(each.split(":")[0]) > 1 for each in refused), "the file is named"


@pytest.mark.parametrize("read_only", [False, True])
def test_every_record_that_is_needed_is_refused_with_any_of_its_bits_flipped(
    twin: Twin, directory: Path, read_only: bool
) -> None:
    sealed = twin.db.engine.store.sealing.sealed
    needed = [frame for frame in frames_of(twin.path) if frame.first > sealed]
    draw = random.Random(4)
    for frame in needed:
        head = draw.randrange(FRAME_BYTES)
        for at in (head, FRAME_BYTES, FRAME_BYTES + frame.size - 1):
            path = directory / "copy"
            copy_as_killed(twin.db, path)
            flip(path / "log" / frame.file.name, frame.place + at, draw.randrange(8))
            with pytest.raises(CorruptError, match=f"{frame.file.name}.*(damaged at|ends at)"):
                timeline.open(path, INLINE, read_only=read_only)
            shutil.rmtree(path)


@pytest.mark.parametrize("at", ["head", "body"])
def test_a_flipped_bit_in_a_sealed_record_stops_its_followers_only(
    twin: Twin, directory: Path, at: str
) -> None:
    sealed = twin.db.engine.store.sealing.sealed
    frames = [frame for frame in frames_of(twin.path) if frame.first <= frame.last <= sealed]
    for frame in frames[::5]:
        path = directory / "copy"
        copy_as_killed(twin.db, path)
        place = frame.place if at == "head" else frame.body
        flip(path / "log" / frame.file.name, place + 9, 3)
        with timeline.open(path, INLINE) as db:
            assert picture_of(db, twin.users) == twin.expected()
            with pytest.raises(CorruptError, match=frame.file.name):
                db.log.read(after=frame.first - 1, limit=10**6)
            assert db.log.read(after=sealed, limit=10**6)[-1].lsn == twin.oracle.lsn
        shutil.rmtree(path)


@pytest.mark.parametrize("copies", [(100,), (600,), (40, 560)], ids=["one", "other", "both"])
def test_a_file_of_the_log_needs_one_of_its_headers(
    twin: Twin, directory: Path, copies: tuple[int, ...]
) -> None:
    """Bits in what follows the fields of a header carry nothing."""
    files = sorted((twin.path / "log").glob("*.log"))
    for file in (files[0], files[-1]):
        path = directory / "copy"
        copy_as_killed(twin.db, path)
        for position in copies:
            flip(path / "log" / file.name, position // 512 * 512 + position % 40, 1)
        if len(copies) == 2:
            with pytest.raises(CorruptError, match=f"{file.name} is damaged at byte 0"):
                timeline.open(path, INLINE)
        else:
            with timeline.open(path, INLINE) as db:
                assert picture_of(db, twin.users) == twin.expected()
        shutil.rmtree(path)


def test_what_lies_in_the_unused_end_of_a_file_is_not_looked_at(
    twin: Twin, directory: Path
) -> None:
    for frame in {frame.file: frame for frame in frames_of(twin.path)}.values():
        path = directory / "copy"
        copy_as_killed(twin.db, path)
        size = frame.file.stat().st_size
        end = frame.place + framed_size(frame.size)
        if end < size:
            flip(path / "log" / frame.file.name, (end + size) // 2, 5)
        with timeline.open(path, INLINE) as db:
            assert picture_of(db, twin.users) == twin.expected()
            twin_lsn = twin.oracle.lsn
            db.timeline("more").append({"n": "1"})
        with timeline.open(path, INLINE) as db:
            assert db.engine.applied == twin_lsn + 1
        shutil.rmtree(path)


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


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_damaged_record_refuses_the_opening_while_it_is_needed(
    twin: Twin, directory: Path, which: int, read_only: bool
) -> None:
    """A record that was damaged before it was written: its frame is whole."""
    sealed = twin.db.engine.store.sealing.sealed
    copy_as_killed(twin.db, directory / "copy")
    frame = [each for each in frames_of(directory / "copy") if each.first > sealed][which]
    spoil(frame)
    with pytest.raises(CorruptError, match=rf"\b{frame.last}\b"):
        timeline.open(directory / "copy", INLINE, read_only=read_only)


def test_a_damaged_record_that_is_sealed_stops_its_followers_only(twin: Twin) -> None:
    sealed = twin.db.engine.store.sealing.sealed
    frame = [each for each in frames_of(twin.path) if each.first <= each.last <= sealed][5]
    spoil(frame)
    with pytest.raises(CorruptError, match=rf"\b{frame.last}\b"):
        twin.db.log.read(limit=10**6)
    twin.db.close()
    twin.db = timeline.open(twin.path, INLINE)
    twin.check()
    with pytest.raises(CorruptError, match=rf"\b{frame.last}\b"):
        twin.db.log.read(limit=10**6)
    assert twin.db.log.read(after=frame.last, limit=10**6)[-1].lsn == twin.oracle.lsn


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("lost", ["MANIFEST-* gone", "MANIFEST-* cut", "CURRENT gone"])
def test_what_rocksdb_finds_its_files_by_is_damage_when_it_is_lost(
    directory: Path, lost: str, read_only: bool
) -> None:
    """Whoever opens it, and whatever RocksDB calls it. The log is whole."""
    with timeline.open(directory / "store", INLINE) as db:
        db.timeline("a").append({"n": "1"})
        copy_as_killed(db, directory / "copy")
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
