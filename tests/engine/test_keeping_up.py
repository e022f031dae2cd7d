"""The promise: sealing keeps up with writers, or makes them wait. So memory is bounded, and so is
what a kill leaves to be replayed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_as_killed, copy_store, seqs, small_steps
from timeline.embedded.database import Database
from timeline.embedded.handle import TimelineHandle
from timeline.engine.store.store import Store
from timeline.errors import BusyError, StallError, StorageError
from timeline.lsm.upkeep.sealing import Sealing
from timeline.options import Options
from timeline.storage.rocks import Batch, Storage


def append_much(handle: TimelineHandle) -> int:
    return handle.append({"a": "x" * 500})


def test_busy_while_sealing_cannot_keep_up_ends_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "store", fsync="inline", unsealed_bytes=10_000) as db:
        handle = db.timeline("a")
        with monkeypatch.context() as patch:

            def stall(_: Sealing) -> None:
                raise StallError("a pause")

            patch.setattr(Sealing, "slice", stall)
            filler = [handle] * 100
            with pytest.raises(BusyError):
                list(map(append_much, filler))
            head = handle.head
        while db.engine.work():
            pass
        assert handle.append({"a": "1"}) == head + 1


def test_writing_resumes_after_a_pause_however_much_came_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused brings no group, so the work in between must do all the sealing."""
    paused = False
    write = Storage.write

    def call(storage: Storage, batch: Batch) -> None:
        if paused:
            raise StallError("not now")
        write(storage, batch)

    monkeypatch.setattr(Storage, "write", call)
    with timeline.open(tmp_path / "store", fsync="inline", unsealed_bytes=20_000) as db:
        handle = db.timeline("t")
        paused = True
        for _ in range(2):
            handle.append_many([{"a": "x" * 500}] * 100)
        with pytest.raises(BusyError):
            handle.append({"a": "1"})
        paused = False
        while db.engine.work():
            pass
        assert handle.append({"a": "1"}) == 201


@pytest.mark.parametrize("spread", [1, 4, 300])
def test_sealing_keeps_up_with_writers_that_never_pause(tmp_path: Path, spread: int) -> None:
    """Also where a few timelines hold nearly everything."""
    bound = 1 << 20
    with timeline.open(tmp_path / "store", fsync="inline", unsealed_bytes=bound) as db:
        engine = db.engine
        most = 0
        for number in range(400):
            with engine.lock:
                for place in range(64):
                    engine.appender.append(
                        b"%d" % ((number * 64 + place) % spread), [b"f", b"v" * 100]
                    )
            db.flush()  # also where the log asks for a pause first
            most = max(most, engine.store.memtable.size)
        assert engine.store.sealing.passes >= 4
        assert most <= bound


def committed(db: Database, number: int) -> bool:
    """Append to a hundred timelines in one commit; False when it was refused with BUSY."""
    try:
        with db.transaction() as commit:
            for timeline_number in range(100):
                commit.append(f"{number}:{timeline_number}", {"v": "x" * 200})
    except BusyError:
        db.engine.work()  # with fsync inline nobody else makes room
        return False
    return True


def test_replaying_a_long_log_keeps_memory_bounded(tmp_path: Path) -> None:
    """What sealing wrote may be gone after a kill, so that the log above it is long."""
    options = Options(unsealed_bytes=200_000, tails=200, fsync="inline")
    db = timeline.open(tmp_path / "store", options)
    for round_ in range(40):
        while not committed(db, round_ % 7):  # a disk may not keep up
            pass
    passes = db.engine.store.sealing.passes
    assert passes > 5
    copy_as_killed(db, tmp_path / "copy")
    db.close()
    for _ in range(2):  # the second time after a clean close
        with timeline.open(tmp_path / "copy", options) as copy:
            engine = copy.engine
            assert engine.store.memtable.size <= options.unsealed_bytes
            assert engine.store.memtable.active.tails <= options.tails
            for number in range(7 * 100):
                name = f"{number % 7}:{number // 7}"
                rounds = len(range(number % 7, 40, 7))
                assert seqs(copy, name) == list(range(1, rounds + 1))


def test_a_kill_while_a_long_log_is_replayed_loses_nothing(tmp_path: Path) -> None:
    options = Options(unsealed_bytes=20_000, tails=40, fsync="inline")
    with small_steps():
        db = timeline.open(tmp_path / "store", fsync="inline")
        for number in range(400):
            db.timeline(str(number % 13)).append({"v": "x" * 100})
            if number == 200:  # part of a pass that is larger than those to come reaches the disk
                with db.engine.lock:
                    store = db.engine.store
                    store.begin_pass()
                    for _ in range(20):
                        store.sealing.slice()
                    store.storage.flush()
                    assert store.sealing.under_way
    copy_as_killed(db, tmp_path / "0")
    db.close()
    relieve = Store._relieve

    def relieve_once(store: Store) -> None:
        """Seal as much as memory may hold, have it reach the disk, and die."""
        relieve(store)
        if store.sealing.passes:
            store.storage.flush()
            copy_store(store, store.path.with_name(str(int(store.path.name) + 1)))
            raise StorageError("killed")

    kills = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_relieve", relieve_once)
        while True:
            try:
                timeline.open(tmp_path / str(kills), options).close()
            except StorageError:
                kills += 1
            else:
                break
    assert kills > 2
    with timeline.open(tmp_path / str(kills), options) as copy:
        for number in range(13):
            assert seqs(copy, str(number)) == list(range(1, len(range(number, 400, 13)) + 1))


def test_what_a_kill_leaves_to_replay_is_bounded(tmp_path: Path) -> None:
    bound = 1 << 20
    with timeline.open(tmp_path / "store", fsync="inline", unsealed_bytes=bound) as db:
        for _ in range(1_000):
            with db.engine.lock:
                for place in range(64):
                    db.engine.appender.append(b"%d" % (place % 8), [b"f", b"v" * 100])
            db.flush()  # also where the disk asks for a pause first
        copy_as_killed(db, tmp_path / "killed")
    with timeline.open(tmp_path / "killed", fsync="inline", unsealed_bytes=bound) as db:
        assert sum(len(db.timeline(str(number))) for number in range(8)) == 64_000
        assert db.engine.store.memtable.size <= 5 * bound
