"""Kill or fail the store at every single call it makes to the disk.

The disk has three calls: `Storage.write`, `Storage.sync` and `DurableMark.write`. A fixed scenario
of appends, patches, trims, deliveries, sealing and compaction is run once with a copy of the
directory taken at each of them (a kill there), and again and again with the n-th of them failing.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_between_calls,
    scratch_directory,
    small_steps,
)
from tests.engine.twin import Step, Twin, picture_of, scenario
from timeline.errors import (
    BusyError,
    ReadOnlyError,
    StallError,
    StorageError,
    TimelineError,
    UncertainError,
)
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import Storage

INLINE = replace(SMALL, fsync="inline")
CALLS: list[tuple[type, str]] = [(Storage, "write"), (Storage, "sync"), (DurableMark, "write")]


@pytest.fixture
def directory() -> Iterator[Path]:
    path = scratch_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock().installed() as clock, small_steps():
        yield clock


@pytest.fixture(autouse=True)
def healing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    monkeypatch.setattr("timeline.engine.writecontrol.disk_takes_bytes", lambda *_: True)


def nothing(_: str) -> None:
    """What a hook does that does nothing."""


@contextmanager
def around_calls(
    before: Callable[[str], None] = nothing,
    after: Callable[[str], None] = nothing,
    calls: Sequence[tuple[type, str]] = CALLS,
) -> Iterator[None]:
    """Call `before` and `after` around every call to the disk, with the call's name."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in calls:
            label = f"{owner.__name__}.{name}"
            original = getattr(owner, name)

            def wrapped(
                *arguments: object,
                _original: Callable[..., None] = original,
                _label: str = label,
                **options: object,
            ) -> None:
                before(_label)
                _original(*arguments, **options)
                after(_label)

            patch.setattr(owner, name, wrapped)
        yield


def test_an_acknowledgement_follows_the_write_the_fsync_and_the_mark(
    directory: Path, clock: Clock
) -> None:
    calls: list[str] = []
    with timeline.open(directory / "store", INLINE) as db, around_calls(after=calls.append):
        db.timeline("a").append({"v": "1"})
        assert calls == ["Storage.write", "Storage.sync", "DurableMark.write"]
        with db.engine.lock:
            for _ in range(10):
                db.timeline("a").append_async({"v": "1"})
        db.flush()
        assert calls == ["Storage.write", "Storage.sync", "DurableMark.write"] * 2, "one a group"


@pytest.mark.parametrize("flushed", [False, True], ids=["unflushed", "flushed"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_at_any_call_leaves_every_acknowledged_commit_and_no_half_of_another(
    seed: int, flushed: bool, directory: Path, clock: Clock
) -> None:
    """What sealing wrote is on the disk only where RocksDB happened to flush before the kill."""
    twin = Twin(directory / "store", INLINE, clock)
    copies: list[tuple[Path, int, str]] = []

    def copy(label: str) -> None:
        if label != "Storage.sync":  # which changes nothing that a kill could tell
            if flushed:
                twin.db.engine.store.storage.flush()
            target = directory / str(len(copies))
            copy_between_calls(twin.db, target)
            copies.append((target, twin.oracle.lsn, label))

    with around_calls(after=copy):
        for step in scenario(34, seed):
            twin.do(step)
    abandon(twin.db)
    assert len(copies) > 40
    for number, (path, acknowledged, label) in enumerate(copies):
        where = f"copy {number} of {len(copies)}, after {label}, seed {seed}"
        with timeline.open(path, INLINE) as db:
            recovered = db.engine.applied
            assert acknowledged <= recovered <= acknowledged + 1, where
            if recovered == 0:
                continue
            assert picture_of(db, twin.users) == twin.pictures[recovered], where
        with timeline.open(path, INLINE) as db:  # sealed by the close
            assert db.engine.applied == recovered
            assert picture_of(db, twin.users) == twin.pictures[recovered], where
        shutil.rmtree(path)


class Fuse:
    """A hook that fails once, at its call number `point`."""

    def __init__(self, point: int) -> None:
        self.point = self._left = point
        self.blown = False

    def __call__(self, label: str) -> None:
        if self._left == 0 and not self.blown:
            self.blown = True
            raise StorageError(f"the disk failed at call {self.point}, {label}")
        self._left -= 1


def run_with_failure(twin: Twin, steps: list[Step], fuse: Fuse) -> None:
    """Run `steps`; where one fails, see that reads go on and that the store heals by itself."""
    for step in steps:
        try:
            twin.do(step)
        except TimelineError as error:
            assert fuse.blown, "only the disk may fail"
            before = twin.expected()
            assert picture_of(twin.db, twin.users) == before, "reads go on as before"
            if isinstance(error, UncertainError):
                assert twin.db.engine.poisoned
            if twin.db.engine.poisoned:
                with pytest.raises(ReadOnlyError):
                    twin.db.timeline("a").append({"refused": "1"})
                assert picture_of(twin.db, twin.users) == before
                heal(twin)
            twin.settle()
            assert picture_of(twin.db, twin.users) == twin.expected()
        else:
            if twin.db.engine.poisoned:
                # The commit was acknowledged, what came behind it failed (sealing, say).
                twin.check()
                heal(twin)
                twin.check()


def heal(twin: Twin) -> None:
    twin.db.engine.work()
    assert not twin.db.engine.poisoned, "it heals by itself"


def count_calls(directory: Path, clock: Clock, steps: list[Step]) -> int:
    seen: list[str] = []
    twin = Twin(directory / "counted", INLINE, clock)
    twin.do(steps[0])
    with around_calls(seen.append):
        for step in steps[1:]:
            twin.do(step)
    abandon(twin.db)
    return len(seen)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failure_at_any_call_is_typed_loses_nothing_and_heals(
    when: str, directory: Path, clock: Clock, crash_point_stride: int
) -> None:
    """`before`: the call did nothing and raised; `after`: it did its work and raised."""
    steps = scenario(28, 3)
    total = count_calls(directory, clock, steps)
    offset = random.randrange(crash_point_stride)
    for point in range(offset, total, crash_point_stride):
        fuse = Fuse(point)
        path = directory / str(point)
        twin = Twin(path, INLINE, clock)
        twin.do(steps[0])
        hooks = (fuse, nothing) if when == "before" else (nothing, fuse)
        with around_calls(*hooks):
            run_with_failure(twin, steps[1:], fuse)
        assert fuse.blown
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
        if draw.random() < 0.5:
            raise StallError("the disk cannot keep up: try again later")

    with around_calls(stall, calls=CALLS[:1]):
        for step in scenario(60, 4):
            for _ in range(50):
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
