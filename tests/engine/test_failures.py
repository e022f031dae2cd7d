"""What goes wrong ends in a typed error or passes by itself; nobody waits for ever.

Each test is a promise about one thing that fails: a pause RocksDB asks for, the durable mark, a
callback, a number that does not exist, closing and forking under way.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import Clock, copy_as_killed, copy_store, healed, small_steps
from timeline.commit.group import Group
from timeline.embedded.database import Database
from timeline.embedded.handle import TimelineHandle
from timeline.engine.store.store import Store
from timeline.errors import (
    BusyError,
    ClosedError,
    CorruptError,
    ReadOnlyError,
    SequenceError,
    StallError,
    StorageError,
    TimelineError,
    UncertainError,
    UsageError,
    WrongTypeError,
)
from timeline.formats import keys
from timeline.formats.rows import INBOX
from timeline.formats.segments import StoredEntry
from timeline.lsm.upkeep.sealing import Sealing
from timeline.options import Options
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import Batch, Storage

SECONDS = 20.0  # how long a future may take before the test says that it hangs
LAST = keys.LAST


@pytest.fixture(params=["thread", "inline"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    db = timeline.open(tmp_path / "store", fsync=request.param)
    yield db
    with suppress(TimelineError):
        db.close()


def seqs(db: Database, name: str) -> list[int]:
    return [entry.seq for entry in db.timeline(name).range()]


def append_much(handle: TimelineHandle) -> int:
    return handle.append({"a": "x" * 500})


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception) -> None:
    """The next call of `owner.name` raises and does nothing."""
    original: Callable[..., object] = getattr(owner, name)
    errors = [error]

    def call(*arguments: object) -> object:
        if errors:
            raise errors.pop()
        return original(*arguments)

    monkeypatch.setattr(owner, name, call)


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


def test_a_stalled_group_is_written_when_the_stall_is_over(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.timeline("a").append({"a": "1"})
    fail_once(monkeypatch, Storage, "write", StallError("a pause"))
    future = db.timeline("a").append_async({"a": "2"})
    if not db.engine.threaded:
        db.flush()
    assert future.result(SECONDS) == 2


def test_a_stall_in_the_last_slice_of_sealing_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = timeline.open(tmp_path / "store", fsync="inline")
    db.timeline("a").append({"a": "1"})
    write = Storage.write
    refuse = False

    def flaky(storage: Storage, batch: Batch, *, logged: bool = True) -> None:
        if refuse:
            raise StallError("a pause")
        write(storage, batch, logged=logged)

    monkeypatch.setattr(Storage, "write", flaky)
    with db.engine.lock:
        store = db.engine.store
        store.begin_pass()
        while store.sealing.under_way:
            refuse = True
            with pytest.raises(StallError):
                store.sealing.slice()
            refuse = False
            store.sealing.slice()
        assert store.sealing.sealed == 1
    db.timeline("a").append({"a": "2"})
    copy_as_killed(db, tmp_path / "copy")
    db.close()
    with timeline.open(tmp_path / "copy") as copy:
        assert seqs(copy, "a") == [1, 2]


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


def test_a_mark_that_cannot_be_written_is_uncertain_then_readonly_then_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        handle = db.timeline("a")
        handle.append({"a": "1"})

        def no_space(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("timeline.storage.mark.os.pwrite", no_space)
            with pytest.raises(UncertainError):
                handle.append({"a": "2"})
        with pytest.raises(ReadOnlyError):
            handle.append({"a": "3"})
        with pytest.raises(ReadOnlyError):
            handle.compact()
        with pytest.raises(ReadOnlyError):
            db.compact()
        assert seqs(db, "a") == [1]
        db.engine.work()
        assert seqs(db, "a") == [1, 2], "it was written, only the mark was not"
        assert handle.append({"a": "3"}) == 3


def test_a_refusal_that_is_raised_again_and_again_holds_no_more_of_memory(db: Database) -> None:
    db.engine.pipeline.poison(OSError("no space left"))
    with pytest.raises(ReadOnlyError) as refused:
        db.timeline("a").append({"a": "1"})
    once = len(refused.traceback)
    for _ in range(20):
        with pytest.raises(ReadOnlyError) as refused:
            db.timeline("a").append({"a": "1"})
    assert len(refused.traceback) == once


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError()])
def test_an_error_of_any_type_poisons_and_kills_no_thread(
    db: Database, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    handle = db.timeline("a")
    handle.append({"a": "1"})
    fail_once(monkeypatch, DurableMark, "write", error)
    with pytest.raises(UncertainError):
        handle.append({"a": "2"})
    assert healed(db)
    assert handle.append_many([{"a": "3"}]) == range(3, 4)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_an_error_of_any_type_while_the_storage_is_opened_again_kills_no_thread(
    db: Database, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    handle = db.timeline("a")
    fail_once(monkeypatch, DurableMark, "read", error)
    fail_once(monkeypatch, DurableMark, "write", StorageError("the disk is gone"))
    with pytest.raises(UncertainError):
        handle.append({"a": "1"})
    assert healed(db)
    assert handle.append({"a": "2"}) == 2


def test_a_callback_that_raises_harms_nobody_else(db: Database) -> None:
    told: list[int] = []
    with db.engine.lock:
        db.engine.appender.append(b"a", [b"a", b"1"])
        db.engine.group.on_done(lambda group: told.append(1 // group.commits // 0))
        db.engine.group.on_done(lambda group: told.append(group.last))
    db.flush()
    future = db.timeline("a").append_async({"a": "2"})
    db.flush()
    assert future.result(SECONDS) == 2
    assert told == [1]


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


def test_everything_after_close_says_so(db: Database) -> None:
    kept, absent = db.timeline("a"), db.timeline("b")
    kept.append({"a": "1"})
    db.close()
    calls: list[Callable[[], object]] = [
        db.flush,
        db.compact,
        db.engine.seal,
        db.log.read,
        db.log.checkpoints,
        lambda: list(db.timelines()),
        lambda: db.log.move("a", 1),
        lambda: db.transaction().__enter__(),
    ]
    for handle in (kept, absent):
        calls += [
            handle.extent,
            handle.latest,
            handle.compact,
            partial(next, handle.range(), None),
            partial(handle.get, 1),
            partial(handle.append, {"a": "1"}),
            partial(handle.append_async, {"a": "1"}),
            partial(handle.trim, length=0),
        ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    assert not db.engine.work()
    db.close()


def test_close_settles_every_future(db: Database) -> None:
    """Those who append while another closes get their number or a ClosedError."""
    futures: list[Future[int]] = []
    plenty = threading.Event()

    def write() -> None:
        while True:
            try:
                futures.append(db.timeline("a").append_async({"a": "1"}))
            except ClosedError:
                return
            if len(futures) > 100:
                plenty.set()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert plenty.wait(SECONDS)
    db.close()
    for thread in threads:
        thread.join()
    numbers = []
    for future in futures:
        with suppress(ClosedError):
            numbers.append(future.result(SECONDS))
    with timeline.open(db.engine.path) as again:
        found = seqs(again, "a")
    assert found[: len(numbers)] == sorted(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_refused_everything(db: Database) -> None:
    handle = db.timeline("a")
    handle.append({"a": "1"})
    calls: dict[str, Callable[[], object]] = {
        "append": lambda: handle.append({"a": "2"}),
        "append_async": lambda: handle.append_async({"a": "2"}),
        "transaction": lambda: db.transaction().__enter__(),
        "trim": lambda: handle.trim(length=0),
        "extent": handle.extent,
        "range": lambda: list(handle.range()),
        "names": lambda: list(db.timelines()),
        "log": db.log.read,
        "move": lambda: db.log.move("a", 1),
        "flush": db.flush,
        "seal": db.engine.seal,
        "compact": db.compact,
    }
    receive, send = os.pipe()
    # As if the parent's thread were flushing at that moment.
    held = db.engine.pipeline.writing.acquire()
    child = os.fork()
    if child == 0:
        allowed = []
        for name, call in calls.items():
            try:
                call()
                allowed.append(name)
            except ClosedError:
                pass
            except BaseException as error:
                allowed.append(f"{name}: {error!r}")
        db.close()
        os.write(send, repr(allowed).encode())
        os._exit(0)
    assert held
    db.engine.pipeline.writing.release()
    os.close(send)
    with open(receive, "rb") as answer:  # noqa: PTH123  a descriptor
        assert answer.read() == b"[]"
    os.waitpid(child, 0)
    assert handle.append({"a": "2"}) == 2


def test_a_forked_child_of_who_opened_a_store_is_refused_one_of_its_own(tmp_path: Path) -> None:
    """RocksDB's threads stay behind: it would wait for them for ever when it closes."""
    timeline.open(tmp_path / "store").close()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            with suppress(UsageError):
                timeline.open(tmp_path / "other").close()
                status = 2
            status = 0 if status == 1 else status
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_delete_under_way_bears_an_append_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that memory has of the timeline is then a row that nobody may see yet."""
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        handle = db.timeline("t")
        handle.append({"a": "1"})
        db.engine.seal()
        behind: list[Future[int]] = []
        sync = Storage.sync

        def stage_another(storage: Storage) -> None:
            if not behind:
                behind.append(handle.append_async({"a": "2"}))
            sync(storage)

        monkeypatch.setattr(Storage, "sync", stage_another)
        assert handle.delete(1) == 1
        db.flush()
        assert behind[0].result(SECONDS) == 2
        assert seqs(db, "t") == [2]


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
            engine.flush()
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


def test_writing_resumes_after_a_pause_however_much_came_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused brings no group, so the work in between must do all the sealing."""
    paused = True
    write = Storage.write

    def call(storage: Storage, batch: Batch, *, logged: bool = True) -> None:
        if paused and not logged:
            raise StallError("not now")
        write(storage, batch, logged=logged)

    monkeypatch.setattr(Storage, "write", call)
    with timeline.open(tmp_path / "store", fsync="inline", unsealed_bytes=20_000) as db:
        handle = db.timeline("t")
        for _ in range(2):
            handle.append_many([{"a": "x" * 500}] * 100)
        with pytest.raises(BusyError):
            handle.append({"a": "1"})
        paused = False
        while db.engine.work():
            pass
        assert handle.append({"a": "1"}) == 201


def test_deleting_what_is_staged_looks_at_those_entries_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: a pipeline that deletes what it adds holds the engine meanwhile."""
    looks = 0
    stored = Group.stored

    def counted(group: Group, number: int) -> StoredEntry:
        nonlocal looks
        looks += 1
        return stored(group, number)

    monkeypatch.setattr(Group, "stored", counted)
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        handle = db.timeline("t")
        handle.append({"a": "0"})
        with db.engine.lock:
            for _ in range(200):
                db.engine.appender.append(b"t", [b"a", b"1"])
            for seq in range(1, 200):
                draft = db.engine.begin()
                found = draft.find(b"t")
                assert found is not None
                assert draft.delete(found, [seq]) == 1
                assert draft.delete(found, [seq]) == 0
                draft.commit()
        db.flush()
        assert seqs(db, "t") == [200, 201]
    assert 0 < looks <= 400


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


def test_damage_met_while_closing_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "store") as db:
        db.timeline("a").append({"a": "1"})
        fail_once(monkeypatch, Storage, "flush", CorruptError("a block"))
    with timeline.open(tmp_path / "store") as db:
        assert seqs(db, "a") == [1]


def test_a_run_that_cannot_be_encoded_leaves_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that were given to entries which then could not be made are taken back."""

    def fail(*_: object) -> None:
        raise MemoryError

    with db.engine.lock:
        db.engine.appender.append(b"a", [b"f", b"1"])
        with monkeypatch.context() as patch:
            patch.setattr("timeline.commit.append.encode_run", fail)
            with pytest.raises(MemoryError):
                db.engine.appender.append_run([b"a", b"a"], [[b"f", b"f"], [b"x", b"y"]])
        assert list(db.engine.appender.append_run([b"a", b"a"], [[b"f", b"f"], [b"2", b"3"]])) == [
            2,
            3,
        ]
    db.flush()
    assert [entry.text("f") for entry in db.timeline("a").range()] == ["1", "2", "3"]
    db.engine.seal()
    assert db.timeline("a").append({"f": "4"}) == 4
    assert seqs(db, "a") == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["heal", "close"])
def test_files_that_are_rewritten_hold_up_nobody(
    db: Database, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Who heals or closes the store waits for it without the lock that readers need."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    db.timeline("a").append({"a": "1"})
    waiting, release = threading.Event(), threading.Event()
    ended = Store.end_rewriting

    def wait(store: Store) -> None:
        waiting.set()
        release.wait(SECONDS)
        ended(store)

    monkeypatch.setattr(Store, "end_rewriting", wait)
    if how == "heal":
        fail_once(monkeypatch, DurableMark, "write", OSError())
        with pytest.raises(UncertainError):
            db.timeline("a").append({"a": "2"})
        call: Callable[[], object] = db.engine.work
    else:
        call = db.close
    other = threading.Thread(target=call)
    other.start()
    assert waiting.wait(SECONDS)
    assert seqs(db, "a")[0] == 1
    release.set()
    other.join(SECONDS)
