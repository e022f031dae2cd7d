"""A kill or a failing disk at any slice of expiry loses nothing that is above the floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import Clock, abandon, copy_between_calls
from tests.lsm.expiring import (
    FEW,
    OPTIONS,
    check_few,
    expire,
    join,
    keep_few,
    lsns,
    rows,
    send,
)
from timeline.errors import StallError, StorageError
from timeline.options import DAY
from timeline.storage.rocks import Storage


def around_writes(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[], None], after: Callable[[], None]
) -> None:
    original = Storage.write

    def write(self: Storage, *arguments: object, **options: object) -> None:
        before()
        original(self, *arguments, **options)  # type: ignore[arg-type]
        after()

    monkeypatch.setattr(Storage, "write", write)


@pytest.mark.parametrize("flushed", [0, 1, 2, 3])
def test_a_kill_at_any_slice_loses_nothing_above_the_floor(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, flushed: int
) -> None:
    """A copy finds old references or a floor above them, and never a hole between those it has.

    RocksDB flushes what was written at each, each second or third write, or not at all.
    """
    copies: list[tuple[Path, int]] = []
    db = timeline.open(tmp_path / "store", OPTIONS)
    users = join(db, b"@user:ann", b"@user:bob", b"@user:cat")
    old = send(db, 10)
    db.engine.seal()
    clock.now += 16 * DAY
    young = send(db, 4)

    def copy() -> None:
        if flushed and len(copies) % flushed == 0:
            db.engine.store.storage.flush()
        target = tmp_path / str(len(copies))
        copy_between_calls(db, target)
        copies.append((target, db.engine.applied))

    with monkeypatch.context() as patch:
        around_writes(patch, lambda: None, copy)
        expire(db, old[-1])
        young += send(db, 6)
        db.engine.seal()
    abandon(db)
    assert len(copies) > 6
    floors = set()
    for path, applied in copies:
        with timeline.open(path, replace(OPTIONS, retention_check_ms=10**9)) as db:
            floor = db.engine.inboxes.floor
            floors.add(floor)
            expected = [lsn for lsn in old + young if floor < lsn <= db.engine.applied]
            assert db.engine.applied >= applied
            assert [lsns(db, user) for user in users] == [expected] * 3
        with timeline.open(path, OPTIONS) as db:
            expire(db, old[-1])
            assert [lsns(db, user) for user in users] == [
                [lsn for lsn in young if lsn <= db.engine.applied]
            ] * 3
            assert min(int.from_bytes(key[8:], "big") for key in rows(db)) > old[-1]
    assert floors <= {0, old[-1]}
    assert bool(flushed) <= (old[-1] in floors)


@pytest.mark.parametrize("flushed", [False, True], ids=["unflushed", "flushed"])
def test_a_kill_while_an_in_box_is_cut_loses_none_of_the_newest(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, flushed: bool
) -> None:
    db = timeline.open(tmp_path / "store", FEW)
    users = join(db, b"@user:ann", b"@user:bob")
    copies: list[tuple[Path, int]] = []

    def copy() -> None:
        if flushed:
            db.engine.store.storage.flush()
        copies.append((tmp_path / str(len(copies)), db.engine.applied))
        copy_between_calls(db, copies[-1][0])

    with monkeypatch.context() as patch:
        around_writes(patch, lambda: None, copy)
        sent = keep_few(db, 60, 6)
    assert check_few(db, users[0], sent) < 60
    abandon(db)
    for path, applied in copies:
        with timeline.open(path, FEW) as db:
            assert db.engine.applied >= applied
            here = [lsn for lsn in sent if lsn <= db.engine.applied]
            for user in users:
                check_few(db, user, here)
            more = here + keep_few(db, 30, 3)
            for user in users:
                assert check_few(db, user, more) <= 20 + 10 + 3 + 3


@pytest.mark.parametrize("error", [StallError, StorageError])
def test_a_slice_that_fails_is_done_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, error: type[StorageError]
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        users = join(db, b"@user:ann", b"@user:bob", b"@user:cat")
        old = send(db, 10)
        db.engine.seal()
        clock.now += 16 * DAY
        young = send(db, 4)
        for point in range(6):
            calls = iter(range(100))

            def fail(calls: Iterator[int] = calls, point: int = point) -> None:
                if next(calls) == point:
                    raise error("the disk says no")

            with monkeypatch.context() as patch:
                around_writes(patch, fail, lambda: None)
                for _ in range(20):
                    db.engine.work()
            floor = db.engine.inboxes.floor
            expected = [lsn for lsn in old + young if lsn > floor]
            assert [lsns(db, user) for user in users] == [expected] * 3
        expire(db, old[-1])
        assert not db.engine.poisoned
        assert [lsns(db, user) for user in users] == [young] * 3
        young += send(db)
        assert lsns(db, users[0]) == young
