"""A full disk: writes are refused by type, reads go on, and writing resumes by itself.

The log meets it when it makes a file ahead, before a commit needs that. So nobody is left in doubt.

On a small file system in memory, which takes root to mount; skipped where that is not allowed.
"""

from __future__ import annotations

import errno
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import redis

import timeline
from tests.disks import small_disk
from tests.engine.stores import abandon, copy_files, healed
from tests.server.daemon import Client, Daemon
from timeline.embedded.database import Database
from timeline.embedded.handle import TimelineHandle
from timeline.errors import (
    BusyError,
    ReadOnlyError,
    StorageError,
    TimelineError,
    UncertainError,
)
from timeline.options import KIB, MIB, Options

SIZE = 48 * MIB
OPTIONS = Options(
    unsealed_bytes=2 * MIB,
    write_buffer_bytes=MIB,
    segment_cache_bytes=256 * KIB,
    slice_ms=5.0,
    log_file_bytes=4 * MIB,
)
SECONDS = 30.0


@pytest.fixture(name="small_disk")
def small_disk_(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", SIZE) as path:
        yield path


def free(path: Path) -> int:
    return shutil.disk_usage(path).free


def fill(path: Path, leave: int) -> Path:
    """Use up the disk but for `leave` bytes."""
    ballast = path / "ballast"
    # Cutting it first would give space to a store that waits for some.
    with ballast.open("ab", buffering=0) as file:
        while (room := free(path) - leave) > 0:
            try:
                file.write(bytes(min(64 * KIB, room)))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break  # the store took the last of it meanwhile
    return ballast


def value(seq: int) -> str:
    return f"{seq}:" + "x" * 8_000


def append(db: Database, seq: int) -> int:
    """Append entry `seq`, also where a busy disk asks for a pause first."""
    while True:
        try:
            return db.timeline("a").append({"v": value(seq)})
        except BusyError:
            db.engine.work()


def append_until_refused(db: Database, head: int) -> int:
    """Append until there is no room; the last number that was acknowledged. Nobody is in doubt."""
    refused: ReadOnlyError | None = None
    while refused is None:
        try:
            head = append(db, head + 1)
        except ReadOnlyError as error:
            refused = error
    assert refused.retryable
    assert "free some space" in str(refused)
    return head


def readable(db: Database) -> list[int]:
    found = []
    for entry in db.timeline("a").range():
        assert entry.text("v") == value(entry.seq), "other content was served"
        found.append(entry.seq)
    return found


@pytest.mark.parametrize("fsync", ["thread", "inline"])
def test_a_full_disk_refuses_writes_goes_on_reading_and_recovers_by_itself(
    small_disk: Path, fsync: Literal["thread", "inline"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.01)
    db = timeline.open(small_disk / "store", replace(OPTIONS, fsync=fsync))
    handle = db.timeline("a")
    acknowledged = 0
    for _ in range(2):  # it may happen again
        for _ in range(100):
            acknowledged = append(db, acknowledged + 1)
        ballast = fill(small_disk, 600 * KIB)
        acknowledged = append_until_refused(db, acknowledged)
        fill(small_disk, 0)
        for _ in range(5):
            with pytest.raises(ReadOnlyError):
                handle.append({"v": "refused"})
            assert not db.engine.work()
            found = readable(db)
            assert found == list(range(1, acknowledged + 1))
        ballast.unlink()
        assert healed(db, SECONDS), "writing did not resume when there was space again"
        assert handle.head == acknowledged
        acknowledged = append(db, acknowledged + 1)
        assert acknowledged == handle.head
        assert readable(db) == list(range(1, acknowledged + 1))
    db.close()
    with timeline.open(small_disk / "store", OPTIONS) as again:
        assert readable(again) == list(range(1, acknowledged + 1))


@pytest.mark.parametrize("fsync", ["thread", "inline"])
def test_a_disk_that_is_full_when_rocksdb_flushes_leaves_nobody_in_doubt(
    small_disk: Path, tmp_path: Path, fsync: Literal["thread", "inline"]
) -> None:
    """And the log keeps what RocksDB could not write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.01)
        options = replace(OPTIONS, fsync=fsync, search=False)
        db = timeline.open(small_disk / "store", options)
        acknowledged = 0
        for _ in range(300):
            acknowledged = append(db, acknowledged + 1)
        db.engine.store.log._written._spare.wait()  # type: ignore[union-attr]
        ballast = fill(small_disk, 0)
        with suppress(StorageError):  # RocksDB may have begun to flush by itself
            db.engine.seal()  # into its memory
        with db.engine.standing_still():
            db.engine.store.flushing.begin()
        db.engine.store.flushing.wait()
        acknowledged = append_until_refused(db, acknowledged)
        assert readable(db) == list(range(1, acknowledged + 1))
        killed = tmp_path / "killed"
        with db.engine.standing_still():  # RocksDB has given up, and changes nothing
            copy_files(small_disk / "store", killed)
        ballast.unlink()
        assert healed(db, SECONDS)
        acknowledged = append(db, acknowledged + 1)
        assert readable(db) == list(range(1, acknowledged + 1))
        db.close()
    with timeline.open(killed, OPTIONS) as again:
        assert readable(again) == list(range(1, acknowledged))


def test_a_store_with_no_room_for_more_log_opens_and_is_read(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RocksDB needs some for its own small files."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.01)
    with timeline.open(small_disk / "store", OPTIONS) as db:
        for number in range(1, 201):
            append(db, number)
    ballast = fill(small_disk, 250 * KIB)
    with timeline.open(small_disk / "store", OPTIONS) as db:
        assert readable(db) == list(range(1, 201))
        acknowledged = 200
        acknowledged = append_until_refused(db, acknowledged)
        assert readable(db) == list(range(1, acknowledged + 1))
        ballast.unlink()
        assert healed(db, SECONDS)
        assert append(db, acknowledged + 1) == acknowledged + 1


def test_a_store_on_a_full_disk_closes_and_opens_again_when_there_is_space(
    small_disk: Path,
) -> None:
    db = timeline.open(small_disk / "store", OPTIONS)
    for number in range(1, 201):
        append(db, number)
    ballast = fill(small_disk, 0)
    abandon(db)
    try:
        timeline.open(small_disk / "store", OPTIONS).close()
    except TimelineError as error:
        assert "space" in str(error).lower()  # noqa: PT017  it may also open
    ballast.unlink()
    with timeline.open(small_disk / "store", OPTIONS) as again:
        assert readable(again) == list(range(1, 201))
        assert again.timeline("a").append({"v": value(201)}) == 201


@contextmanager
def files_of_at_most(size: int) -> Iterator[Callable[[], None]]:
    """No file may grow beyond `size` until the function given is called."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def append_many(handle: TimelineHandle, count: int) -> None:
    for number in range(count):
        handle.append({"v": value(number + 1)})


@pytest.mark.parametrize("fsync", ["thread", "inline"])
def test_writing_resumes_by_itself_also_where_nobody_calls(
    tmp_path: Path, fsync: Literal["thread", "inline"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedder has no loop of its own that would see to it."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.01)
    monkeypatch.setattr("timeline.engine.engine._HEAL_PAUSE", 0.01)
    with timeline.open(tmp_path / "store", replace(OPTIONS, fsync=fsync, search=False)) as db:
        handle = db.timeline("a")
        with files_of_at_most(512 * KIB) as lift:
            with pytest.raises(UncertainError, match="limit of file sizes"):
                append_many(handle, 200)
            with pytest.raises(ReadOnlyError, match="limit of file sizes"):
                handle.append({"v": "refused"})
            lift()
        assert healed(db, SECONDS, alone=True)
        assert append(db, handle.head + 1) == handle.head
        assert readable(db) == list(range(1, handle.head + 1))


def use_up(client: Client) -> None:
    for number in range(10_000):
        client.xadd("a", {"v": value(number)})


def test_what_describes_is_still_read_over_the_wire(small_disk: Path, tmp_path: Path) -> None:
    """By the same commands that change it: called without a change, they only read."""
    (small_disk / "store").mkdir()
    (tmp_path / "store").symlink_to(small_disk / "store")  # the daemon logs beside its directory
    words = [f"--unsealed-bytes={2 * MIB}", f"--write-buffer-bytes={MIB}"]
    daemon = Daemon(tmp_path / "store", *words)
    try:
        with daemon.client(protocol=3) as client:
            do = client.execute_command
            do("CONV.CREATE", "team", "ann", "*", "title", "Team")
            do("USER.META", "ann", "*", "name", "Ann")
            do("XADD", "a", "*", "v", "1")
            do("TIMELINE.META", "a", "*", "owner", "ann")
            do("TIMELINE.RETENTION", "a", "MAXLEN", 5_000)
            fill(small_disk, 0)
            with pytest.raises(redis.ResponseError):
                use_up(client)
            with pytest.raises(redis.exceptions.ReadOnlyError):
                do("USER.META", "ann", "*", "name", "Anna")
            assert do("CONV.META", "team", "ann") == {b"title": b"Team"}
            assert do("USER.META", "ann") == {b"name": b"Ann"}
            assert do("TIMELINE.META", "a") == {b"owner": b"ann"}
            assert do("TIMELINE.RETENTION", "a")[b"maxlen"] == 5_000
    finally:
        daemon.stop(signal.SIGKILL)
