"""The promise: compaction changes no answer, and leaves fewer segments and no patches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.engine.store.store import Store
from timeline.options import Options
from timeline.storage.rocks import PATCHES, SEGMENTS

OPTIONS = Options(fsync="inline", segment_entries=16, compact_after=4, search=False)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as opened:
        yield opened


def sealed(db: Database, *parts: int) -> int:
    """Append so many entries and seal them, part by part; the id of the timeline."""
    for count in parts:
        db.timeline("a").append_many([{"n": "1"}] * count)
        seal(db)
    with db.engine.lock:
        found = db.engine.timelines.find(b"a")
    assert found is not None
    return found.id


def seal(db: Database) -> None:
    with db.engine.lock:
        db.engine.store.begin_pass()
        db.engine.store.finish_pass()


def keys(store: Store, family: str) -> list[int]:
    """The numbers at which the segments, or patches, of the store lie."""
    found = store.storage.keys(family, b"", b"\xff" * 17)
    return [int.from_bytes(key[8:], "big") for key in found]


def seqs(db: Database) -> list[int]:
    return [entry.seq for entry in db.timeline("a").range()]


def test_small_neighbours_are_merged_once_there_are_enough(db: Database) -> None:
    sealed(db, 2, 2, 2)
    compaction = db.engine.store.compaction
    assert not compaction.due()
    sealed(db, 2)
    assert (compaction.due(), compaction.waiting) == (True, 1)
    with db.engine.lock:
        compaction.step()
    assert keys(db.engine.store, SEGMENTS) == [8]
    assert seqs(db) == list(range(1, 9))
    assert not compaction.due()


def test_a_segment_much_larger_than_the_newer_ones_stays(db: Database) -> None:
    sealed(db, 7, 1, 1, 1)
    with db.engine.lock:
        db.engine.store.compaction.step()
    assert keys(db.engine.store, SEGMENTS) == [7, 10]


def test_the_gain_is_what_compacting_wholly_brings(db: Database) -> None:
    timeline_id = sealed(db, 3, 3, 3, 16, 3)
    compaction = db.engine.store.compaction
    with db.engine.lock:
        (gain,) = compaction.gain(timeline_id)
        assert (gain.segments, gain.after) == (5, 3)
        assert list(compaction.whole(timeline_id)) == [2]
    assert keys(db.engine.store, SEGMENTS) == [9, 25, 28]
    assert seqs(db) == list(range(1, 29))


def test_what_was_trimmed_or_deleted_is_left_out(db: Database) -> None:
    timeline_id = sealed(db, 4, 4)
    db.timeline("a").trim(before=3)
    db.timeline("a").delete(6)
    seal(db)
    store = db.engine.store
    assert keys(store, PATCHES) == [6]
    with db.engine.lock:
        assert sum(store.compaction.whole(timeline_id)) == 1
    assert (keys(store, SEGMENTS), keys(store, PATCHES)) == ([8], [])
    assert seqs(db) == [3, 4, 5, 7, 8]


def test_the_number_that_a_bound_of_bytes_keeps_is_found(db: Database) -> None:
    timeline_id = sealed(db, 16, 16, 16)
    compaction = db.engine.store.compaction
    with db.engine.lock:
        sizes = db.engine.store.storage.scan(SEGMENTS, b"", b"\xff" * 17)
        newest = [len(value) for _, value in sizes][-1]
        assert compaction.kept_bytes(timeline_id, newest) == 33
        assert compaction.kept_bytes(timeline_id, newest - 1) == 49
        assert compaction.kept_bytes(timeline_id, 1 << 20) == 0
