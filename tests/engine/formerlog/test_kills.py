"""The promise: a kill or a failure while a store of format 1 moves on changes nothing. The next
opening finds what this one would have found.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.formerlog.stores import NAME, OPTIONS, check, check_moved_on
from tests.engine.golden.stores import unpack
from tests.log.disk import Disk, Rename
from timeline.errors import StallError, StorageError
from timeline.formats.logfiles import decode_file_header
from timeline.log.log import CommitLog
from timeline.storage.rocks import Storage

CALLS: list[tuple[Any, str]] = [
    (shutil, "rmtree"),
    (CommitLog, "append"),
    (CommitLog, "sync"),
    (CommitLog, "close"),
    (os, "pwrite"),  # of the header of a file of the log
    (os, "pwritev"),  # of a record
    (Storage, "write"),
    (Storage, "flush"),
    (Storage, "drop_former_log"),
]


@contextmanager
def before_each_call(do: Callable[[str], None]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CALLS:
            original = getattr(owner, name)

            label = f"{owner.__name__}.{name}"

            def wrapped(
                *arguments: Any,  # noqa: ANN401
                _original: Callable[..., Any] = original,
                _name: str = label,
                **options: Any,  # noqa: ANN401
            ) -> Any:  # noqa: ANN401
                if _name != "os.pwrite" or decode_file_header(bytes(arguments[1])) is not None:
                    do(_name)
                return _original(*arguments, **options)

            patch.setattr(owner, name, wrapped)
        yield


def copy_if_there(source: str, target: str) -> None:
    """A thread makes the next file of the log, and gives it its name, meanwhile."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def test_a_kill_before_any_call_leaves_the_same_store(
    tmp_path: Path, listed: dict[str, Any]
) -> None:
    store = unpack(NAME, tmp_path)
    killed: list[tuple[str, Path]] = []

    def copy(name: str) -> None:
        target = tmp_path / f"killed-{len(killed)}"
        killed.append((name, target))
        shutil.copytree(store, target, copy_function=copy_if_there)

    with before_each_call(copy):
        db = timeline.open(store, OPTIONS)
    db.close()
    names = [name for name, _ in killed]
    assert {f"{owner.__name__}.{name}" for owner, name in CALLS} == set(names)
    # Many records are copied; a kill at the first, at the last and at some between will do.
    copying = [number for number, name in enumerate(names) if name.startswith("os.")]
    for number, (_, path) in enumerate(killed):
        if number in copying[6:-6] and number % 17:
            continue
        with timeline.open(path, OPTIONS) as db:
            check(db, listed)
        check_moved_on(path)
        with timeline.open(path, OPTIONS) as db:
            check(db, listed)
        shutil.rmtree(path)


def test_the_new_log_is_durable_before_the_store_says_so(
    store: Path, listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut takes what was not fsynced, names of files too."""
    disk = Disk(monkeypatch)
    disk.watch(store / "log")
    pending: list[object] = []

    def note(name: str) -> None:
        if name == "Storage.write" and not pending:
            files = {path.stat().st_ino for path in (store / "log").glob("*.log")}
            assert files
            pending.append([write for write in disk._writes if write.inode in files])
            renames = [each for each in disk._names if isinstance(each, Rename)]
            pending.append([each for each in renames if each.target.suffix == ".log"])

    with before_each_call(note):
        db = timeline.open(store, OPTIONS)
    check(db, listed)
    db.close()
    assert pending == [[], []]


@pytest.mark.parametrize(
    "call",
    [
        "CommitLog.append",
        "CommitLog.sync",
        "os.pwrite",
        "Storage.write",
        "Storage.flush",
        "Storage.drop_former_log",
    ],
)
def test_a_failure_is_raised_and_the_next_opening_moves_on(
    store: Path, listed: dict[str, Any], call: str
) -> None:
    def fail(name: str) -> None:
        if name == call:
            full = OSError(errno.ENOSPC, "No space left on device")
            raise full if name.startswith("os.") else StorageError("the disk is full")

    with before_each_call(fail), pytest.raises(StorageError, match="the disk is full"):
        timeline.open(store, OPTIONS)
    with timeline.open(store, OPTIONS) as db:
        check(db, listed)
    check_moved_on(store)


def test_a_pause_that_the_disk_asks_for_is_waited_for(store: Path, listed: dict[str, Any]) -> None:
    asked: set[str] = set()

    def pause(name: str) -> None:
        if name in ("CommitLog.append", "Storage.write") and name not in asked:
            asked.add(name)
            raise StallError("try again soon")

    with before_each_call(pause):
        db = timeline.open(store, OPTIONS)
    check(db, listed)
    db.close()
    check_moved_on(store)
