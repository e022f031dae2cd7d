"""The promise: what is written is read back in order, and every refusal has a type of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.errors import ClosedError, LockedError
from timeline.options import Options
from timeline.storage.rocks import LOG, STATE, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path / "rocks", Options())
    yield opened
    opened.close()


def fill(storage: Storage, *keys: bytes) -> None:
    batch = storage.batch()
    for key in keys:
        batch.put(STATE, key, b"=" + key)
    storage.write(batch)


def test_a_batch_takes_effect_whole_and_in_its_families(storage: Storage) -> None:
    batch = storage.batch()
    batch.put(STATE, b"k", b"state")
    batch.put(LOG, b"k", b"log")
    batch.delete(STATE, b"k")
    assert (len(batch), storage.get(LOG, b"k")) == (3, None)
    storage.write(batch)
    assert (storage.get(STATE, b"k"), storage.get(LOG, b"k")) == (None, b"log")


def test_the_nearest_pairs_are_found_within_bounds(storage: Storage) -> None:
    fill(storage, b"b", b"d", b"f")
    assert storage.at_or_after(STATE, b"c", b"z") == (b"d", b"=d")
    assert storage.at_or_after(STATE, b"c", b"d") is None
    assert storage.at_or_before(STATE, b"e", b"a") == (b"d", b"=d")
    assert storage.at_or_before(STATE, b"d", b"a") == (b"d", b"=d")
    assert storage.at_or_before(STATE, b"e", b"e") is None


def test_a_scan_shows_what_was_there_when_it_began(storage: Storage) -> None:
    fill(storage, b"a", b"b", b"c")
    scan = storage.scan(STATE, b"a", b"c")
    assert next(scan) == (b"a", b"=a")
    fill(storage, b"aa")
    assert list(scan) == [(b"b", b"=b")]
    assert list(storage.keys(STATE, b"a", b"c")) == [b"a", b"aa", b"b"]


@pytest.mark.parametrize("count", [0, 3, 200])
def test_a_range_is_cleared_however_many_keys_it_has(storage: Storage, count: int) -> None:
    fill(storage, b"a", *(b"b%03d" % number for number in range(count)), b"c")
    batch = storage.batch()
    assert storage.clear(batch, STATE, b"b", b"c") == (count > 0)
    storage.write(batch)
    assert list(storage.keys(STATE, b"", b"z")) == [b"a", b"c"]


def test_what_was_written_is_there_after_an_opening(tmp_path: Path) -> None:
    for logged in (True, False):
        storage = Storage(tmp_path, Options())
        batch = storage.batch()
        batch.put(STATE, b"%d" % logged, b"")
        storage.write(batch, logged=logged)
        storage.sync()
        storage.close()
    storage = Storage(tmp_path, Options())
    assert list(storage.keys(STATE, b"", b"z")) == [b"0", b"1"]
    storage.close()


def test_a_checkpoint_is_a_copy_as_of_now(storage: Storage, tmp_path: Path) -> None:
    fill(storage, b"a")
    storage.checkpoint(tmp_path / "copy")
    fill(storage, b"b")
    copy = Storage(tmp_path / "copy", Options(), read_only=True)
    assert list(copy.keys(STATE, b"", b"z")) == [b"a"]
    copy.close()


def test_a_directory_that_is_open_is_locked(storage: Storage) -> None:
    with pytest.raises(LockedError):
        Storage(storage.path, Options())


def test_what_is_closed_says_so(storage: Storage) -> None:
    storage.close()
    for action in (
        lambda: storage.get(STATE, b"k"),
        lambda: storage.at_or_after(STATE, b"", b"z"),
        lambda: list(storage.scan(STATE, b"", b"z")),
        storage.sync,
    ):
        with pytest.raises(ClosedError):
            action()
