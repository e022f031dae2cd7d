"""The promise: compaction makes fewer segments, changes no answer, and can be told beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from timeline.admin.compact import compact, gain
from timeline.errors import NotFoundError


@pytest.fixture
def db(tmp_path: Path) -> Iterator[timeline.Database]:
    """Two timelines of three segments each."""
    with timeline.open(tmp_path / "data", search=False, fsync="inline") as db:
        for number in range(3):
            for name in ("a", "b"):
                db.timeline(name).append({"n": str(number)})
            db.engine.seal()
        yield db


def segments(db: timeline.Database, name: str) -> int:
    return len(db.timeline(name).inspect().segments)


def test_the_segments_of_one_timeline_are_merged(db: timeline.Database) -> None:
    would = gain(db.engine, b"a")
    assert (would.segments, would.after) == (3, 1)
    assert compact(db.engine, b"a") == 2
    assert (segments(db, "a"), segments(db, "b")) == (1, 3)
    assert [entry.text("n") for entry in db.timeline("a")] == ["0", "1", "2"]
    assert compact(db.engine, b"a") == 0


def test_all_are_merged_and_progress_hears_of_each(db: timeline.Database) -> None:
    heard = []
    assert compact(db.engine, progress=lambda done, total: heard.append((done, total))) == 4
    assert {(0, 2), (1, 2), (2, 2)} <= set(heard)
    assert (segments(db, "a"), segments(db, "b")) == (1, 1)


def test_what_is_done_is_done_when_the_listener_ends_it(db: timeline.Database) -> None:
    def stop(done: int, _: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact(db.engine, progress=stop)
    assert (segments(db, "a"), segments(db, "b")) == (1, 3)


def test_a_timeline_that_is_not_there_is_refused(db: timeline.Database) -> None:
    with pytest.raises(NotFoundError, match="no timeline 'c'"):
        compact(db.engine, b"c")
