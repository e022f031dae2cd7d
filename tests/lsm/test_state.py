"""The promise: state in memory and on the disk is read as one, the newest value of each key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.lsm.memtable import Memtable
from timeline.lsm.state import State, merge
from timeline.options import Options
from timeline.storage.rocks import STATE, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path, Options())
    batch = opened.batch()
    for key in (b"a", b"c", b"e"):
        batch.put(STATE, key, b"disk")
    opened.write(batch)
    yield opened
    opened.close()


def test_memory_comes_first_and_may_hide_what_the_disk_has(storage: Storage) -> None:
    memtable = Memtable()
    state = State(storage, memtable)
    memtable.put(b"b", b"memory")
    memtable.put(b"c", b"memory")
    memtable.put(b"e", None)
    assert [state.get(key) for key in (b"a", b"b", b"c", b"d", b"e")] == [
        b"disk", b"memory", b"memory", None, None,
    ]  # fmt: skip
    assert list(state.scan(b"a", b"z")) == [(b"a", b"disk"), (b"b", b"memory"), (b"c", b"memory")]
    assert list(state.scan(b"b", b"c")) == [(b"b", b"memory")]


def test_a_merge_takes_all_of_what_lies_behind() -> None:
    below = [(b"b", b"1"), (b"d", b"1"), (b"f", b"1")]
    above = [(b"a", b"2"), (b"b", None), (b"d", b"2")]
    assert list(merge(iter(below), iter(above))) == [(b"a", b"2"), (b"d", b"2"), (b"f", b"1")]
    assert list(merge(iter(below), iter(()))) == below
