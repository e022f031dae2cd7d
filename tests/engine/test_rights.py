"""What is stored is its owner's alone, whatever the umask; who opened it to others meant it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from tests.engine.golden.stores import unpack
from tests.engine.stores import rights
from timeline.verification import repair, repair_in_place


@pytest.fixture(autouse=True)
def wide_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_store_its_index_and_what_is_made_of_it_are_private(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "store"
    with timeline.open(path, search_prefixes=("t",)) as db:
        for number in range(50):
            db.timeline(f"t{number}").append({"text": "hello"})
        db.compact()
        db.search("hello", wait=10)
        assert rights(path).keys() <= {
            str(each.relative_to(path.parent)) for each in path.rglob("*") if each.is_file()
        }, "whoever may not enter sees no file"
        db.backup(tmp_path / "backup")
        assert rights(tmp_path / "backup") == {}
    assert rights(path) == {}
    timeline.restore(tmp_path / "backup", tmp_path / "restored")
    repair(path, tmp_path / "repaired")
    assert rights(tmp_path / "restored") == rights(tmp_path / "repaired") == {}
    repair_in_place(path)
    assert rights(path) == {}


def test_a_kill_leaves_nothing_open_for_long(tmp_path: Path) -> None:
    path = tmp_path / "store"
    timeline.open(path).close()
    for file in (path / "rocks").iterdir():
        file.chmod(0o644)
    with timeline.open(path):
        pass
    assert rights(path) == {}


def test_a_directory_that_was_there_keeps_its_rights_and_what_is_in_it_is_private(
    tmp_path: Path,
) -> None:
    (tmp_path / "store").mkdir(mode=0o750)
    timeline.open(tmp_path / "store").close()
    assert rights(tmp_path / "store") == {"store": "drwxr-x---"}


def open_to_others(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        each.chmod(0o750 if each.is_dir() else 0o640)


def rights_but_of_tables(path: Path) -> dict[str, str]:
    """RocksDB gives its files the rights that the umask leaves."""
    return {name: mode for name, mode in rights(path).items() if "/rocks/" not in name}


def test_a_store_that_was_opened_to_others_stays_so(tmp_path: Path) -> None:
    """Also what it makes from then on: they could not read the store without it."""
    path = tmp_path / "store"
    with timeline.open(path, search=False, log_file_bytes=4_096) as db:
        db.timeline("a").append({"n": "1"})
    open_to_others(path)
    before = set((path / "log").iterdir())
    with timeline.open(path, search=False, log_file_bytes=4_096) as db:
        db.log.move("keeps the log", 0)
        while len({*(path / "log").iterdir()} - before) < 4:
            db.timeline("a").append({"n": "x" * 1_000})
        db.backup(tmp_path / "backup")
    assert rights_but_of_tables(path) == {
        "store": "drwxr-x---",
        "store/rocks": "drwxr-x---",
        "store/log": "drwxr-x---",
        **{f"store/log/{each.name}": "-rw-r-----" for each in (path / "log").iterdir()},
        "store/MARK": "-rw-r-----",
        "store/LOCK": "-rw-r-----",
    }
    assert rights(tmp_path / "backup") == {}


@pytest.mark.parametrize("shared", [False, True])
def test_a_store_of_format_1_has_the_same_rights_when_it_has_moved_on(
    tmp_path: Path, shared: bool
) -> None:
    path = unpack("v1", tmp_path)
    if shared:
        open_to_others(path)
    else:
        path.chmod(0o700)
        (path / "rocks").chmod(0o700)
    timeline.open(path, search=False).close()
    found = rights_but_of_tables(path)
    if shared:
        assert found["v1/log"] == "drwxr-x---"
        for each in (path / "log").iterdir():
            assert found[f"v1/log/{each.name}"] == "-rw-r-----"
    else:
        assert not any("log" in name for name in found)
