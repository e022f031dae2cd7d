"""What is to be forgotten is: retention runs by itself, the disk shrinks, recalled content is gone.

Files are searched byte by byte for content that may no longer be there; it is random, so that
compression leaves it as it is.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import Clock, seqs
from timeline.embedded.database import Database
from timeline.options import Options

SECONDS = 10.0
QUICK = Options(retention_check_ms=1, seal_after_ms=1, erase_after_ms=1, interval_ms=1)


def becomes_true(condition: Callable[[], bool]) -> bool:
    pause = threading.Event()
    for _ in range(int(SECONDS / 0.01)):
        if condition():
            return True
        pause.wait(0.01)
    return False


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path / "rocks").glob("*.sst"))


def on_disk(path: Path, content: bytes) -> list[str]:
    """The files that hold `content`."""
    found = []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        try:
            if content in file.read_bytes():
                found.append(file.name)
        except FileNotFoundError:  # it was let go meanwhile
            continue
    return found


def test_retention_by_length_runs_by_itself(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", QUICK) as db:
        handle = db.timeline("a")
        handle.set_retention(length=5)
        handle.append_many([{"n": "1"}] * 30)
        assert becomes_true(lambda: len(handle) == 5)
        assert seqs(db, "a") == list(range(26, 31))
        handle.set_retention()
        handle.append_many([{"n": "1"}] * 30)
        other = db.timeline("b")
        other.set_retention(length=1)
        other.append_many([{"n": "1"}] * 3)
        assert becomes_true(lambda: len(other) == 1)
        assert len(handle) == 35


def test_retention_by_age_runs_by_itself(tmp_path: Path) -> None:
    with Clock().installed() as clock, timeline.open(tmp_path / "store", QUICK) as db:
        handle = db.timeline("a")
        handle.append_many([{"n": "old"}] * 10)
        clock.now += 60_000
        handle.append_many([{"n": "new"}] * 10)
        handle.set_retention(age_ms=30_000)
        assert becomes_true(lambda: len(handle) == 10)
        clock.now += 60_000
        assert becomes_true(lambda: len(handle) == 0)
        assert handle.append({"n": "1"}) == 21


def test_retention_by_bytes_runs_by_itself(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", QUICK) as db:
        handle = db.timeline("a")
        handle.append_many([{"v": random.randbytes(1_000)} for _ in range(1_000)])
        handle.set_retention(bytes_=200_000)
        assert becomes_true(lambda: len(handle) < 250)
        assert len(handle) > 100
        assert handle.head == 1_000
        assert seqs(db, "a") == list(range(1_001 - len(handle), 1_001))


@pytest.mark.parametrize("how", ["trim", "drop", "delete"])
def test_the_disk_shrinks_by_what_was_removed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "store"
    with timeline.open(path, fsync="inline", search=False) as db:
        handle = db.timeline("a")
        for _ in range(10):
            handle.append_many([{"v": random.randbytes(1_000)} for _ in range(200)])
        db.timeline("kept").append({"v": "1"})
        db.compact()
        before = size(path)
        assert before > 1_900_000
        if how == "trim":
            handle.trim(length=10)
        elif how == "drop":
            handle.drop()
        else:
            handle.delete(*range(1, 1_991))
        db.compact()
        assert size(path) < before / 20
        assert len(handle) == (0 if how == "drop" else 10)
        assert seqs(db, "kept") == [1]


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "unsealed"])
@pytest.mark.parametrize("how", ["replace", "delete", "trim", "drop"])
def test_removed_content_is_gone_from_every_file_after_compaction(
    tmp_path: Path, how: str, sealed: bool
) -> None:
    path = tmp_path / "store"
    secret = random.randbytes(64)
    with timeline.open(path, fsync="inline", search=False) as db:
        handle = db.timeline("a")
        handle.append({"v": secret})
        handle.append({"v": "other"})
        if sealed:
            db.engine.seal()
        assert on_disk(path, secret)
        forget(db, how)
        db.timeline("b").append({"v": "the newest record of the log is kept"})
        db.compact()
        assert on_disk(path, secret) == []
        assert (handle.get(2) is None) == (how == "drop")


def forget(db: Database, how: str) -> None:
    handle = db.timeline("a")
    if how == "replace":
        handle.replace(1, {"v": "edited"})
    elif how == "delete":
        handle.delete(1)
    elif how == "trim":
        handle.trim(before=2)
    else:
        handle.drop()


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "unsealed"])
@pytest.mark.parametrize("how", ["replace", "delete"])
def test_recalled_content_leaves_the_disk_by_itself(tmp_path: Path, how: str, sealed: bool) -> None:
    path = tmp_path / "store"
    secret = random.randbytes(64)
    with timeline.open(path, replace(QUICK, fsync="inline", search=False)) as db:
        db.timeline("a").append({"v": secret})
        if sealed:
            db.engine.seal()
        forget(db, how)
        db.timeline("b").append({"v": "the newest record of the log is kept"})

        def gone() -> bool:
            db.engine.work()
            return not on_disk(path, secret)

        assert becomes_true(gone), f"still in {on_disk(path, secret)}"
        assert seqs(db, "b") == [1]


def test_the_patch_of_an_entry_that_no_segment_holds_goes_too(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        handle = db.timeline("a")
        handle.append({"n": "1"})
        handle.delete(1)
        db.engine.seal()
        storage = db.engine.store.storage
        assert len(list(storage.keys("patches", b"", b"\xff" * 17))) == 1
        handle.compact()
        assert list(storage.keys("patches", b"", b"\xff" * 17)) == []
        assert handle.extent()[:3] == (1, 1, 0)


def test_what_compacting_would_gain_is_what_it_gains(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        handle = db.timeline("a")
        for _ in range(6):
            handle.append_many([{"n": "x" * 40}] * 10)
            db.engine.seal()
        handle.replace(5, {"n": "y"})
        handle.trim(before=4)
        db.engine.seal()
        before = list(handle)
        gain = handle.gain()
        assert db.gain("a") == gain
        assert (gain.segments, gain.after) == (6, 1)
        assert list(handle) == before, "asking changes nothing"
        assert handle.compact() == gain.segments - gain.after
        after = handle.gain()
        assert after.size == gain.size - gain.freed
        assert (after.segments, after.freed) == (1, 0)
        with pytest.raises(timeline.errors.NotFoundError):
            db.timeline("none").gain()


def test_the_retention_of_a_conversation(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        db.messaging.create("team", "ann")
        handle = db.timeline("@conv:team")
        handle.set_retention(length=5)
        assert handle.retention() == (0, 5, 0)
        for name, error in (
            ("@conv:none", timeline.errors.NotFoundError),
            ("@event:team", timeline.errors.NoPermissionError),
        ):
            with pytest.raises(error):
                db.timeline(name).set_retention(length=5)


def test_compacting_tells_how_far_it_is_and_can_be_ended(tmp_path: Path) -> None:
    class EndedError(Exception):
        pass

    with timeline.open(tmp_path / "store", search=False) as db:
        for name in ("a", "b", "c", "other"):
            for number in range(4):
                db.timeline(name).append({"n": str(number)})
                db.engine.seal()
        told: list[tuple[int, int]] = []

        def end_at_the_second(done: int, total: int) -> None:
            told.append((done, total))
            if done == 1:
                raise EndedError

        with pytest.raises(EndedError):
            db.compact(progress=end_at_the_second)
        assert dict.fromkeys(told) == dict.fromkeys([(0, 4), (1, 4)])
        assert [db.timeline(name).gain().segments for name in ("a", "b")] == [1, 4], "what is done"

        told.clear()
        db.gain("b", progress=lambda *far: told.append(far))
        assert dict.fromkeys(told) == dict.fromkeys([(0, 1), (1, 1)])
