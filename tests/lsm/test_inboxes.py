"""The promise: a delivery reaches the members at its LSN, and in-boxes are read in order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.formats import keys
from timeline.formats.numbers import NO_LSN, Lsn, Seq, TimelineId
from timeline.formats.references import encode_reference, encode_references
from timeline.formats.rows import encode_spans
from timeline.lsm.inboxes import OPEN, Inboxes
from timeline.lsm.memtable import Memtable
from timeline.lsm.state import State
from timeline.options import Options
from timeline.storage.rocks import INBOXES, Storage

AUDIENCE = 9
ANN = 1


class Floor:
    """In-boxes with a memtable below, as a store puts them together."""

    def __init__(self, storage: Storage, members: int = 100) -> None:
        self.storage = storage
        self.memtable = Memtable()
        self.inboxes = Inboxes(storage, State(storage, self.memtable), members)

    def join(self, inbox: int, *spans: tuple[int, int], audience: int = AUDIENCE) -> None:
        key = keys.AUDIENCE + keys.pair(audience, inbox)
        value = encode_spans(spans) if spans else None
        self.memtable.put(key, value)
        self.inboxes.change(key, value)

    def reached(self, lsn: int, audience: int = AUDIENCE) -> list[int]:
        return sorted(inbox.id for inbox in self.inboxes.audience(audience).reached(Lsn(lsn)))

    def deliver(self, *lsns: int) -> None:
        """A reference for ANN by each of these commits; several where one is repeated."""
        for at, lsn in enumerate(lsns):
            ordinal = lsns[:at].count(lsn)
            reference = encode_reference(Lsn(lsn), TimelineId(5), Seq(lsn), 1, ordinal)
            self.memtable.deliver([self.inboxes.inbox(ANN)], reference)

    def seal(self, *lsns: int) -> None:
        """The same, as one segment on the disk."""
        key = keys.pair(ANN, lsns[-1])
        references = [encode_reference(Lsn(lsn), TimelineId(5), Seq(lsn), 1) for lsn in lsns]
        batch = self.storage.batch()
        batch.put(INBOXES, key, encode_references(key, references))
        self.storage.write(batch)


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    storage = Storage(tmp_path, Options())
    yield Floor(storage)
    storage.close()


def test_whom_a_commit_reaches_is_asked_in_any_order_while_many_come_and_go(floor: Floor) -> None:
    draw = random.Random(7)
    members: dict[int, list[tuple[int, int]]] = {}
    for _ in range(300):
        inbox = draw.randrange(1, 12)
        spans: list[tuple[int, int]] = []
        at = draw.randrange(5)
        while at < 60 and draw.random() < 0.7:
            end = at + draw.randrange(9)
            spans.append((at, end))
            at = end + draw.randrange(1, 9)
        if spans and draw.random() < 0.5:
            spans[-1] = (spans[-1][0], OPEN)
        if spans:
            members[inbox] = spans
            floor.join(inbox, *spans)
        for lsn in [*draw.choices(range(70), k=4), 20, 20, 21]:
            expected = [
                inbox
                for inbox, its in sorted(members.items())
                if any(start <= lsn <= end for start, end in its)
            ]
            assert floor.reached(lsn) == expected


def test_a_delivery_reaches_those_with_a_span_around_its_lsn(floor: Floor) -> None:
    floor.join(1, (3, 6))
    floor.join(2, (5, OPEN))
    floor.join(3, (2, 3), (7, OPEN))
    assert [floor.reached(lsn) for lsn in (2, 3, 5, 6, 7)] == [[3], [1, 3], [1, 2], [1, 2], [2, 3]]


def test_a_change_of_membership_is_followed_by_the_cached_audience(floor: Floor) -> None:
    floor.join(1, (1, OPEN))
    assert floor.reached(5) == [1]
    floor.join(2, (6, OPEN))
    floor.join(1, (1, 7))
    assert [floor.reached(lsn) for lsn in (5, 6, 8)] == [[1], [1, 2], [2]]
    floor.join(2)
    assert floor.reached(8) == []


def test_an_audience_that_was_forgotten_comes_back(tmp_path: Path) -> None:
    storage = Storage(tmp_path, Options())
    floor = Floor(storage, members=1)
    for audience in (7, 8):
        floor.join(1, (1, OPEN), audience=audience)
    for audience in (7, 8, 7):
        assert floor.reached(2, audience) == [1]
    storage.close()


def read(floor: Floor, lsn: int = 0, number: int = -1, limit: int = 100) -> list[tuple[int, int]]:
    found = floor.inboxes.read(ANN, Lsn(lsn), number, limit)
    return [(reference.lsn, number) for reference, number in found]


def back(floor: Floor, lsn: int, number: int, limit: int = 100) -> list[tuple[int, int]]:
    found = floor.inboxes.read_back(ANN, Lsn(lsn), number, limit)
    return [(at, number) for (at, *_), number in found]


def test_references_are_read_from_disk_and_both_generations_as_one(floor: Floor) -> None:
    floor.seal(1, 2)
    floor.seal(3, 4)
    floor.deliver(3, 4, 5)  # sealed by now, and still in memory
    floor.memtable.rotate(5, [])
    floor.deliver(7, 7)
    expected = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (7, 0), (7, 1)]
    assert read(floor) == expected
    assert read(floor, 3, 0, 3) == [(4, 0), (5, 0), (7, 0)]
    assert read(floor, 7, 0) == [(7, 1)]
    assert back(floor, 9, 0) == expected[::-1]
    assert back(floor, 7, 0, 2) == [(7, 0), (5, 0)]
    assert floor.inboxes.count(ANN) == len(expected)


def test_a_page_of_what_is_above_ends_with_its_commit(floor: Floor) -> None:
    floor.seal(1, 2)
    floor.deliver(5, 5, 5, 6)
    assert [fields[0] for fields in floor.inboxes.above(ANN, Lsn(1), 2)] == [2, 5, 5, 5]
    assert [fields[0] for fields in floor.inboxes.above(ANN, Lsn(5), 9)] == [6]
    assert floor.inboxes.above(ANN, Lsn(6), 9) == []


def test_nothing_at_or_below_the_floor_is_read(floor: Floor) -> None:
    floor.seal(1, 2, 3)
    floor.deliver(4, 5)
    floor.inboxes.floor = Lsn(2)
    assert read(floor) == [(3, 0), (4, 0), (5, 0)]
    floor.inboxes.inbox(ANN).floor = Lsn(4)
    assert floor.inboxes.floor_of(ANN) == 4
    assert read(floor) == back(floor, 9, 0) == [(5, 0)]
    assert [fields[0] for fields in floor.inboxes.above(ANN, NO_LSN, 9)] == [5]
