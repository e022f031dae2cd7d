"""The promise: sealing changes no answer, at whichever slice one looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_as_killed, small_steps
from timeline.embedded.database import Database
from timeline.engine.store.store import Store
from timeline.formats.numbers import NO_LSN
from timeline.formats.references import COMPACT, VERSION, Reference
from timeline.options import Options
from timeline.storage.rocks import INBOXES, SEGMENTS

OPTIONS = Options(fsync="inline", segment_entries=8, search=False)
NAMES = [b"a", b"b", b"c"]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with small_steps(), timeline.open(tmp_path / "store", OPTIONS) as opened:
        for number in range(60):
            opened.timeline(NAMES[number % 3]).append({"n": str(number)})
        yield opened


def seal(store: Store) -> Iterator[int]:
    """One pass, a slice at a time; how many there were so far."""
    store.begin_pass()
    slices = 0
    while store.sealing.under_way:
        store.sealing.slice()
        slices += 1
        yield slices


def picture(db: Database) -> dict[bytes, list[tuple[int, bytes | None]]]:
    return {
        name: [(entry.seq, entry.fields.get("n")) for entry in db.timeline(name).range()]
        for name in NAMES
    }


def segments(store: Store) -> int:
    return sum(1 for _ in store.storage.keys(SEGMENTS, b"", b"\xff" * 17))


def test_every_slice_leaves_what_is_read_as_it_was(db: Database) -> None:
    store, before = db.engine.store, picture(db)
    with db.engine.lock:
        fractions = []
        for _ in seal(store):
            assert picture(db) == before
            fractions.append(store.sealing.fraction)
    assert len(fractions) > 10
    assert fractions[:-1] == sorted(fractions[:-1])
    assert segments(store) >= 9


def test_the_sealed_lsn_moves_with_the_last_slice(db: Database) -> None:
    store = db.engine.store
    with db.engine.lock:
        applied = db.engine.applied
        sealed = [store.sealing.sealed for _ in seal(store)]
    assert sealed == [0] * (len(sealed) - 1) + [applied]
    assert store.memtable.immutable is None
    assert store.sealing.passes == 1


def test_what_is_appended_meanwhile_waits_for_the_next_pass(db: Database) -> None:
    store = db.engine.store
    with db.engine.lock:
        for slices in seal(store):
            if slices == 3:
                db.timeline(b"a").append({"n": "late"})
        expected = picture(db)
        assert expected[b"a"][-1] == (21, b"late")
        assert store.sealing.sealed == db.engine.applied - 1
        for _ in seal(store):
            pass
        assert store.sealing.sealed == db.engine.applied
    assert picture(db) == expected


def test_a_trim_during_a_pass_stays_one(db: Database) -> None:
    with db.engine.lock:
        for slices in seal(db.engine.store):
            if slices == 2:
                db.timeline(b"a").trim(before=15)
    assert [seq for seq, _ in picture(db)[b"a"]] == [15, 16, 17, 18, 19, 20]


def test_a_kill_between_slices_loses_and_repeats_nothing(db: Database, tmp_path: Path) -> None:
    store, before = db.engine.store, picture(db)
    with db.engine.lock:
        for slices in seal(store):
            if slices in (2, 5, 9):
                store.storage.flush()
                copy = copy_as_killed(db, tmp_path / str(slices))
                with timeline.open(copy, OPTIONS) as again:
                    assert picture(again) == before


def test_in_boxes_are_read_alike_whether_members_have_the_same_references_or_not(
    db: Database,
) -> None:
    people = [f"user{number}" for number in range(6)]
    for name, members in (("all", people), ("some", people[2:4])):
        db.messaging.create(name, people[2], members=members)
        for number in range(80):
            db.messaging.send(name, people[2], {"text": str(number)})

    def in_boxes() -> list[list[tuple[Reference, int]]]:
        inboxes = db.engine.view.inboxes
        return [inboxes.read(number, NO_LSN, -1, 1_000) for number in range(1, 30)]

    with db.engine.lock:
        before = in_boxes()
        assert sum(len(each) >= 80 for each in before) == len(people)
        for _ in seal(db.engine.store):
            assert in_boxes() == before
    stored = db.engine.store.storage.scan(INBOXES, b"", b"\xff" * 17)
    assert {value[0] for _, value in stored} == {VERSION, COMPACT}
