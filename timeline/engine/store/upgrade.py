"""Moving on: a store of format 1, which kept its log in RocksDB, becomes one of format 2.

    copy      the records that are kept go into the files of a log, durably
    switch    the row of the store says format 2, and rows of the former log go, at one flush
    drop      the column family of the former log goes

Rule: until the switch is durable the store is of format 1, and whatever was made of its new log is
made again. After it, only the last step may be left to do, which the next opening does. Nothing is
applied or sealed here: the log above the sealed LSN is the same before and after.

How it fails: `CorruptError` where a record above the sealed LSN is damaged or missing, and then the
store stays of format 1. In `interval` durability a power cut may have taken some records and left
later ones: these are left out, if the durable mark allows it.
"""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from timeline.engine.store.directory import STORE_KEY
from timeline.errors import CorruptError, StallError, StorageError, reason
from timeline.formats import keys
from timeline.formats.records import Record
from timeline.formats.rows import FORMAT, StoreRow, decode_progress, encode_store
from timeline.log.former import former_records, leads_on_to
from timeline.log.log import CommitLog
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.options import MIB, Options
from timeline.storage.files import PRIVATE, sync_directory
from timeline.storage.rocks import META, Storage

_SYNC_BYTES: Final = 4 * MIB
_PAUSE_SECONDS: Final = 0.002  # while the next file of the log is being made, or RocksDB is busy


def move_on(storage: Storage, directory: Path, epoch: int, options: Options, marked: int) -> None:
    """Move the open `storage` on to the present format, with its log in `directory`. Commits up to
    `marked` were acknowledged.
    """
    _begin(directory, like=storage.path)
    progress = storage.get(META, PROGRESS_KEY)
    reached = sealed = 0 if progress is None else decode_progress(progress).sealed
    if storage.has_former_log:
        reached = _copy(storage, directory, sealed, epoch, options, marked)
    if reached < marked:
        raise CorruptError(
            f"{directory.parent}: the log ends at LSN {reached}, but commits up to {marked} were "
            "acknowledged: restore a backup, or accept the loss with `timeline repair`"
        )
    _switch(storage, epoch)


def drop_former_log(storage: Storage) -> None:
    """Drop the former log of a store that has moved on, if it is still there."""
    if storage.has_former_log:
        storage.drop_former_log()


def _begin(directory: Path, *, like: Path) -> None:
    """Make `directory` anew, with the rights of another: who may read that may read this."""
    try:
        if directory.exists():  # an earlier try has left it
            shutil.rmtree(directory)
        directory.mkdir(mode=PRIVATE)
        directory.chmod(stat.S_IMODE(like.stat().st_mode))
        sync_directory(directory.parent)
    except OSError as error:
        raise StorageError(f"{directory} cannot be made: {reason(error)}") from error


def _switch(storage: Storage, epoch: int) -> None:
    while True:
        batch = storage.batch()  # a refused batch cannot be used again
        batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT, epoch)))
        storage.clear(batch, META, keys.CHAPTER, keys.successor(keys.CHAPTER))
        try:
            storage.write(batch)
        except StallError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return storage.flush()


def _copy(
    storage: Storage, directory: Path, sealed: int, epoch: int, options: Options, marked: int
) -> int:
    """Write the records of the former log to a new one; the last LSN."""
    after = leads_on_to(storage, sealed)
    log = CommitLog(
        directory, file_bytes=options.log_file_bytes, epoch=epoch, after=after, marked=0
    )
    may_end = max(marked, sealed) if options.durability == "interval" else None
    try:
        with closing(former_records(storage, after)) as records:  # a failure would keep it open
            append_copies(log, _unbroken(records, after, may_end))
        return log.last
    finally:
        log.close()


def _unbroken(records: Iterator[Record], after: int, may_end: int | None) -> Iterator[Record]:
    """The records that follow one another from LSN `after` on. Raises `CorruptError` at a gap,
    unless it lies at or above LSN `may_end`, where they end.
    """
    reached = after
    for record in records:
        if record.first != reached + 1:
            if may_end is not None and reached >= may_end:
                return
            raise CorruptError(
                f"the log goes from LSN {reached} to {record.first}: what lies between is lost; "
                "restore a backup, or keep the whole prefix with `timeline repair`"
            )
        yield record
        reached = record.last


def append_copies(log: CommitLog, records: Iterable[Record]) -> None:
    """Append the records of another log, durably; wait while a file is made."""
    unsynced = 0
    for record in records:
        _append(log, record)
        unsynced += len(record.value)
        if unsynced >= _SYNC_BYTES:
            log.sync()
            unsynced = 0
    log.sync()


def _append(log: CommitLog, record: Record) -> None:
    while True:
        try:
            return log.append(record.first, record.last, record.value, record.time, sync=False)
        except StallError:
            time.sleep(_PAUSE_SECONDS)
