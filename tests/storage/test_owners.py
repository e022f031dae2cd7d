"""The promise: what lies with an owner is found, and nothing else, however the rows lie in tables,
whether one owner is asked for, or many, or everything.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from timeline.errors import CorruptError
from timeline.formats.keys import MAX, pair
from timeline.options import Options
from timeline.storage.rocks import PATCHES, SEGMENTS, STATE, Storage

OWNERS = st.one_of(st.integers(1, 12), st.sampled_from([255, 256, 257, MAX - 1]))
POSITIONS = st.one_of(st.integers(0, 9), st.sampled_from([255, 256, MAX - 1, MAX]))
KEYS = st.builds(pair, OWNERS, POSITIONS)


class Rows(RuleBasedStateMachine):
    """Rows of owners in many small tables, beside a dictionary."""

    @initialize()
    def begin(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="owners-"))
        self.storage = Storage(self.path / "rocks", Options())
        self.rows: dict[bytes, bytes] = {}

    def teardown(self) -> None:
        if hasattr(self, "storage"):
            self.storage.close()
            shutil.rmtree(self.path)

    def within(self, start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
        return [(key, self.rows[key]) for key in sorted(self.rows) if start <= key < stop]

    @rule(keys=st.lists(KEYS, min_size=1, max_size=8), value=st.binary(max_size=3))
    def put(self, keys: list[bytes], value: bytes) -> None:
        batch = self.storage.batch()
        for key in keys:
            batch.put(SEGMENTS, key, value)
            self.rows[key] = value
        self.storage.write(batch)

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        batch = self.storage.batch()
        batch.delete(SEGMENTS, key)
        self.storage.write(batch)
        self.rows.pop(key, None)

    @rule(start=KEYS, stop=KEYS)
    def delete_range(self, start: bytes, stop: bytes) -> None:
        if start < stop:
            batch = self.storage.batch()
            batch.delete_range(SEGMENTS, start, stop)
            self.storage.write(batch)
            for key, _ in self.within(start, stop):
                del self.rows[key]

    @rule()
    def flush(self) -> None:
        self.storage.flush()

    @rule()
    def compact(self) -> None:
        self.storage.compact(SEGMENTS, None, None, force=True)

    @rule()
    def reopen(self) -> None:
        self.storage.flush()
        self.storage.close()
        self.storage = Storage(self.path / "rocks", Options())

    @rule(owner=OWNERS, position=POSITIONS)
    def look_around_one(self, owner: int, position: int) -> None:
        key = pair(owner, position)
        stop = pair(owner + 1, 0)
        self.look_around(key, stop)
        self.look_back(key, pair(owner, 0))

    @rule(start=KEYS, stop=KEYS)
    def look_around(self, start: bytes, stop: bytes) -> None:
        expected = self.within(start, stop)
        assert self.storage.at_or_after(SEGMENTS, start, stop) == next(iter(expected), None)
        assert list(self.storage.scan(SEGMENTS, start, stop)) == expected

    @rule(key=KEYS, start=KEYS)
    def look_back(self, key: bytes, start: bytes) -> None:
        below = self.within(start, key + b"\0")[::-1]
        assert self.storage.at_or_before(SEGMENTS, key, start) == next(iter(below), None)
        assert list(self.storage.scan_back(SEGMENTS, key, start)) == below

    @rule(start=st.binary(max_size=9), stop=st.binary(max_size=9))
    def look_between_any_bounds(self, start: bytes, stop: bytes) -> None:
        self.look_around(start, stop)

    @rule(owners=st.lists(OWNERS, max_size=6).map(sorted))
    def look_for_many(self, owners: list[int]) -> None:
        lasts = []
        for owner in owners:
            rows = self.within(pair(owner, 0), pair(owner + 1, 0))
            lasts.append(int.from_bytes(rows[-1][0][8:], "big") if rows else 0)
        assert self.storage.last_positions(SEGMENTS, owners) == lasts


def test_rows_are_found_however_they_lie(request: pytest.FixtureRequest) -> None:
    examples = request.config.getoption("model_examples")
    run_state_machine_as_test(
        Rows, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path / "rocks", Options())
    yield opened
    opened.close()


def test_many_keys_are_read_in_the_order_asked_for(storage: Storage) -> None:
    batch = storage.batch()
    for key in (b"a", b"c"):
        batch.put(STATE, key, b"=" + key)
    storage.write(batch)
    assert storage.get_many(STATE, [b"c", b"b", b"a", b"c"]) == [b"=c", None, b"=a", b"=c"]
    assert storage.get_many(STATE, []) == []


def test_a_key_that_is_none_is_damage(storage: Storage) -> None:
    batch = storage.batch()
    batch.put(PATCHES, b"short", b"")
    storage.write(batch)
    with pytest.raises(CorruptError):
        storage.last_positions(PATCHES, [int.from_bytes(b"short\0\0\1", "big")])
