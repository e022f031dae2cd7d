"""The promise: a store is read beside its owner as of the last look, and nothing in it changes."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.errors import CorruptError, ReadOnlyError
from timeline.options import Options
from timeline.storage.readonly import ReadOnlyStorage
from timeline.storage.rocks import FAMILIES, STATE, Storage


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path / "rocks", Options())
    put(opened, b"a")
    opened.flush()
    yield opened
    opened.close()


@pytest.fixture
def reader(owner: Storage) -> Iterator[ReadOnlyStorage]:
    opened = ReadOnlyStorage(owner.path, Options())
    yield opened
    opened.close()


def put(storage: Storage, key: bytes) -> None:
    batch = storage.batch()
    batch.put(STATE, key, b"")
    storage.write(batch)


def keys(storage: Storage) -> list[bytes]:
    return list(storage.keys(STATE, b"", b"z"))


def test_what_the_owner_flushed_is_seen_from_the_next_look_on(
    owner: Storage, reader: ReadOnlyStorage
) -> None:
    put(owner, b"b")
    reader.catch_up()
    assert keys(reader) == [b"a"], "it is in the owner's memory only"
    owner.flush()
    assert keys(reader) == [b"a"]
    reader.catch_up()
    assert keys(reader) == [b"a", b"b"]


def test_all_families_are_seen_as_of_one_flush(owner: Storage, reader: ReadOnlyStorage) -> None:
    for number in range(20):
        batch = owner.batch()
        for family in FAMILIES:
            batch.put(family, b"%d" % number, b"")
        owner.write(batch)
        if number % 3 == 0:
            owner.flush()
        if number % 7 == 0:
            owner.compact(STATE, None, None, force=True)
        reader.catch_up()
        seen = [list(reader.keys(family, b"0", b":")) for family in FAMILIES]
        assert all(each == seen[0] for each in seen)


def test_it_changes_no_file_of_the_store(owner: Storage) -> None:
    def files() -> dict[str, bytes]:
        found = {path.name: path.read_bytes() for path in owner.path.iterdir()}
        return {name: content for name, content in found.items() if not name.startswith("LOG")}

    before = files()
    reader = ReadOnlyStorage(owner.path, Options())
    for write in (
        lambda: reader.write(reader.batch()),
        reader.flush,
        lambda: reader.compact(STATE),
    ):
        with pytest.raises(ReadOnlyError, match="read only"):
            write()
    reader.close()
    assert files() == before


def test_an_owner_that_opens_its_store_again_meanwhile_is_no_damage(
    owner: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does after a failure, which leaves another MANIFEST."""
    opening = ReadOnlyStorage._open_shown
    again: list[Storage] = []

    def open_again_first(reader: ReadOnlyStorage) -> None:
        if not again:
            owner.close()
            again.append(Storage(owner.path, Options()))
        opening(reader)

    monkeypatch.setattr(ReadOnlyStorage, "_open_shown", open_again_first)
    reader = ReadOnlyStorage(owner.path, Options())
    assert keys(reader) == [b"a"]
    reader.close()
    again[0].close()


def test_files_that_go_while_they_are_opened_are_replaced_by_newer_ones(
    owner: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner compacts after the reader looked which files there are, many times over."""
    opening = ReadOnlyStorage._open_shown
    left = 6

    def compact_first(reader: ReadOnlyStorage) -> None:
        nonlocal left
        if left:
            left -= 1
            put(owner, b"%d" % left)
            owner.compact(STATE, None, None, force=True)
        opening(reader)
        if left:
            raise CorruptError("a file of the store is missing")

    monkeypatch.setattr(ReadOnlyStorage, "_open_shown", compact_first)
    reader = ReadOnlyStorage(owner.path, Options())
    assert keys(reader) == [b"0", b"1", b"2", b"3", b"4", b"5", b"a"]
    reader.close()


def test_what_was_opened_stays_readable_whatever_the_owner_removes(
    owner: Storage, reader: ReadOnlyStorage
) -> None:
    before = set(owner.path.glob("*.sst"))
    put(owner, b"b")
    owner.compact(STATE, None, None, force=True)
    assert not before & set(owner.path.glob("*.sst"))
    assert keys(reader) == [b"a"]


def test_a_reader_that_goes_takes_no_file_with_it(owner: Storage) -> None:
    """What the owner has written since the reader looked is not for the reader to tidy away."""
    reader = ReadOnlyStorage(owner.path, Options())
    put(owner, b"b")
    owner.flush()
    before = sorted(owner.path.iterdir())
    reader.close()
    gc.collect()
    assert sorted(owner.path.iterdir()) == before


def test_an_owner_that_flushes_without_a_pause_keeps_no_reader_waiting(
    owner: Storage, reader: ReadOnlyStorage
) -> None:
    """Each look finds the state of one flush, in all families alike, and none goes back."""
    stop = threading.Event()
    written = 0

    def write_on() -> None:
        nonlocal written
        while not stop.is_set():
            batch = owner.batch()
            for family in FAMILIES:
                batch.put(family, b"%09d" % written, b"")
            owner.write(batch)
            owner.flush()
            written += 1
            if written % 5 == 0:
                owner.compact(STATE, None, None, force=True)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        seen = 0
        while seen < 100:
            reader.catch_up()
            found = [len(list(reader.keys(family, b"0", b":"))) for family in FAMILIES]
            assert len(set(found)) == 1, "families as of different flushes"
            assert found[0] >= seen
            seen = found[0]
    finally:
        stop.set()
        writer.join()
    reader.catch_up()
    assert len(list(reader.keys(STATE, b"0", b":"))) == written
