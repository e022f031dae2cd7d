"""One holder at a time: of a store, of what is being made, and whatever its own process does.

A lock that the holder's own reads undo, or that a forked child keeps, is none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import timeline
from tests.engine.others import opening
from tests.engine.stores import wait_for_spare
from timeline.engine.store.directory import LOCK
from timeline.errors import LockedError
from timeline.storage import files
from timeline.storage.lock import Lock
from timeline.verification import repair, repair_in_place


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with timeline.open(path, search=False) as db:
        db.timeline("a").append({"n": "1"})
    return path


def copy(path: Path) -> None:
    shutil.copytree(path, path.with_name("copy"))


def archive(path: Path) -> None:
    with tarfile.open(path.with_name("archive.tar"), "w") as tar:
        tar.add(path)


def check(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                hashlib.file_digest(opened, "sha256")


def look(path: Path) -> None:
    with timeline.open(path, read_only=True, search=False) as db:
        assert len(db.timeline("a")) == 1


@pytest.mark.parametrize("read", [copy, archive, check, look])
def test_a_directory_that_its_own_process_reads_stays_locked(
    store: Path, read: Callable[[Path], None]
) -> None:
    with timeline.open(store, search=False) as db:
        wait_for_spare(db.engine.store)
        read(store)
        holder = f"another process (pid {os.getpid()})"
        advice = "stop it, or talk to it over the network"
        assert opening(store) == f"{store} is in use by {holder}: {advice}"
        db.timeline("a").append({"n": "2"})
    assert opening(store) == "opened"


def test_it_stays_locked_while_its_storage_is_opened_again(store: Path) -> None:
    with timeline.open(store, search=False) as db, db.engine.lock:
        db.engine.store.storage.close()
        assert "in use by another process" in opening(store)
        db.engine._load()


@pytest.mark.parametrize(
    "mend", [lambda path: repair(path, path.with_name("new")), repair_in_place]
)
def test_a_repair_is_refused_where_the_store_is_open(
    store: Path, mend: Callable[[Path], object]
) -> None:
    with timeline.open(store, search=False):
        copy(store)
        with pytest.raises(LockedError, match="open in this process"):
            mend(store)
        assert "in use by another process" in opening(store)


def test_nobody_opens_what_is_being_repaired(store: Path) -> None:
    said: list[str] = []
    repair(store, store.with_name("new"), step=lambda _: said.append(opening(store)))
    assert said[0].startswith(f"{store} is in use by another process: stop it")


def test_the_first_of_two_that_make_one_directory_makes_it(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with files.new_directory(target) as partial:
        (partial / "first").touch()
        refused = pytest.raises(LockedError, match=f"{target} is in use by this process")
        with refused, files.new_directory(target):
            pytest.fail("it is being made")
        copy(partial)
    assert [each.name for each in target.iterdir()] == ["first"]


@contextmanager
def forked(body: Callable[[], None]) -> Iterator[None]:
    """A child that does `body`, and is there until the block ends."""
    done, pipe = os.pipe()
    pid = os.fork()
    if pid == 0:
        body()
        os.write(pipe, b".")
        signal.pause()
    try:
        assert os.read(done, 1) == b"."
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(done)
        os.close(pipe)


def test_a_forked_child_neither_ends_the_lock_nor_keeps_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / LOCK, tmp_path, "wait")
    with forked(lock.release), pytest.raises(LockedError, match="in use by this process"):
        Lock(tmp_path / LOCK, tmp_path, "wait")
    with forked(lambda: None):
        lock._drop()  # as the end of the process would
        Lock(tmp_path / LOCK, tmp_path, "wait").release()


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(b"1\n")
    lock = Lock(tmp_path / LOCK, tmp_path, "wait", signed=True)
    assert (tmp_path / LOCK).read_bytes() == b"%d\n" % os.getpid()
    lock.release()
    assert (tmp_path / LOCK).read_bytes() == b""


def test_what_lets_go_while_others_ask_is_never_had_twice(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            try:
                lock = Lock(tmp_path / "part", tmp_path, "wait", directory=True)
            except LockedError:
                continue
            inside += 1
            most = max(most, inside)
            inside -= 1
            (tmp_path / "part").rmdir()
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_what_lets_go_between_a_try_and_the_look_at_who_holds_it_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Lock(tmp_path / LOCK, tmp_path, "wait", signed=True)
    attempt = Lock._try

    def beaten(lock: Lock) -> bool:
        had = attempt(lock)
        held.release()
        return had

    monkeypatch.setattr(Lock, "_try", beaten)
    late = Lock(tmp_path / LOCK, tmp_path, "wait")
    assert late.stands
    late.release()
