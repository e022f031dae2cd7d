"""The promise: what is written is read back in order, and every refusal has a type of ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Options as RocksOptions, Rdict

from timeline.errors import ClosedError, LockedError
from timeline.options import Options
from timeline.storage.rocks import FAMILIES, FORMER_LOG, META, SEGMENTS, STATE, Storage


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
    batch.put(META, b"k", b"meta")
    batch.delete(STATE, b"k")
    assert (len(batch), storage.get(META, b"k")) == (3, None)
    storage.write(batch)
    assert (storage.get(STATE, b"k"), storage.get(META, b"k")) == (None, b"meta")


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
    for key in (b"0", b"1"):
        storage = Storage(tmp_path, Options())
        fill(storage, key)
        storage.close()
    storage = Storage(tmp_path, Options())
    assert list(storage.keys(STATE, b"", b"z")) == [b"0", b"1"]
    storage.close()


def killed(storage: Storage, target: Path) -> Storage:
    """What a kill leaves of a storage at this moment, opened."""
    shutil.copytree(storage.path, target)
    return Storage(target, Options())


def test_a_kill_takes_what_was_not_flushed_from_all_families_alike(
    storage: Storage, tmp_path: Path
) -> None:
    for number in range(3):
        batch = storage.batch()
        for family in FAMILIES:
            batch.put(family, b"%d" % number, b"")
        storage.write(batch)
        if number < 2:
            storage.flush()
    left = killed(storage, tmp_path / "killed")
    for family in FAMILIES:
        assert list(left.keys(family, b"", b"z")) == [b"0", b"1"]
    left.close()


def test_a_flush_makes_durable_what_other_families_hold_alone(
    storage: Storage, tmp_path: Path
) -> None:
    """Not only what lies in the family by which it is asked for."""
    batch = storage.batch()
    batch.put(SEGMENTS, b"k", b"v")
    storage.write(batch)
    storage.flush()
    left = killed(storage, tmp_path / "killed")
    assert left.get(SEGMENTS, b"k") == b"v"
    left.close()


def test_nothing_goes_into_the_wal(storage: Storage) -> None:
    fill(storage, *(b"%d" % number for number in range(100)))
    assert [path.stat().st_size for path in storage.path.glob("*.log")] == [0]


def test_the_log_of_a_former_store_is_kept_until_it_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rocks"
    Storage(path, Options()).close()
    families = {name: RocksOptions(raw_mode=True) for name in Rdict.list_cf(str(path))}
    database = Rdict(str(path), RocksOptions(raw_mode=True), families)
    log = database.create_column_family(FORMER_LOG, RocksOptions(raw_mode=True))
    log.put(b"k", b"x" * 100_000)
    log.flush()
    database.close()
    del log, database
    for dropping in (False, True):
        storage = Storage(path, Options())
        assert storage.has_former_log
        assert storage.get(FORMER_LOG, b"k") == b"x" * 100_000
        if dropping:
            storage.drop_former_log()
            assert not storage.has_former_log
        storage.close()
    storage = Storage(path, Options())
    assert not storage.has_former_log
    assert not list(path.glob("*.sst")), "its files have gone too"
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
        lambda: storage.write(storage.batch()),
        storage.flush,
    ):
        with pytest.raises(ClosedError):
            action()
