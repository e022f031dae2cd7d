"""The promise: one iterator gives each of many owners its own pairs, in order, and bounded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.formats.keys import pair
from timeline.options import Options
from timeline.storage.rocks import SEGMENTS, Storage

OWNERS = [1, 2, 5, 255, 256, 257, 70_000]
LARGE = 1 << 30


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path / "rocks", Options())
    yield opened
    opened.close()


def fill(storage: Storage) -> dict[int, list[tuple[bytes, bytes]]]:
    """Pairs of some owners, in two tables and in memory; some were deleted."""
    draw = random.Random(3)
    rows: dict[bytes, bytes] = {}
    for _ in range(3):
        batch = storage.batch()
        for owner in OWNERS:
            for position in draw.sample(range(60), 20):
                key = pair(owner, position)
                rows[key] = b"x" * draw.randrange(50)
                batch.put(SEGMENTS, key, rows[key])
        for key in draw.sample(sorted(rows), 20):
            batch.delete(SEGMENTS, key)
            del rows[key]
        storage.write(batch)
        storage.flush()
    return {
        owner: [(key, rows[key]) for key in sorted(rows) if key[:8] == pair(owner, 0)[:8]]
        for owner in range(300)
    }


def test_each_owner_gets_its_own_pairs(storage: Storage) -> None:
    rows = fill(storage)
    for owners in (list(range(300)), [1, 2], [2], [3, 4], [5, 256], [0, 299]):
        found = list(storage.owned(SEGMENTS, owners, 0, most=100, most_bytes=LARGE))
        assert found == [(rows[owner], False) for owner in owners]


def test_only_the_first_owner_is_read_from_a_position_on(storage: Storage) -> None:
    rows = fill(storage)
    first, second = storage.owned(SEGMENTS, [2, 5], 30, most=100, most_bytes=LARGE)
    assert first == ([each for each in rows[2] if each[0] >= pair(2, 30)], False)
    assert second == (rows[5], False)


def test_what_is_given_of_an_owner_is_bounded(storage: Storage) -> None:
    rows = fill(storage)
    assert len(rows[1]) > 7
    found = list(storage.owned(SEGMENTS, [1, 2, 3], 0, most=7, most_bytes=LARGE))
    assert found == [(rows[1][:7], True), (rows[2][:7], True), ([], False)]
    exact = list(storage.owned(SEGMENTS, [1], 0, most=len(rows[1]), most_bytes=LARGE))
    assert exact == [(rows[1], False)]
    few = list(storage.owned(SEGMENTS, [1, 2], 0, most=100, most_bytes=1))
    assert few == [(rows[1][:2], True), (rows[2][:2], True)]
