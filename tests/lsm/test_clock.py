"""The clock was once years ahead: what was written then keeps its place, and nothing behind it
suffers.

Order is that of commits. Whatever looks for a time finds what a store would have found whose clock
was right, since nothing was committed later than what follows it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import Clock as Machine, copy_as_killed
from timeline.admin.export import export_records
from timeline.admin.load import load
from timeline.embedded.database import Database
from timeline.errors import StallError
from timeline.lsm.clock import Clock
from timeline.storage.rocks import META, Batch, Storage
from timeline.verification import verify

YEARS = 4 * 365 * 24 * 3_600_000
HOUR = 3_600_000


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine().installed() as machine:
        yield machine


def write(db: Database, *numbers: int) -> None:
    for number in numbers:
        db.timeline("a").append({"n": str(number)})


def ahead_once(db: Database, machine: Machine) -> int:
    """1 and 2 an hour ago, 3 with the clock years ahead, 4 and 5 now; gives the time of 4."""
    write(db, 1)
    machine.now += 1_000
    write(db, 2)
    machine.now += YEARS
    write(db, 3)
    machine.now += HOUR - YEARS
    write(db, 4)
    machine.now += 1_000
    write(db, 5)
    return machine.now - 1_000


def check(db: Database, now: int) -> None:
    handle = db.timeline("a")

    def numbers(since: int | None = None, until: int | None = None) -> list[int]:
        return [entry.seq for entry in handle.range(since=since, until=until)]

    assert numbers() == [1, 2, 3, 4, 5]
    assert numbers(since=now - 60_000) == [3, 4, 5], "3 was not later than 4, and may be as late"
    assert numbers(since=now + 1) == [5]
    assert numbers(until=now - 60_000) == [1, 2]
    assert numbers(until=now) == [1, 2, 3, 4]
    assert numbers(since=now + YEARS // 2) == []
    times = [entry.time for entry in handle.range()]
    assert times[2] > now + YEARS - 2 * HOUR, "its own time is what it goes on to show"
    assert times[3:] == [now, now + 1_000]


DISTURBANCES: dict[str, Callable[[Database, Path], Database]] = {}


def disturbance(work: Callable[[Database, Path], Database]) -> Callable[[Database, Path], Database]:
    DISTURBANCES[work.__name__] = work
    return work


@disturbance
def nothing(db: Database, path: Path) -> Database:
    return db


@disturbance
def sealing(db: Database, path: Path) -> Database:
    db.engine.seal()
    return db


@disturbance
def restart(db: Database, path: Path) -> Database:
    db.close()
    return timeline.open(path)


@disturbance
def kill(db: Database, path: Path) -> Database:
    copy_as_killed(db, path.with_name("copy"))
    db.close()
    shutil.rmtree(path)
    path.with_name("copy").rename(path)
    return timeline.open(path)


@disturbance
def kill_amid_sealing(db: Database, path: Path) -> Database:
    """Slices are on the disk whose pass was not finished, and with them the time of its end."""
    with db.engine.standing_still():
        store = db.engine.store
        store.begin_pass()
        store.sealing.slice()
        store.storage.flush()
    return kill(db, path)


@disturbance
def a_stall_amid_sealing(db: Database, path: Path) -> Database:
    """A slice, which is then written again, and a restart."""
    write, stalls = Storage.write, [StallError("a pause")]

    def stall_once(storage: Storage, batch: Batch) -> None:
        if stalls:
            raise stalls.pop()
        write(storage, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "write", stall_once)
        db.engine.seal()
    assert not stalls
    return restart(db, path)


@disturbance
def export(db: Database, path: Path) -> Database:
    records = list(export_records(db.engine))
    db.close()
    path.with_name("loaded").mkdir()
    load(path.with_name("loaded"), iter(records))
    return timeline.open(path.with_name("loaded"))


@disturbance
def export_of_some(db: Database, path: Path) -> Database:
    records = list(export_records(db.engine, b"a"))
    db.close()
    path.with_name("loaded").mkdir()
    load(path.with_name("loaded"), iter(records))
    return timeline.open(path.with_name("loaded"))


@pytest.mark.parametrize("disturb", DISTURBANCES)
@pytest.mark.parametrize("when", ["ahead", "after"])
def test_a_time_is_found_by_the_order_of_commits(
    tmp_path: Path, machine: Machine, disturb: str, when: str
) -> None:
    db = timeline.open(tmp_path / "store")
    if when == "after":
        now = ahead_once(db, machine)
        db = DISTURBANCES[disturb](db, tmp_path / "store")
    else:
        write(db, 1)
        machine.now += 1_000
        write(db, 2)
        machine.now += YEARS
        write(db, 3)
        machine.now += HOUR - YEARS
        now = machine.now
        db = DISTURBANCES[disturb](db, tmp_path / "store")
        write(db, 4)
        machine.now += 1_000
        write(db, 5)
    check(db, now)
    path = db.engine.path
    db.close()
    assert verify(path).findings == []
    with timeline.open(path) as db:
        check(db, now)


def test_a_step_right_behind_what_is_sealed_is_known_after_a_kill(
    tmp_path: Path, machine: Machine
) -> None:
    path = tmp_path / "store"
    db = timeline.open(path, search=False)
    write(db, 1)
    machine.now += 1_000
    write(db, 2)
    machine.now += YEARS
    write(db, 3)
    db.engine.seal()
    machine.now += HOUR - YEARS
    now = machine.now
    write(db, 4)
    machine.now += 1_000
    write(db, 5)
    steps = db.engine.store.clock.steps
    db = kill_amid_sealing(db, path)
    assert db.engine.store.clock.steps == steps
    check(db, now)
    db.close()


def test_a_store_that_went_on_in_the_future_comes_back(tmp_path: Path, machine: Machine) -> None:
    """As stores did once: every commit behind the one was of that year."""
    with timeline.open(tmp_path / "store", clock_ahead_ms=10**18) as db:
        write(db, 1)
        machine.now += YEARS
        write(db, 2)
        machine.now -= YEARS
        write(db, 3)
        assert db.timeline("a").range(first=3).__next__().time > machine.now
    machine.now += HOUR
    with timeline.open(tmp_path / "store") as db:
        write(db, 4)
        handle = db.timeline("a")
        assert [entry.seq for entry in handle.range(since=machine.now - 1_000)] == [2, 3, 4]
        assert [entry.seq for entry in handle.range(until=machine.now - 1_000)] == [1]
        assert handle.trim(age_ms=1_000) == 1
        machine.now += HOUR
        assert handle.trim(age_ms=1_000) == 3
    assert verify(tmp_path / "store").findings == []


def test_a_small_step_back_lets_no_time_fall(tmp_path: Path, machine: Machine) -> None:
    with timeline.open(tmp_path / "store") as db:
        write(db, 1)
        machine.now -= 59_000
        write(db, 2)
        times = [entry.time for entry in db.timeline("a").range()]
        assert times[0] == times[1]
        machine.now -= 2_000
        write(db, 3)
        assert db.timeline("a").range(first=3).__next__().time == machine.now
        assert len(db.engine.store.clock.steps) == 1


def test_retention_by_age_drops_what_is_old(tmp_path: Path, machine: Machine) -> None:
    with timeline.open(tmp_path / "store", fsync="inline", retention_check_ms=1) as db:
        ahead_once(db, machine)
        db.timeline("a").set_retention(age_ms=60_000)

        def left() -> int:
            db.engine.chores.soon()
            db.engine.work()
            db.engine.flush()
            return len(db.timeline("a"))

        assert left() == 3
        machine.now += HOUR
        assert left() == 0


def test_conversations_are_searched_by_the_order(tmp_path: Path, machine: Machine) -> None:
    with timeline.open(tmp_path / "store") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.send("team", "ann", {"text": "word old"})
        machine.now += YEARS
        im.send("team", "ann", {"text": "word ahead"})
        machine.now += HOUR - YEARS
        now = machine.now
        im.send("team", "ann", {"text": "word new"})
        for since, until, expected in (
            (now - 60_000, None, [2, 3]),
            (None, now - 60_000, [1]),
            (None, now, [1, 2, 3]),
            (now + 1, None, []),
            (now - 60_000, now, [2, 3]),
        ):
            found = im.history("team", "bob", since=since, until=until)
            assert [entry.seq for entry in found] == expected
            page = im.search("bob", "word", since=since, until=until, wait=10.0)
            assert [hit.seq for hit in page.hits] == expected[::-1]
            whole = db.search("word", since=since, until=until, wait=10.0)
            assert [hit.seq for hit in whole.hits] == expected[::-1]


def test_windows_close_in_their_time(tmp_path: Path, machine: Machine) -> None:
    """Of edits, of keys, and of devices that are gone."""
    with timeline.open(
        tmp_path / "store",
        edit_window_ms=HOUR,
        idempotency_window_ms=HOUR,
        device_idle_ms=2 * HOUR,
        search=False,
    ) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        machine.now += YEARS
        im.send("team", "ann", {"text": "1"}, key="k")
        im.ack("bob", "phone", im.conversations("bob").position)
        machine.now -= YEARS
        assert im.send("team", "ann", {"text": "1"}, key="k").status == "duplicate"
        im.send("team", "ann", {"text": "2"}, key="l")
        machine.now += HOUR + 1
        with pytest.raises(timeline.errors.NoPermissionError):
            im.edit("team", 1, "ann", {"text": "late"})
        assert [each.device for each in im.devices("bob")] == ["phone"]
        im.send("team", "ann", {"text": "3"}, key="m")
        assert im.send("team", "ann", {"text": "1"}, key="k").status == "stored"
        machine.now += HOUR + 1
        assert im.devices("bob") == []


def test_in_boxes_expire_in_their_time(tmp_path: Path, machine: Machine) -> None:
    with timeline.open(
        tmp_path / "store",
        fsync="inline",
        inbox_age_ms=HOUR,
        retention_check_ms=1,
        search=False,
    ) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        machine.now += YEARS
        im.send("team", "ann", {"text": "1"})
        db.engine.seal()
        machine.now -= YEARS
        im.send("team", "ann", {"text": "2"})
        db.engine.seal()
        reached = db.log.head
        machine.now += 2 * HOUR
        for _ in range(3):
            db.engine.store.expiry._next_round = 0.0
            db.engine.work()
        assert db.engine.inboxes.floor == reached


class Rows:
    """What a clock reads of a storage."""

    def __init__(self) -> None:
        self.value: bytes | None = None

    def get(self, family: str, _: bytes) -> bytes | None:
        assert family == META
        return self.value

    def put(self, _: str, __: bytes, value: bytes) -> None:
        self.value = value


@pytest.mark.parametrize("seed", range(20))
def test_times_by_the_order_never_fall(seed: int) -> None:
    """Against the lowest of all times behind a commit; replayed and read again on the way."""
    chance = random.Random(seed)
    rows = Rows()
    storage: Storage = rows  # type: ignore[assignment]
    clock = Clock(storage, 0)
    times: list[int] = []
    for lsn in range(1, 300):
        last = times[-1] if times else 0
        times.append(chance.choice([last, last + chance.randrange(50), chance.randrange(4_000)]))
        clock.note(lsn, times[-1])
        if chance.random() < 0.05:
            sealed = chance.randrange(len(times))
            clock.keep(rows)  # type: ignore[arg-type]
            clock = Clock(storage, times[sealed - 1] if sealed else 0)
            for again in range(sealed, len(times)):
                clock.note(again + 1, times[again])
    by_order = [clock.by_order(lsn, time) for lsn, time in enumerate(times, 1)]
    assert by_order == sorted(by_order)
    lowest = [min(times[at:]) for at in range(len(times))]
    if len(clock.steps) < 60:
        assert by_order == lowest
    for time in range(0, 4_000, 97):
        first, behind = clock.not_before(time), clock.all_until(time)
        for lsn, own in enumerate(times, 1):
            assert (by_order[lsn - 1] >= time) == (own >= time and lsn >= first)
            assert (by_order[lsn - 1] <= time) == (own <= time or lsn < behind)
