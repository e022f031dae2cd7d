"""The promise: many timelines are compacted a slice at a time, each slice wholly or not at all, and
at the end each is as if it had been compacted alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from timeline.admin.compact import compact, gain
from timeline.embedded.database import Database
from timeline.errors import StallError, StorageError
from timeline.formats.keys import pair, split_pair
from timeline.formats.segments import Segment
from timeline.options import Options
from timeline.storage.rocks import PATCHES, SEGMENTS
from timeline.verification import verify

OPTIONS = Options(fsync="inline", segment_entries=16, compact_after=10**6, search=False)
EVERYTHING = (b"", b"\xff" * 17)

Picture = dict[str, list[tuple[int, str]]]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Timelines with all that compaction has to do with: many segments, few, none; patches on the
    disk, in memory, of what was trimmed and of what no segment holds; dropped ones.
    """
    draw = random.Random(5)
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        names = [f"t{number}" for number in range(30)]
        db.timeline("long").append({"n": "0"})
        for turn in range(6):
            for name in names:
                if draw.random() < 0.7:
                    count = draw.choice([1, 2, 3, 9, 17])
                    db.timeline(name).append_many([{"n": f"{turn} {name}"}] * count)
            db.engine.seal()
        for _ in range(150):
            db.timeline("long").append({"n": "1"})
            db.engine.seal()
        for name in names[::3]:
            change(db, name, draw)
        db.engine.seal()
        db.timeline("t4").drop()
        db.timeline("t6").trim(length=0)
        db.timeline("long").delete(*range(40, 60))
        db.engine.seal()
        for name in names[1::3]:
            change(db, name, draw)
        yield db


def change(db: Database, name: str, draw: random.Random) -> None:
    handle = db.timeline(name)
    if db.engine.view.find(name.encode()) is None or not len(handle):
        return
    first, head, _ = handle.extent()[:3]
    for _ in range(4):
        seq = draw.randint(first, head)
        if handle.get(seq) is not None:
            handle.replace(seq, {"n": "another"})
        handle.delete(draw.randint(first, head))
    if draw.random() < 0.5:
        handle.trim(before=draw.randint(first, head))


def picture(db: Database) -> Picture:
    return {
        name.decode(): [(entry.seq, entry.text("n")) for entry in db.timeline(name.decode())]
        for name, _ in db.engine.view.each()
    }


def ids(db: Database) -> list[int]:
    return sorted(timeline_id for _, timeline_id in db.engine.view.each())


def rows(db: Database, family: str) -> list[tuple[bytes, bytes]]:
    return list(db.engine.store.storage.scan(family, *EVERYTHING))


def test_many_together_end_as_each_alone(db: Database, tmp_path: Path) -> None:
    copy_as_killed(db, tmp_path / "alone")
    before = picture(db)
    with timeline.open(tmp_path / "alone", OPTIONS) as alone:
        alone.engine.seal()
        fewer = 0
        for timeline_id in reversed(ids(alone)):
            with alone.engine.standing_still():
                fewer += sum(alone.engine.store.compaction.whole(timeline_id))
        assert compact(db.engine) == fewer > 150
        assert rows(db, SEGMENTS) == rows(alone, SEGMENTS)
        assert rows(db, PATCHES) == rows(alone, PATCHES) == []
        assert picture(db) == picture(alone) == before


def test_no_two_small_neighbours_are_left_and_none_holds_what_was_trimmed(db: Database) -> None:
    compact(db.engine)
    counts: dict[int, list[int]] = {}
    for key, value in rows(db, SEGMENTS):
        segment = Segment(key, value)
        owner = split_pair(key)[0]
        counts.setdefault(owner, []).append(segment.count)
        with db.engine.lock:
            (first,) = db.engine.timelines.firsts([owner])
        assert first is not None
        assert segment.first >= first
    assert len(counts) > 20
    for sizes in counts.values():
        small = sum(max(two) < 8 for two in pairwise(sizes))
        assert small == 0 or (small <= 2 and sum(sizes) > 100)  # 64 are read in one go
    assert max(map(len, counts.values())) < 20


@pytest.mark.parametrize("limit", [1, 2, 3, 64])
def test_a_kill_between_any_two_slices_loses_nothing(
    db: Database, tmp_path: Path, limit: int
) -> None:
    db.engine.seal()
    before = picture(db)
    with db.engine.lock:
        traversal = db.engine.store.compaction.traversal(ids(db))
        traversal._most_segments = max(2, limit)
        traversal._most = limit
    slices = 0
    while not traversal.ended:
        with db.engine.standing_still():
            traversal.slice(0.0)
        if slices % 16 == 0:
            assert picture(db) == before
            path = copy_as_killed(db, tmp_path / f"killed{slices}")
            with timeline.open(path, OPTIONS) as killed:
                assert picture(killed) == before
            assert verify(path, index="none").sound
        slices += 1
    assert slices > 30
    assert picture(db) == before
    assert rows(db, PATCHES) == []


def test_a_slice_that_met_a_stall_is_done_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = picture(db)
    storage = db.engine.store.storage
    stalls = 0

    def stall() -> None:
        nonlocal stalls
        stalls += 1
        if stalls % 3:
            raise StallError("RocksDB asks for a pause")

    def begin(done: int, _: int) -> None:
        storage.before_write = stall if done < len(ids(db)) else None

    db.engine.seal()
    expected = gain(db.engine)
    monkeypatch.setattr("timeline.admin.compact._SLICE_SECONDS", 0.0)
    assert compact(db.engine, progress=begin) == expected.segments - expected.after
    assert stalls > 30
    assert picture(db) == before
    assert rows(db, PATCHES) == []


def test_what_would_be_gained_is_gained_and_nothing_more_is_to_gain(db: Database) -> None:
    db.engine.seal()
    stored = rows(db, SEGMENTS), rows(db, PATCHES)
    would = gain(db.engine)
    assert (rows(db, SEGMENTS), rows(db, PATCHES)) == stored, "asking changes nothing"
    assert compact(db.engine) == would.segments - would.after
    left = sum(len(value) for _, value in rows(db, SEGMENTS))
    assert 0 <= left - (would.size - would.freed) < would.freed // 10  # numbers of a gap are new


def test_more_patches_than_are_read_in_one_go(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        handle = db.timeline("a")
        handle.append_many([{"n": "1"}] * 3_000)
        db.timeline("b").append({"n": "2"})
        db.engine.seal()
        handle.delete(*range(1, 2_900))
        db.timeline("b").replace(1, {"n": "3"})
        db.engine.seal()
        compact(db.engine)
        assert rows(db, PATCHES) == []
        assert [entry.seq for entry in handle] == list(range(2_900, 3_001))
        assert [entry.text("n") for entry in db.timeline("b")] == ["3"]
        assert len(rows(db, SEGMENTS)) < 20


def test_segments_that_stay_are_not_looked_into(tmp_path: Path) -> None:
    """Readers and `verify` report their damage: it keeps nobody from compacting the others."""
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        for name, turns in (("full", 1), ("small", 3)):
            for _ in range(turns):
                db.timeline(name).append_many([{"n": "1"}] * (16 // turns))
                db.engine.seal()
        storage = db.engine.store.storage
        (full, *_) = rows(db, SEGMENTS)
        batch = storage.batch()
        batch.put(SEGMENTS, full[0], full[1][:-1] + b"?")
        storage.write(batch)
        assert compact(db.engine) == 2


def test_damage_to_a_merged_segment_is_told_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        for _ in range(3):
            db.timeline("a").append({"n": "1"})
            db.engine.seal()
        storage = db.engine.store.storage
        key, value = rows(db, SEGMENTS)[1]
        batch = storage.batch()
        batch.put(SEGMENTS, key, value[:-9] + b"?" + value[-8:])
        storage.write(batch)
        stored = rows(db, SEGMENTS)
        with pytest.raises(timeline.errors.CorruptError, match="ends at 2"):
            compact(db.engine)
        assert rows(db, SEGMENTS) == stored


def test_it_goes_on_in_a_storage_that_was_opened_again(db: Database) -> None:
    before = picture(db)
    turns = 0

    def heal(done: int, _: int) -> None:
        nonlocal turns
        turns += 1
        if done == 5 and turns < 20:
            db.engine.pipeline.poison(StorageError("Input/output error"))
            while db.engine.refusal is not None:
                db.engine.work()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
        patch.setattr("timeline.admin.compact._SLICE_SECONDS", 0.0)
        compact(db.engine, progress=heal)
    assert picture(db) == before
    assert rows(db, PATCHES) == []


def test_timelines_beside_the_chosen_ones_stay(db: Database) -> None:
    db.engine.seal()
    chosen = [db.engine.view.find(name) for name in (b"t1", b"t10", b"t19")]
    owners = sorted(each.id for each in chosen if each is not None)
    others = [row for row in rows(db, SEGMENTS) if split_pair(row[0])[0] not in owners]
    with db.engine.standing_still():
        traversal = db.engine.store.compaction.traversal(owners)
        while not traversal.ended:
            traversal.slice()
    assert [row for row in rows(db, SEGMENTS) if split_pair(row[0])[0] not in owners] == others
    for owner in owners:
        storage = db.engine.store.storage
        assert not list(storage.keys(PATCHES, pair(owner, 0), pair(owner + 1, 0)))
