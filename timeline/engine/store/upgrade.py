"""Moving on: a store of format 1, which kept its log in RocksDB, becomes one of format 2.

    copy      the records that are kept go into the files of a log, durably
    switch    the row of the store says format 2, and rows of the former log go, at one flush
    drop      the column family of the former log goes

Rule: until the switch is durable the store is of format 1, and whatever was made of its new log is
made again. Nothing is applied or sealed here: the log above the sealed LSN is the same before and
after.

How it fails: `CorruptError` where a record above the sealed LSN is damaged or missing. In `interval` durability a power
cut may have taken some records and left later ones: these are left out, if the durable mark allows
it.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from timeline.engine.store.directory import STORE_KEY
from timeline.errors import CorruptError, StallError
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.records import decode_record
from timeline.formats.rows import FORMAT, StoreRow, decode_progress, encode_store
from timeline.log.former import FormerLog
from timeline.log.log import CommitLog
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.options import MIB, Options
from timeline.storage.rocks import META, Storage

_SYNC_BYTES: Final = 4 * MIB
_PAUSE_SECONDS: Final = 0.002  # while the next file of the log is being made


def move_on(
    storage: Storage, directory: Path, epoch: int, options: Options, marked: int
) -> None:
    """Move the open `storage` on to the present format, with its log in `directory`. Commits up to
    `marked` were acknowledged.
    """
    shutil.rmtree(directory, ignore_errors=True)
    progress = storage.get(META, PROGRESS_KEY)
    sealed = 0 if progress is None else decode_progress(progress).sealed
    if storage.has_former_log:
        _copy(FormerLog(storage), directory, sealed, epoch, options, marked)
    batch = storage.batch()
    batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT, epoch)))
    storage.clear(batch, META, keys.CHAPTER, keys.successor(keys.CHAPTER))
    storage.write(batch)
    storage.flush()
    if storage.has_former_log:
        storage.drop_former_log()


def _copy(
    former: FormerLog, directory: Path, sealed: int, epoch: int, options: Options, marked: int
) -> None:
    """Write the records of the former log to a new one."""
    after = former.leads_on(sealed)
    log = CommitLog(
        directory, file_bytes=options.log_file_bytes, epoch=epoch, after=after, marked=0
    )
    unsynced = 0
    try:
        for first, last, record in former.replay(after):
            if first != log.last + 1:
                if options.durability == "interval" and log.last >= max(marked, sealed):
                    break
                raise CorruptError(
                    f"the log goes from LSN {log.last} to {first}: what lies between is lost; "
                    "restore a backup, or keep the whole prefix with `timeline repair`"
                )
            append_copy(log, first, last, record)
            unsynced += len(record)
            if unsynced >= _SYNC_BYTES:
                log.sync()
                unsynced = 0
        log.sync()
    finally:
        log.close()


def append_copy(log: CommitLog, first: int, last: int, record: bytes) -> None:
    """Append a record of another log, without making it durable; wait while a file is made."""
    made = decode_record(Lsn(last), record).time
    while True:
        try:
            return log.append(first, last, record, made, sync=False)
        except StallError:
            time.sleep(_PAUSE_SECONDS)
