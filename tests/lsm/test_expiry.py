"""In-boxes forget what is old: what is younger stays, the disk shrinks, and nobody is held up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import Clock, copy_as_killed
from tests.lsm.expiring import (
    FEW,
    OPTIONS,
    check_few,
    expire,
    join,
    keep_few,
    lsns,
    notify,
    rows,
    send,
    work_until,
)
from timeline.errors import CorruptError
from timeline.formats.keys import pair, split_pair
from timeline.options import DAY, Options
from timeline.storage.rocks import FAMILIES, INBOXES

SIZE = "total-sst-files-size"


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
        users = join(db, *(b"@user:%d" % number for number in range(200)))
        for _ in range(20):
            send(db, 100)
            notify(db, users[::2])  # in-boxes with the same references would take no room
            clock.now += DAY // 16
            db.engine.seal()
        storage = db.engine.store.storage
        for family in (INBOXES, "segments"):
            storage.compact(family, None, None)
        before = size()
        clock.now += DAY
        work_until(db, lambda: size() < before // 4)
        assert rows(db) == []


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


def test_an_in_box_of_notes_has_a_bound_of_its_own(tmp_path: Path, clock: Clock) -> None:
    options = replace(OPTIONS, inbox_references=0, note_references=20)
    with timeline.open(tmp_path / "store", options) as db:
        user, notes = join(db, b"@user:ann", b"@note:ann")
        sent = keep_few(db, 200, 40)
        assert check_few(db, notes, sent) <= 20 + 5 + 3 + 3
        assert lsns(db, user) == sent


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
        storage.write(batch)
        db.engine.inboxes.inbox(bob).floor = None
        clock.now += 16 * DAY
        young = send(db, 2)
        expire(db, old[-1])
        assert lsns(db, ann) == lsns(db, cat) == young
        assert {split_pair(key)[0] for key in rows(db)} == {bob}
        with pytest.raises(CorruptError, match="floor of in-box"):
            lsns(db, bob)
