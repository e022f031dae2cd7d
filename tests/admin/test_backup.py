"""The promise: a backup is a whole, consistent copy or none, and never harms the store."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

import timeline
from tests.engine.stores import SMALL, Clock, small_steps
from tests.engine.twin import Twin, picture_of, scenario
from timeline.admin import backup
from timeline.engine.store.directory import CHECKPOINT
from timeline.errors import (
    BusyError,
    CorruptError,
    ExistsError,
    FormatVersionError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from timeline.formats.manifest import MANIFEST, _checksum, decode_manifest, encode_manifest
from timeline.storage import files
from timeline.storage.rocks import Storage

ENTRIES = 300


@pytest.fixture
def store(tmp_path: Path) -> Iterator[timeline.Database]:
    with timeline.open(tmp_path / "data", search=False) as db:
        db.timeline("a").append_many([{"n": str(number)} for number in range(ENTRIES)])
        yield db


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


@pytest.mark.parametrize("durability", ["sync", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_a_restored_store_holds_what_was_backed_up_and_nothing_else(
    tmp_path: Path, seed: int, durability: Literal["sync", "interval"]
) -> None:
    with Clock().installed() as clock, small_steps():
        options = replace(SMALL, fsync="inline", durability=durability)
        twin = Twin(tmp_path / "data", options, clock)
        backed_up = []
        for number, step in enumerate(scenario(60, seed)):
            twin.do(step)
            twin.db.engine.work(0.0001)
            if number % 20 == 19:
                manifest = twin.db.backup(tmp_path / "backups" / str(number))
                backed_up.append((number, manifest.lsn, twin.expected()))
        twin.db.close()
        for number, lsn, expected in backed_up:
            path = tmp_path / "restored" / str(number)
            timeline.restore(tmp_path / "backups" / str(number), path)
            with timeline.open(path, SMALL) as db:
                assert picture_of(db, twin.users) == expected
                assert db.log.head == lsn
                seq = db.timeline("new").append({"goes": "on"})
                assert (seq, db.log.head) == (1, lsn + 1)


def test_writers_go_on_and_what_they_were_told_before_is_in_it(
    store: timeline.Database, tmp_path: Path
) -> None:
    told = [0] * 3
    written = threading.Semaphore(0)
    stop = threading.Event()

    def write(number: int) -> None:
        while not stop.is_set():
            with store.transaction() as both:
                seq = both.append(f"w{number}", {"n": "x"})
                both.append(f"v{number}", {"n": "x"})
            told[number] = seq
            written.release()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    before = []
    for number in range(3):
        for _ in range(30):
            written.acquire(timeout=30)
        before.append(list(told))
        store.backup(tmp_path / f"b{number}")
    stop.set()
    for writer in writers:
        writer.join()
    for number, least in enumerate(before):
        timeline.restore(tmp_path / f"b{number}", tmp_path / f"r{number}")
        with timeline.open(tmp_path / f"r{number}", search=False) as db:
            for writer_number in range(3):
                head = db.timeline(f"w{writer_number}").head
                assert head >= least[writer_number], "it was acknowledged before"
                assert head == db.timeline(f"v{writer_number}").head, "a commit was torn"
                assert len(db.timeline(f"w{writer_number}")) == head


def test_consumers_go_on_in_the_restored_store_where_they_were(
    store: timeline.Database, tmp_path: Path
) -> None:
    """Also one that stands within a group, and while the log above what is sealed grows."""
    with store.engine.lock:  # so that they become one group
        later = [store.timeline("b").append_async({"n": str(number)}) for number in range(10)]
    assert [each.result(10) for each in later] == list(range(1, 11))
    head = store.log.head
    store.log.move("inside", head - 4)
    store.engine.seal()
    store.timeline("c").append({"n": "unsealed"})
    store.log.move("late", store.log.head)
    store.backup(tmp_path / "b")
    store.timeline("c").append({"n": "later"})
    timeline.restore(tmp_path / "b", tmp_path / "r")
    with timeline.open(tmp_path / "r", search=False) as db:
        assert db.log.checkpoints() == {b"inside": head - 4, b"late": head + 1}
        found = db.log.read(after=db.log.checkpoint("inside"))
        assert [commit.lsn for commit in found] == list(range(head - 3, head + 2))
        assert found == store.log.read(after=head - 4)[: len(found)]


def test_a_cursor_of_the_original_resyncs(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        db.messaging.create("team", "ann", members=["bob"])
        cursor = db.messaging.sync("bob", "phone").cursor
        db.messaging.ack("bob", "phone", cursor)
        assert not db.messaging.sync("bob", "phone", after=cursor).resync
        db.backup(tmp_path / "b")
    timeline.restore(tmp_path / "b", tmp_path / "r")
    with timeline.open(tmp_path / "r", search=False) as db:
        assert db.messaging.sync("bob", "phone", after=cursor).resync


# --- what is shared ------------------------------------------------------------------------------


def tables(path: Path) -> dict[str, int]:
    """The tables in a backup, and which file each is."""
    return {each.name: each.stat().st_ino for each in (path / backup.FILES).glob("*.sst")}


def test_on_the_disk_of_the_store_nothing_is_copied(
    store: timeline.Database, tmp_path: Path
) -> None:
    store.backup(tmp_path / "b")
    live = {each.stat().st_ino for each in (tmp_path / "data" / "rocks").glob("*.sst")}
    found = tables(tmp_path / "b")
    assert found
    assert set(found.values()) <= live


def test_on_another_disk_what_an_earlier_backup_holds_is_linked(
    store: timeline.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = files.link

    def across(source: Path, target: Path) -> bool:
        return CHECKPOINT not in source.parts and link(source, target)

    monkeypatch.setattr(backup, "link", across)
    store.engine.seal()  # else it is in the log, which is always copied
    store.backup(tmp_path / "to" / "b1")
    store.timeline("b").append({"n": "more"})
    store.engine.seal()
    store.backup(tmp_path / "to" / "b2")
    first, second = tables(tmp_path / "to" / "b1"), tables(tmp_path / "to" / "b2")
    live = {each.stat().st_ino for each in (tmp_path / "data" / "rocks").glob("*.sst")}
    shared = set(first.values()) & set(second.values())
    assert shared, "the large table of the first is in the second"
    assert set(second.values()) - shared, "and what is new was copied"
    assert not live & set(second.values())


def test_a_damaged_earlier_backup_is_not_shared(
    store: timeline.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "link", lambda *_: False)
    store.backup(tmp_path / "to" / "b1")
    monkeypatch.undo()
    (tmp_path / "to" / "b1" / MANIFEST).write_text("{")
    store.backup(tmp_path / "to" / "b2")
    timeline.restore(tmp_path / "to" / "b2", tmp_path / "r")
    with timeline.open(tmp_path / "r", search=False) as db:
        assert len(db.timeline("a")) == ENTRIES


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["checksum", "copy", "write_durably"])
def test_a_failure_leaves_nothing_behind(
    store: timeline.Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
    place: str,
) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(backup, place, fail)
    expected = StorageError if isinstance(problem, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        store.backup(tmp_path / "b")
    monkeypatch.undo()
    assert names(tmp_path) == ["data"]
    assert CHECKPOINT not in names(tmp_path / "data")
    store.backup(tmp_path / "b")
    store.timeline("a").append({"n": "goes on"})


KILLED = """
import os, signal, sys
from pathlib import Path
import timeline
from timeline.admin import backup
from timeline.storage import files
from timeline.storage.rocks import Storage

left = int(sys.argv[2])

def counted(function):
    def call(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

db = timeline.open(Path(sys.argv[1]) / "data", search=False)
db.timeline("a").append({"n": "before"})
for name in ("checksum", "copy", "link", "sync_directory", "write_durably"):
    setattr(backup, name, counted(getattr(backup, name)))
files.sync_directory = counted(files.sync_directory)
Storage.checkpoint = counted(Storage.checkpoint)
db.backup(Path(sys.argv[1]) / "b")
print(left)
db.close()
"""


def test_a_kill_at_any_time_leaves_the_store_whole_and_no_backup(
    tmp_path: Path, crash_point_stride: int
) -> None:
    def run(calls: int) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", KILLED, str(tmp_path), str(calls)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    done = run(10_000)
    assert done.returncode == 0, done.stderr
    calls = 10_000 - int(done.stdout)
    assert calls > 10
    timeline.restore(tmp_path / "b", tmp_path / "r")
    entries = 1
    for call in range(0, calls, crash_point_stride):
        for name in ("b", "r"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        assert run(call).returncode == -9
        entries += 1
        # The rename makes it a backup; a kill behind that comes too late to leave none.
        assert not (tmp_path / "b").exists() or call == calls - 1
        with timeline.open(tmp_path / "data", search=False) as db:
            assert len(db.timeline("a")) == entries
            assert CHECKPOINT not in names(tmp_path / "data")
            if not (tmp_path / "b").exists():
                db.backup(tmp_path / "b")
        assert names(tmp_path) == ["b", "data"], "what the killed one left is gone"
        timeline.restore(tmp_path / "b", tmp_path / "r")


def test_one_backup_at_a_time(
    store: timeline.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(path: Path, moved: files.Moved) -> int:
        for target in ("b", "other"):
            with pytest.raises(BusyError, match="under way"):
                store.backup(tmp_path / target)
        return files.checksum(path, moved)

    monkeypatch.setattr(backup, "checksum", at_once)
    store.backup(tmp_path / "b")
    timeline.restore(tmp_path / "b", tmp_path / "r")
    assert names(tmp_path) == ["b", "data", "r"], "the first was not disturbed"


def test_what_rocksdb_left_of_a_killed_checkpoint_is_removed(
    store: timeline.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Storage.checkpoint

    def noted(storage: Storage, path: Path) -> None:
        made.append(path.with_name(f"{path.name}.tmp"))  # where it is made, before it is renamed
        checkpoint(storage, path)

    made: list[Path] = []
    monkeypatch.setattr(Storage, "checkpoint", noted)
    store.backup(tmp_path / "b")
    store.close()
    made[0].mkdir(parents=True)
    with timeline.open(tmp_path / "data", search=False):
        assert CHECKPOINT not in "".join(names(tmp_path / "data"))
        assert not made[0].exists()


def test_who_only_reads_the_store_disturbs_no_backup(
    store: timeline.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(path: Path, moved: files.Moved) -> int:
        with (
            timeline.open(tmp_path / "data", read_only=True) as reader,
            pytest.raises(ReadOnlyError),
        ):
            reader.backup(tmp_path / "other")
        return files.checksum(path, moved)

    monkeypatch.setattr(backup, "checksum", meanwhile)
    store.backup(tmp_path / "b")
    timeline.restore(tmp_path / "b", tmp_path / "r")
    assert names(tmp_path) == ["b", "data", "r"]


def test_a_directory_that_holds_something_is_refused(
    store: timeline.Database, tmp_path: Path
) -> None:
    store.backup(tmp_path / "b")
    with pytest.raises(ExistsError, match="not empty"):
        store.backup(tmp_path / "b")
    with pytest.raises(ExistsError, match="not empty"):
        timeline.restore(tmp_path / "b", tmp_path / "data")
    with pytest.raises(NotFoundError, match="is a backup"):
        timeline.open(tmp_path / "b")


def test_what_is_no_whole_backup_is_not_restored(store: timeline.Database, tmp_path: Path) -> None:
    store.backup(tmp_path / "b")
    manifest = tmp_path / "b" / MANIFEST
    whole = manifest.read_bytes()

    def refused(error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            timeline.restore(tmp_path / "b", tmp_path / "r")
        assert names(tmp_path) == ["b", "data"]

    table = max((tmp_path / "b" / backup.FILES).glob("*.sst"), key=lambda each: each.stat().st_size)
    content = table.read_bytes()
    table.unlink()  # it is one file with that of the live store
    refused(CorruptError, "missing")
    table.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    refused(CorruptError, "damaged")
    table.write_bytes(content[:-1])
    refused(CorruptError, "damaged")
    table.write_bytes(content)
    manifest.write_bytes(whole.replace(b'"lsn": ', b'"lsn": 1'))
    refused(CorruptError, "manifest")
    manifest.write_bytes(encode_manifest(decode_manifest(whole)._replace(lsn=99)))
    refused(CorruptError, "ends at LSN|log ends")
    manifest.write_bytes(encode_manifest(decode_manifest(whole)._replace(format=99)))
    refused(FormatVersionError, "format 99")
    manifest.unlink()
    refused(NotFoundError, "no backup")
    manifest.write_bytes(whole)
    timeline.restore(tmp_path / "b", tmp_path / "r")


def test_a_manifest_of_a_later_version_is_refused(store: timeline.Database, tmp_path: Path) -> None:
    store.backup(tmp_path / "b")
    manifest = tmp_path / "b" / MANIFEST
    document: dict[str, Any] = json.loads(manifest.read_bytes()) | {"backup": 2}
    del document["crc"]
    manifest.write_text(json.dumps(document | {"crc": _checksum(document)}))
    with pytest.raises(FormatVersionError, match="kind 2"):
        timeline.restore(tmp_path / "b", tmp_path / "r")
