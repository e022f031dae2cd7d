"""In-boxes forget what is old: what is younger stays, the disk shrinks, nobody is held up, and a
kill or a failing disk at any slice loses nothing that is above the floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

import timeline
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    copy_between_calls,
    small_steps,
)
from timeline.embedded.database import Database
from timeline.errors import CorruptError, StallError, StorageError
from timeline.formats.keys import pair, split_pair
from timeline.formats.numbers import NO_LSN, TimelineId
from timeline.formats.rows import INBOX
from timeline.options import DAY, Options
from timeline.storage.rocks import FAMILIES, INBOXES, Storage

MESSAGE = 1
AUDIENCE: Final = TimelineId(7)
SECONDS = 60.0
SIZE = "total-sst-files-size"
OPTIONS = replace(
    SMALL,
    fsync="inline",
    retention_check_ms=1,
    inbox_age_ms=16 * DAY,
    unsealed_bytes=10**6,  # tests say themselves when to seal
    tails=1_000,
)

Reference = tuple[int, int]  # LSN, number in the timeline referred to


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock().installed() as clock, small_steps():
        yield clock


def join(db: Database, *names: bytes) -> list[int]:
    """In-boxes that get everything delivered."""
    with db.engine.lock:
        draft = db.engine.begin()
        inboxes = [draft.create(name, INBOX) for name in names]
        draft.join(AUDIENCE, [inbox.id for inbox in inboxes])
        draft.commit()
    db.flush()
    return [inbox.id for inbox in inboxes]


def send(db: Database, count: int = 1) -> list[int]:
    """Deliver so many entries, each a commit of one group; the LSNs."""
    found = []
    with db.engine.lock:
        for _ in range(count):
            draft = db.engine.begin()
            messages = draft.find(b"@conv:c") or draft.create(b"@conv:c")
            draft.deliver(AUDIENCE, messages, draft.append(messages, [b"v", b"1"]), MESSAGE)
            found.append(draft.commit().lsn)
    db.flush()
    return found


def lsns(db: Database, inbox: int) -> list[int]:
    with db.engine.lock:
        return [reference.lsn for reference, _ in db.engine.inboxes.read(inbox, NO_LSN, -1, 10**6)]


def rows(db: Database) -> list[bytes]:
    return list(db.engine.store.storage.keys(INBOXES, b"", b"\xff" * 17))


def work_until(db: Database, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        db.engine.work()
        db.flush()


def expire(db: Database, floor: int) -> None:
    """Let the store work until everything up to LSN `floor` is off the disk."""
    expiry = db.engine.store.expiry
    work_until(db, lambda: db.engine.inboxes.floor >= floor and not expiry.sweeping)
    assert db.engine.inboxes.floor == floor


def test_what_is_older_than_the_age_is_forgotten_and_the_rest_stays(
    tmp_path: Path, clock: Clock
) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        users = join(db, b"@user:ann", b"@user:bob", b"@user:cat")
        old = send(db, 10)
        db.engine.seal()
        clock.now += DAY
        young = send(db, 10)
        db.engine.seal()
        clock.now += 15 * DAY - 1
        work_until(db, lambda: db.engine.store.expiry._next_round > 0)
        assert lsns(db, users[0]) == old + young, "the age is the least"
        clock.now += 1
        expire(db, old[-1])
        for user in users:
            assert lsns(db, user) == young
        assert min(int.from_bytes(key[8:], "big") for key in rows(db)) > old[-1]
        clock.now += 16 * DAY
        latest = send(db, 2)
        expire(db, young[-1])
        assert [lsns(db, user) for user in users] == [latest] * 3, "also before it is sealed"
        assert rows(db) == []


def test_the_floor_and_what_is_above_it_survive_closing(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        (user,) = join(db, b"@user:ann")
        old = send(db, 10)
        db.engine.seal()
        clock.now += 16 * DAY
        young = send(db, 10)
        expire(db, old[-1])
    with timeline.open(path, OPTIONS) as db:
        assert db.engine.inboxes.floor == old[-1]
        assert lsns(db, user) == young
        clock.now += 16 * DAY
        expire(db, young[-1])
        assert lsns(db, user) == []


def test_a_sweep_goes_on_after_closing(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        join(db, *(b"@user:%d" % number for number in range(9)))
        old = send(db, 10)
        db.engine.seal()
        clock.now += 16 * DAY
        before = len(rows(db))
        work_until(db, lambda: len(rows(db)) < before)
        assert rows(db), "it has only begun"
    with timeline.open(path, OPTIONS) as db:
        assert db.engine.store.expiry.sweeping
        expire(db, old[-1])
        assert rows(db) == []


def test_slices_are_short_and_writers_go_between_them(tmp_path: Path, clock: Clock) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        users = join(db, *(b"@user:%d" % number for number in range(20)))
        old = send(db, 12)
        db.engine.seal()
        clock.now += 16 * DAY
        expiry = db.engine.store.expiry
        work_until(db, lambda: expiry.sweeping)
        young, most = [], 0
        while expiry.sweeping:
            before = len(rows(db))
            db.engine.work()
            most = max(most, before - len(rows(db)))
            young += send(db)
            assert lsns(db, users[-1]) == young
        assert 0 < most <= 12, "the rows of one in-box"
        assert len(young) > 20
        assert db.engine.inboxes.floor == old[-1]


def test_nothing_is_forgotten_where_the_age_is_none(tmp_path: Path, clock: Clock) -> None:
    options = replace(OPTIONS, inbox_age_ms=0)
    with timeline.open(tmp_path / "store", options) as db:
        (user,) = join(db, b"@user:ann")
        sent = send(db, 10)
        db.engine.seal()
        clock.now += 10_000 * DAY
        sent += send(db, 10)
        db.engine.seal()
        for _ in range(100):
            db.engine.work()
        assert db.engine.inboxes.floor == 0
        assert lsns(db, user) == sent


def test_marks_are_few_however_often_is_sealed(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        (user,) = join(db, b"@user:ann")
        times: dict[int, int] = {}
        for _ in range(300):
            clock.now += DAY // 5
            for lsn in send(db):
                times[lsn] = clock.now
            db.engine.seal()
            db.engine.store.expiry._next_round = 0.0
            while db.engine.work():
                pass
            row = db.engine.store.expiry._row
            assert len(row.marks) <= 34
            kept = [lsn for lsn, at in times.items() if at > clock.now - 16 * DAY]
            found = lsns(db, user)
            assert found[-len(kept) :] == kept, "the age is the least"
            assert len(found) <= len(kept) + 6, "and hardly more"


def test_the_disk_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "store"

    def size() -> int:
        return sum(db.engine.store.storage.measure(SIZE, family) for family in FAMILIES)

    options = Options(fsync="inline", retention_check_ms=1, inbox_age_ms=DAY)
    with Clock().installed() as clock, timeline.open(path, options) as db:
        join(db, *(b"@user:%d" % number for number in range(200)))
        for _ in range(20):
            send(db, 100)
            clock.now += DAY // 16
            db.engine.seal()
        storage = db.engine.store.storage
        for family in (INBOXES, "segments"):
            storage.compact(family, None, None)
        before = size()
        clock.now += DAY
        work_until(db, lambda: size() < before // 4)
        assert rows(db) == []


def keep_few(db: Database, count: int, seals: int) -> list[int]:
    """Send `count` in all, sealed so many times, with work in between; their LSNs."""
    sent: list[int] = []
    for _ in range(seals):
        sent += send(db, count // seals)
        db.engine.seal()
        while db.engine.store.expiry.due:
            db.engine.work()
    return sent


FEW = replace(OPTIONS, inbox_references=20)


def check_few(db: Database, user: int, sent: list[int]) -> int:
    """The newest are there, at least so many as are kept; returns how many."""
    found = lsns(db, user)
    with db.engine.lock:
        floor = db.engine.inboxes.floor_of(user)
    assert found == [lsn for lsn in sent if floor < lsn <= db.engine.applied]
    assert len(found) >= min(20, len(sent))
    return len(found)


def test_an_in_box_keeps_so_many_references(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "store"
    with timeline.open(path, FEW) as db:
        users = join(db, b"@user:ann", b"@user:bob")
        sent = keep_few(db, 200, 40)
        for user in users:
            assert check_few(db, user, sent) <= 20 + 5 + 3 + 3
        assert len(rows(db)) < 2 * 20
        assert db.engine.inboxes.floor == 0, "nothing is old"
        before = [lsns(db, user) for user in users]
    with timeline.open(path, FEW) as db:
        assert [lsns(db, user) for user in users] == before
        clock.now += 16 * DAY
        late = send(db, 2)
        expire(db, sent[-1])
        assert [lsns(db, user) for user in users] == [late] * 2
        assert rows(db) == [], "their own floors went as well"


def test_a_sweep_leaves_a_floor_that_is_higher(tmp_path: Path, clock: Clock) -> None:
    with timeline.open(tmp_path / "store", FEW) as db:
        (user,) = join(db, b"@user:ann")
        old = send(db, 5)
        db.engine.seal()
        clock.now += 15 * DAY
        young = keep_few(db, 100, 20)
        clock.now += DAY
        expire(db, old[-1])
        assert check_few(db, user, old + young) < 40
        path = tmp_path / "copy"
        copy_as_killed(db, path)
    with timeline.open(path, FEW) as db:
        check_few(db, user, old + young)


def test_a_damaged_floor_hurts_its_own_in_box_only(tmp_path: Path, clock: Clock) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        ann, bob, cat = join(db, b"@user:ann", b"@user:bob", b"@user:cat")
        old = send(db, 10)
        db.engine.seal()
        storage = db.engine.store.storage
        batch = storage.batch()
        batch.put(INBOXES, pair(bob, 0), b"damaged")
        storage.write(batch, logged=False)
        db.engine.inboxes.inbox(bob).floor = None
        clock.now += 16 * DAY
        young = send(db, 2)
        expire(db, old[-1])
        assert lsns(db, ann) == lsns(db, cat) == young
        assert {split_pair(key)[0] for key in rows(db)} == {bob}
        with pytest.raises(CorruptError, match="floor of in-box"):
            lsns(db, bob)


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
