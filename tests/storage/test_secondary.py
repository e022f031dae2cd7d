"""The promise: a store is read beside its owner as of the last look, and nothing in it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.errors import ReadOnlyError
from timeline.options import Options
from timeline.storage.rocks import FAMILIES, STATE, Storage
from timeline.storage.secondary import ReadOnlyStorage


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
    listed = ReadOnlyStorage._left_out
    again: list[Storage] = []

    def open_again_first(reader: ReadOnlyStorage) -> list[str]:
        if not again:
            owner.close()
            again.append(Storage(owner.path, Options()))
        return listed(reader)

    monkeypatch.setattr(ReadOnlyStorage, "_left_out", open_again_first)
    reader = ReadOnlyStorage(owner.path, Options())
    assert keys(reader) == [b"a"]
    reader.close()
    again[0].close()
