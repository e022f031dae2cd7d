"""Kill or fail the store at every single call that it makes to the disk.

A fixed scenario is run once with a copy of the directory taken at each call (a kill there), and
again and again with the n-th call failing. It has appends, patches, trims, deliveries, sealing,
compaction, consumers that move, and a log of files so small that many begin and go. The calls are
those of `diskcalls`, also on the threads that flush RocksDB and make the next file.
"""

from __future__ import annotations

import errno
import random
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

import timeline
from tests.engine.diskcalls import DiskCalls, copy_in_call, nothing
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    fail_next_write,
    heal_when_asked,
    healed,
    seqs,
    small_steps,
)
from tests.engine.twin import Picture, Step, Twin, picture_of, scenario, with_moves
from timeline.errors import (
    BusyError,
    ReadOnlyError,
    StallError,
    StorageError,
    TimelineError,
    UncertainError,
)
from timeline.storage.rocks import Storage

INLINE = replace(SMALL, fsync="inline", log_file_bytes=4_096, erase_after_ms=1)


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock().installed() as clock, small_steps():
        yield clock


@pytest.fixture(autouse=True)
def healing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heal_when_asked(monkeypatch)
    monkeypatch.setattr("timeline.engine.writecontrol.disk_takes_bytes", lambda *_: True)


def test_an_acknowledgement_follows_the_write_that_is_durable_and_the_mark(
    directory: Path, clock: Clock
) -> None:
    calls: list[str] = []
    with timeline.open(directory / "store", replace(INLINE, log_file_bytes=2**20)) as db:
        db.timeline("a").append({"v": "1"})  # for which a file is begun
        with DiskCalls(directory / "store", after=calls.append).watched():
            db.timeline("a").append({"v": "1"})
            one = ["log.pwritev", "mark.write"]
            assert calls == one, "a write and its fsync are one call"
            with db.engine.lock:
                for _ in range(10):
                    db.timeline("a").append_async({"v": "1"})
            db.flush()
            assert calls == one * 2, "one a group"


# The log is to go on in another file, so that the one with what was replaced can go.
ERASING: list[Step] = [
    ("move", b"r", None),
    ("move", b"s", None),
    ("append", b"e", b"what is to go"),
    ("seal",),
    ("replace", b"e", 1, b"what is to stay"),
    ("seal",),
    ("erase",),
]


class Copy(NamedTuple):
    path: Path
    label: str  # of the call that was just made
    acknowledged: int
    consumers: list[dict[bytes, int]]
    users: list[int]


@pytest.mark.parametrize("flushed", [False, True], ids=["unflushed", "flushed"])
@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_a_kill_at_any_call_leaves_every_acknowledged_commit_and_no_half_of_another(
    durability: Literal["sync", "interval"],
    flushed: bool,
    directory: Path,
    clock: Clock,
    crash_point_stride: int,
) -> None:
    """What sealing wrote is on the disk only where RocksDB happened to flush before the kill."""
    options = replace(INLINE, durability=durability)
    twin = Twin(directory / "store", options, clock)
    copies: list[Copy] = []
    seen: list[str] = []
    offset = random.randrange(crash_point_stride)

    def copy(label: str) -> None:
        seen.append(label)
        if len(seen) % crash_point_stride != offset:
            return
        if flushed:
            twin.db.engine.store.storage.flush()
        target = copy_in_call(twin.db.engine.store, twin.path, directory / f"copy{len(copies)}")
        copies.append(Copy(target, label, twin.oracle.lsn, twin.possible_consumers(), twin.users))

    with DiskCalls(twin.path, after=copy).watched():
        for step in [*with_moves(scenario(70, 1), 1), *ERASING]:
            twin.do(step)
    abandon(twin.db)
    assert {*seen} >= {
        "log.pwritev", "log.pwrite", "log.fdatasync", "log.fsync", "log.rename", "log.unlink",
        "rocks.write", "rocks.flush", "mark.write",
    }  # fmt: skip
    for number, each in enumerate(copies):
        check_copy(each, twin.pictures, f"copy {number} at offset {offset}, after {each.label}")
        shutil.rmtree(each.path)


def check_copy(copy: Copy, pictures: dict[int, Picture], where: str) -> None:
    with timeline.open(copy.path, INLINE) as db:
        recovered = db.engine.applied
        # A call on a thread comes while the next commit may be under way.
        assert copy.acknowledged <= recovered <= copy.acknowledged + 1, where
        assert db.log.checkpoints() in copy.consumers, where
        picture = picture_of(db, copy.users)
        assert picture == pictures_of(pictures, recovered, copy.users), where
    with timeline.open(copy.path, INLINE) as db:  # sealed by the close
        assert db.engine.applied == recovered
        assert db.log.checkpoints() in copy.consumers, where
        assert picture_of(db, copy.users) == picture, where


def pictures_of(pictures: dict[int, Picture], lsn: int, users: list[int]) -> Picture:
    timelines, inboxes = pictures[lsn]
    return timelines, {user: inboxes.get(user, []) for user in users}


def test_the_log_goes_only_up_to_what_is_flushed(
    directory: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sealed while RocksDB flushes is in its memory only."""
    flushed, go_on = threading.Event(), threading.Event()
    flush = Storage.flush

    def flush_and_wait(storage: Storage) -> None:
        flush(storage)
        flushed.set()
        assert go_on.wait(20)

    path = directory / "store"
    with timeline.open(path, replace(INLINE, unsealed_bytes=2**20, write_buffer_bytes=2**25)) as db:
        db.timeline("a").append({"v": "1"})
        db.engine.seal()
        with monkeypatch.context() as patch:
            patch.setattr(Storage, "flush", flush_and_wait)
            with db.engine.standing_still():
                db.engine.store.flushing.begin()
            assert flushed.wait(20)
            for _ in range(30):
                db.timeline("a").append({"v": "x" * 1_000})
            db.engine.seal()
            before = len([*(path / "log").glob("*.log")])
            go_on.set()
            db.engine.store.flushing.wait()
            db.engine.work()
        assert 1 < len([*(path / "log").glob("*.log")]) <= before
        copy_as_killed(db, directory / "killed")
    with timeline.open(directory / "killed", INLINE) as db:
        assert seqs(db, "a") == [*range(1, 32)]


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_a_kill_at_any_call_of_healing_leaves_what_was_acknowledged(
    durability: Literal["sync", "interval"],
    directory: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Healing copies forward what is in doubt."""
    options = replace(INLINE, durability=durability, interval_ms=10**9, unsealed_bytes=2**20)
    path = directory / "store"
    copies: list[Path] = []
    with timeline.open(path, options) as db:
        for _ in range(5):
            db.timeline("a").append({"v": "1" * 300})
        db.log.move("r", 5)
        db.log.move("r", 4)

        def copy(_: str) -> None:
            copies.append(copy_in_call(None, path, directory / f"copy{len(copies)}"))

        with DiskCalls(path, after=copy).watched():
            fail_next_write(monkeypatch)
            with pytest.raises(UncertainError):
                db.timeline("a").append({"v": "1" * 300})
            assert healed(db)
            assert seqs(db, "a") == [1, 2, 3, 4, 5, 6]
    assert len(copies) > 5
    for number, each in enumerate(copies):
        with timeline.open(each, options) as db:
            assert seqs(db, "a") in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]), number
            assert db.log.checkpoints() == {b"r": 4}, number
            assert db.timeline("a").append({"v": "2"}) == db.timeline("a").head


def test_a_kill_at_any_call_of_an_opening_that_cuts_a_torn_write_leaves_it_cut_or_torn(
    directory: Path, clock: Clock
) -> None:
    path = directory / "store"
    with timeline.open(path, INLINE) as db:
        for _ in range(5):
            db.timeline("a").append({"v": "1" * 300})
        db.log.move("r", 3)
        copy_as_killed(db, directory / "torn")
    path = directory / "torn"
    log = max((path / "log").glob("*.log"))
    content = log.read_bytes()
    end = len(content.rstrip(b"\0"))
    log.write_bytes(content[:end] + b"\x01" * 1_000 + content[end + 1_000 :])
    copies: list[Path] = []

    def copy(_: str) -> None:
        copies.append(copy_in_call(None, path, directory / f"copy{len(copies)}"))

    with DiskCalls(path, after=copy).watched():
        timeline.open(path, INLINE).close()
    assert len(copies) > 2
    for number, each in enumerate(copies):
        with timeline.open(each, INLINE) as db:
            assert seqs(db, "a") == [1, 2, 3, 4, 5], number
            assert db.log.checkpoints() == {b"r": 3}, number
            assert db.timeline("a").append({"v": "2"}) == 6


class Fuse:
    """A hook that fails once, at its call number `point`."""

    def __init__(self, point: int) -> None:
        self.point = self._left = point
        self.blown = False

    def __call__(self, label: str) -> None:
        if self._left == 0 and not self.blown:
            self.blown = True
            if label.startswith("log."):
                raise OSError(errno.EIO, f"the disk failed at call {self.point}, {label}")
            raise StorageError(f"the disk failed at call {self.point}, {label}")
        self._left -= 1


def reads_go_on(twin: Twin, before: object) -> bool:
    """Whether everything reads as before. Once it has healed, what was in doubt may be there."""
    shown = picture_of(twin.db, twin.users)
    return shown == before or not twin.db.engine.poisoned


def run_with_failure(twin: Twin, steps: list[Step], fuse: Fuse) -> None:
    """Run `steps`; where one fails, see that reads go on and that the store heals by itself."""
    for step in steps:
        try:
            twin.do(step)
        except TimelineError as error:
            assert fuse.blown, "only the disk may fail"
            before = twin.expected()
            assert reads_go_on(twin, before)
            engine = twin.db.engine
            with engine.pipeline.writing:  # it does not heal meanwhile; it may have done so before
                if isinstance(error, UncertainError):
                    assert engine.poisoned or engine.statistics.healed
                if engine.poisoned:
                    with pytest.raises(ReadOnlyError):
                        twin.db.timeline("a").append({"refused": "1"})
            if engine.poisoned:
                assert reads_go_on(twin, before)
                assert healed(twin.db), "it heals by itself"
            twin.settle()
            assert picture_of(twin.db, twin.users) == twin.expected()
        else:
            if twin.db.engine.poisoned:
                # The commit was acknowledged, what came behind it failed (sealing, say).
                twin.check()
                assert healed(twin.db), "it heals by itself"
                twin.check()


def count_calls(directory: Path, clock: Clock, steps: list[Step]) -> int:
    seen: list[str] = []
    twin = Twin(directory / "counted", INLINE, clock)
    twin.do(steps[0])
    with DiskCalls(twin.path, seen.append).watched():
        for step in steps[1:]:
            twin.do(step)
    abandon(twin.db)
    return len(seen)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failure_at_any_call_is_typed_loses_nothing_and_heals(
    when: str, directory: Path, clock: Clock, crash_point_stride: int
) -> None:
    """`before`: the call did nothing and raised; `after`: it did its work and raised."""
    steps = [*with_moves(scenario(28, 3), 3), *ERASING]
    total = count_calls(directory, clock, steps)
    offset = random.randrange(crash_point_stride)
    for point in range(offset, total, crash_point_stride):
        fuse = Fuse(point)
        path = directory / str(point)
        twin = Twin(path, INLINE, clock)
        twin.do(steps[0])
        hooks = (fuse, nothing) if when == "before" else (nothing, fuse)
        with DiskCalls(path, *hooks).watched():
            run_with_failure(twin, steps[1:], fuse)
        twin.check()
        twin.db.close()
        twin.db = timeline.open(path, INLINE)
        twin.check()
        twin.db.close()
        shutil.rmtree(path)


def test_write_stalls_are_waited_out(directory: Path, clock: Clock) -> None:
    """RocksDB asks for a pause at half of the writes: no answer changes, and BUSY passes."""
    twin = Twin(directory / "store", INLINE, clock)
    draw = random.Random(5)

    def stall(label: str) -> None:
        if label == "rocks.write" and draw.random() < 0.5:
            raise StallError("the disk cannot keep up: try again later")

    with DiskCalls(twin.path, stall).watched():
        for step in scenario(60, 4):
            for _ in range(500):  # one that writes several times is let through by luck alone
                try:
                    twin.do(step)
                except BusyError:
                    # Nothing was done. Work that goes on in the background ends it.
                    twin.uncertain = None
                    twin.check()
                    twin.db.engine.work()
                else:
                    break
            else:
                pytest.fail(f"BUSY for ever, at {step}")
    twin.check()
    abandon(twin.db)
    with timeline.open(twin.path, INLINE) as db:
        assert picture_of(db, twin.users) == twin.expected()
