"""Stores for tests: small bounds, a clock that can be turned, and crashes that cost milliseconds.

Rule: everything acknowledged was fsynced, so a copy of the directory made while the store is open
is what a kill at that moment would leave; only RocksDB's own background work must stand still for
the moment of the copy, since a kill is instantaneous and a copy is not.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import timeline
from timeline.admin import export
from timeline.embedded import log, reader
from timeline.embedded.database import Database
from timeline.engine.store.store import Store
from timeline.formats.numbers import Lsn
from timeline.formats.records import Record, decode_record, encode_record
from timeline.log.log import CommitLog
from timeline.lsm import memtable  # fmt: skip
from timeline.lsm.upkeep import compaction, expiry, sealing
from timeline.options import Options
from timeline.storage import rocks
from timeline.storage.rocks import FAMILIES

SHM = Path("/dev/shm")
INDEX = "index"  # where a store keeps its search index
SPARE_IN_MAKING = ".spare.partial"

SMALL = Options(
    unsealed_bytes=6_000,
    tails=12,
    segment_entries=4,
    segment_bytes=600,
    segment_cache_bytes=3_000,
    timeline_cache=3,
    dormant_timelines=2,
    audience_cache=4,
    list_cache_bytes=8_000,
    search=False,
    compact_after=2,
    slice_ms=0.001,
    retention_check_ms=10**9,
    entry_bytes=4_096,
    group_bytes=65_536,
    log_file_bytes=16_384,
    write_buffer_bytes=65_536,
    block_cache_bytes=65_536,
)


class Clock:
    """Stands in for the machine's, as commits and retention ask for it."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def time_ns(self) -> int:
        return self.now * 1_000_000

    @contextmanager
    def installed(self) -> Iterator[Clock]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time_ns", self.time_ns)
            yield self


@contextmanager
def small_steps() -> Iterator[None]:
    """Slices, steps and pages of a few things each, so that everything takes several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_SLICE_ROWS", 5)
        patch.setattr(sealing, "_SLICE_OWNERS", 2)
        for module in (sealing, export):
            patch.setattr(module, "REFERENCES_A_SEGMENT", 3)
        patch.setattr(rocks, "_FEW_KEYS", 2)
        patch.setattr(expiry, "_SLICE_INBOXES", 1)
        patch.setattr(compaction, "_STEP_SEGMENTS", 4)
        patch.setattr(reader, "_PAGE_ENTRIES", 5)
        patch.setattr(log, "_FOLLOWED_COMMITS", 5)
        patch.setattr(memtable, "_PAGE_KEYS", 3)
        yield


def scratch_directory(prefix: str = "timeline-") -> Path:
    """A new directory, in memory where there is such a thing."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=SHM if SHM.is_dir() else None))


def copy_as_killed(db: Database, target: Path) -> Path:
    """Copy the directory of an open store as a kill would leave it."""
    with db.engine.standing_still():
        return copy_between_calls(db, target)


def copy_between_calls(db: Database, target: Path) -> Path:
    """The same, for those who hold the engine's locks already."""
    return copy_store(db.engine.store, target)


def copy_store(store: Store, target: Path) -> Path:
    store.end_rewriting()  # who holds the locks lets no other begin
    wait_for_spare(store)
    wait_for_background(store)
    return copy_files(store.path, target)


def wait_for_spare(store: Store) -> None:
    """Wait until the file of the log that a thread makes ahead has its name."""
    store.log._ledger._spare.wait()  # type: ignore[attr-defined]


def copy_files(path: Path, target: Path) -> Path:
    """Copy the directory of a store that stands still, but for the file of its log that a thread
    makes meanwhile and an opening removes.
    """
    return Path(
        shutil.copytree(path, target, ignore=shutil.ignore_patterns(INDEX, SPARE_IN_MAKING))
    )


def copy_store_but_log(db: Database, target: Path) -> None:
    """The same without the log, for a disk of which more is known."""
    store = db.engine.store
    store.end_rewriting()
    wait_for_spare(store)
    wait_for_background(store)
    shutil.copytree(store.path, target, ignore=shutil.ignore_patterns(INDEX, "log"))


def wait_for_background(store: Store) -> None:
    """Return when RocksDB does nothing on threads of its own."""
    wait = threading.Event()
    while any(
        store.storage.measure(name, family)
        for family in FAMILIES
        for name in (
            "num-running-flushes",
            "num-running-compactions",
            "mem-table-flush-pending",
            "compaction-pending",
        )
    ):
        wait.wait(0.001)


def copy_index(db: Database, target: Path) -> None:
    """Copy the search index of an open store, as it is between two of its changes. Before the store
    is copied: an index is never ahead of its store.
    """
    source = db.engine.path / INDEX
    while source.is_dir():
        before = state_of(source)
        shutil.rmtree(target / INDEX, ignore_errors=True)
        with suppress(shutil.Error, FileNotFoundError):
            shutil.copytree(source, target / INDEX)
            if state_of(source) == before:
                return


def state_of(directory: Path) -> list[tuple[str, int, int]]:
    found = []
    for folder, _, names in os.walk(directory):  # which passes over what is removed meanwhile
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                found.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
    return sorted(found)


@contextmanager
def other_log(change: Callable[[Record], Record]) -> Iterator[None]:
    """Each record is written to the log as `change` makes it, as another version may have written
    it. Memory keeps what was meant: copy the store as killed, and open the copy.
    """
    append = CommitLog.append

    def write(log: CommitLog, first: int, last: int, body: bytes, now: int, *, sync: bool) -> None:
        record = change(decode_record(Lsn(last), body))
        commits = last - first + 1
        body = encode_record(
            record.first, commits, record.time, record.appends, record.payloads, record.operations
        )
        append(log, first, last, body, now, sync=sync)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CommitLog, "append", write)
        yield


def with_payloads(record: Record, payloads: Sequence[bytes]) -> Record:
    """The same record with other entries."""
    sizes = array("I", map(len, payloads))
    return record._replace(
        appends=record.appends._replace(sizes=sizes), value=b"".join(payloads), start=0
    )


def abandon(db: Database) -> None:
    """Let go of a store whose directory no longer matters."""
    with suppress(timeline.TimelineError):
        db.close()


def heal_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in `inline` mode heals when `work` is called, then at once, and never by itself."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    monkeypatch.setattr("timeline.engine.engine._HEAL_PAUSE", 10.0**6)


def healed(db: Database, seconds: float = 20.0, *, alone: bool = False) -> bool:
    """Wait until writing is on again; in `inline` mode call for the work, unless it is to be left
    `alone`.
    """
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if not db.engine.poisoned:
            return True
        if not db.engine.threaded and not alone:
            db.engine.work()
        pause.wait(0.01)
    return False


def rights(path: Path) -> dict[str, str]:
    """What others than the owner may do with what is below `path`, where that is something."""
    found = {}
    for each in (path, *path.rglob("*")):
        mode = each.lstat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            found[str(each.relative_to(path.parent))] = stat.filemode(mode)
    return found


def seqs(db: Database, name: str) -> list[int]:
    return [entry.seq for entry in db.timeline(name).range()]


def fail_next_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next write to the log fails, and writes nothing."""
    fail_once(monkeypatch, os, "pwritev", OSError(errno.EIO, "Input/output error"))


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: Exception) -> None:
    """The next call of `owner.name` raises and does nothing."""
    original: Callable[..., object] = getattr(owner, name)
    errors = [error]

    def call(*arguments: object) -> object:
        if errors:
            raise errors.pop()
        return original(*arguments)

    monkeypatch.setattr(owner, name, call)
