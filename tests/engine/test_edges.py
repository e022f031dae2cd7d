"""The promise: what lies at the edge of what is allowed works, or is refused by name: the highest
numbers, a clock that steps back, what was only just staged, nothing at all.
"""

from __future__ import annotations

import os
import shutil
import tracemalloc
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.stores import Clock, copy_as_killed, seqs
from timeline.embedded.database import Database
from timeline.errors import SequenceError, WrongTypeError
from timeline.formats import keys
from timeline.formats.rows import INBOX

SECONDS = 20.0  # how long a future may take before the test says that it hangs
LAST = keys.LAST


def test_a_write_with_nothing_to_do_returns(db: Database) -> None:
    absent = db.timeline("absent")
    assert absent.drop() is False
    assert absent.delete(1) == 0
    assert absent.trim(before=5) == 0
    assert absent.append_many([]) == range(0)
    absent.append({"a": "1"})
    assert absent.trim(length=7) == 0
    with db.transaction():
        pass
    db.flush()


def test_the_last_number_is_the_last(db: Database) -> None:
    handle = db.timeline("a")
    with pytest.raises(SequenceError):
        handle.append({"a": "1"}, seq=LAST + 1)
    assert handle.append({"a": "1"}, seq=LAST) == LAST
    for write in (
        lambda: handle.append({"a": "2"}),
        lambda: handle.append_many([{"a": "2"}]),
        lambda: handle.append({"a": "2"}, seq=LAST + 1),
    ):
        with pytest.raises(SequenceError):
            write()
    assert db.timeline("b").append({"a": "1"}) == 1
    db.engine.seal()
    assert seqs(db, "a") == [LAST]
    assert [entry.seq for entry in handle.range(reverse=True)] == [LAST]
    assert handle.trim(length=0) == 1
    db.engine.seal()
    assert seqs(db, "a") == []
    assert handle.head == LAST


def test_a_segment_may_span_almost_all_numbers(db: Database) -> None:
    handle = db.timeline("a")
    numbers = [1, 2, 2**40, 2**62, LAST - 1, LAST]
    for number in numbers:
        handle.append({"a": str(number)}, seq=number)
    db.engine.seal()
    db.timeline("b").append_many([{"b": "1"}] * 3)
    db.engine.seal()
    db.timeline("b").delete(2)
    assert seqs(db, "a") == numbers
    assert handle.delete(2**40, LAST) == 2
    assert seqs(db, "a") == [1, 2, 2**62, LAST - 1]
    db.compact()
    assert [entry.seq for entry in handle.range(reverse=True)] == [LAST - 1, 2**62, 2, 1]
    assert handle.trim(length=1) == 3
    db.compact()
    assert seqs(db, "a") == [LAST - 1]
    assert handle.head == LAST


def test_an_id_is_never_given_out_again(tmp_path: Path) -> None:
    """Not even that of a timeline made and dropped in one commit, after a kill."""
    db = timeline.open(tmp_path / "store")
    with db.transaction() as write:
        write.append("a", {"a": "1"})
        write.drop("a")
    copy_as_killed(db, tmp_path / "copy")
    db.close()
    with timeline.open(tmp_path / "copy") as copy:
        copy.timeline("b").append({"a": "1"})
    with timeline.open(tmp_path / "copy") as copy:
        assert seqs(copy, "b") == [1]


def test_a_transaction_may_touch_more_timelines_than_are_kept_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "store"
    names = [f"t{number}" for number in range(200)]
    with timeline.open(path, timeline_cache=2) as db:
        for name in names:
            db.timeline(name).append({"a": "1"})
    with timeline.open(path, timeline_cache=2) as db:
        with db.transaction() as write:
            for turn in (2, 3):
                assert {write.append(name, {"a": "2"}) for name in names} == {turn}
        assert all(seqs(db, name) == [1, 2, 3] for name in names)
        assert db.engine.figures().loaded_timelines != 0


def test_an_in_box_takes_no_entries(db: Database) -> None:
    with db.engine.lock:
        draft = db.engine.begin()
        draft.create(b"box", INBOX)
        draft.commit()
    db.flush()
    with pytest.raises(WrongTypeError):
        db.timeline("box").append({"a": "1"})
    with pytest.raises(WrongTypeError):
        db.timeline("box").append_many([{"a": "1"}])


def test_time_never_falls_along_a_timeline(tmp_path: Path) -> None:
    """Not when the clock steps back, not across a restart, not across a kill."""
    path = tmp_path / "store"
    with Clock().installed() as clock:
        times = []
        for number in range(4):
            db = timeline.open(path)
            handle = db.timeline("a")
            handle.append({"a": "1"})
            clock.now -= 10_000
            handle.append({"a": "2"})
            times = [entry.time for entry in handle.range()]
            assert times == sorted(times)
            assert len(list(handle.range(since=times[-1]))) >= 2
            if number % 2:
                copy_as_killed(db, tmp_path / "copy")
                db.close()
                shutil.rmtree(path)
                (tmp_path / "copy").rename(path)
            else:
                db.close()
    assert len(times) == 8


def test_a_delete_under_way_bears_an_append_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that memory has of the timeline is then a row that nobody may see yet."""
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        handle = db.timeline("t")
        handle.append({"a": "1"})
        db.engine.seal()
        behind: list[Future[int]] = []
        write = os.pwritev

        def stage_another(*arguments: Any) -> int:  # noqa: ANN401
            if not behind:
                behind.append(handle.append_async({"a": "2"}))
            return write(*arguments)

        monkeypatch.setattr(os, "pwritev", stage_another)  # by which a group is written
        assert handle.delete(1) == 1
        db.flush()
        assert behind[0].result(SECONDS) == 2
        assert seqs(db, "t") == [2]


def test_deleting_what_is_staged_looks_at_those_entries_only(tmp_path: Path) -> None:
    """Counted in bytes, not timed: a pipeline that deletes what it adds holds the engine meanwhile,
    and each entry that is looked at is copied.
    """
    count, size = 200, 5_000
    copied = 0
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        handle = db.timeline("t")
        handle.append({"a": "0"})
        with db.engine.lock:
            for _ in range(count):
                db.engine.appender.append(b"t", [b"a", b"1" * size])
            tracemalloc.start()
            try:
                for seq in range(1, count):
                    draft = db.engine.begin()
                    found = draft.find(b"t")
                    assert found is not None
                    tracemalloc.reset_peak()
                    before, _ = tracemalloc.get_traced_memory()
                    assert draft.delete(found, [seq]) == 1
                    assert draft.delete(found, [seq]) == 0
                    _, most = tracemalloc.get_traced_memory()
                    copied += most - before
                    draft.commit()
            finally:
                tracemalloc.stop()
        db.flush()
        assert seqs(db, "t") == [count, count + 1]
    assert count * size < copied < 5 * count * size
