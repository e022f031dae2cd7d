"""The promise: a range is the same, however its entries lie in segments and memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.formats import keys
from timeline.lsm.ranges import Ranges
from timeline.lsm.timeline import Timeline
from timeline.options import Options

COUNT = 40
GONE = {7, 20, 33}


@pytest.fixture(params=[(), (40,), (15, 30), (10, 20, 39)], ids=["memory", "disk", "both", "many"])
def db(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Entries 1 to 40 without some, sealed after the numbers given, eight to a segment."""
    options = Options(fsync="inline", segment_entries=8, search=False)
    with timeline.open(tmp_path / "store", options) as opened:
        handle = opened.timeline("t")
        for number in range(1, COUNT + 1):
            handle.append({"n": str(number)})
            if number in request.param:
                with opened.engine.lock:
                    opened.engine.store.begin_pass()
                    opened.engine.store.finish_pass()
        handle.delete(*GONE)
        yield opened


@pytest.fixture
def found(db: Database) -> Iterator[tuple[Ranges, Timeline]]:
    with db.engine.lock:
        timeline_object = db.engine.timelines.find(b"t")
        assert timeline_object is not None
        yield db.engine.timelines.ranges, timeline_object


def expected(first: int, last: int) -> list[int]:
    return [seq for seq in range(max(first, 1), min(last, COUNT) + 1) if seq not in GONE]


BOUNDS = [(0, keys.MAX), (7, 7), (8, 33), (1, 15), (16, 31), (39, 99), (41, 99), (30, 20)]


@pytest.mark.parametrize(("first", "last"), BOUNDS)
@pytest.mark.parametrize("limit", [None, 1, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_range_is_what_was_appended_and_not_deleted(
    found: tuple[Ranges, Timeline], first: int, last: int, limit: int | None, *, reverse: bool
) -> None:
    ranges, t = found
    wanted = expected(first, last)[:: -1 if reverse else 1][:limit]
    stored = ranges.stored(t, first, last, limit, reverse=reverse)
    assert [seq for seq, *_ in stored] == wanted
    page = ranges.read(t, first, last, limit, reverse=reverse)
    assert page.count == len(wanted)
    assert b"".join(page.chunks) == b"".join(payload for *_, payload in stored)
    assert page.last == (wanted[-1] if wanted else None)


@pytest.mark.parametrize(("first", "last"), BOUNDS)
def test_payloads_by_number_are_those_of_the_range(
    found: tuple[Ranges, Timeline], first: int, last: int
) -> None:
    ranges, t = found
    stored = ranges.stored(t, first, last, None, reverse=False)
    assert ranges.payloads(t, first, last) == {seq: payload for seq, _, _, payload in stored}


def test_an_entry_by_its_number_is_that_of_the_range(found: tuple[Ranges, Timeline]) -> None:
    ranges, t = found
    stored = {row[0]: row for row in ranges.stored(t, 0, keys.MAX, None, reverse=False)}
    for seq in (0, *range(1, COUNT + 3), keys.MAX):
        assert ranges.entry(t, seq) == stored.get(seq)


@pytest.mark.parametrize(("first", "last"), BOUNDS)
def test_counting_agrees_with_reading(
    found: tuple[Ranges, Timeline], first: int, last: int
) -> None:
    ranges, t = found
    assert ranges.count(t, first, last) == len(expected(first, last))


def test_an_extent_says_what_is_there(found: tuple[Ranges, Timeline]) -> None:
    ranges, t = found
    extent = ranges.extent(t)
    assert (extent.first, extent.head, extent.length) == (1, COUNT, COUNT - len(GONE))
    assert (extent.deleted, extent.added) == (33, COUNT)


def test_an_entry_is_found_by_its_commit(found: tuple[Ranges, Timeline]) -> None:
    ranges, t = found
    for seq, lsn, *_ in ranges.stored(t, 1, COUNT, None, reverse=False):
        at = ranges.first_above(t, lsn - 1)
        assert expected(at, COUNT)[0] == seq
    assert ranges.first_above(t, lsn) == COUNT + 1
    assert ranges.first_since(t, 0) == 1
    assert ranges.first_since(t, 2**62) == COUNT + 1
