"""A store: everything in memory that belongs to one opening of the storage.

Responsibility: open a directory, check that it is ours, replay the log, and hold the parts
together, from the storage up to the stage and the appender.

Rule: a store is built whole or not at all, and thrown away whole when its storage failed; nothing
in it outlives the storage. The caller holds the engine's lock, except for `rewrite` and
`flush`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from timeline.commit.append import Appender
from timeline.commit.apply import Applier
from timeline.commit.replay import Replay
from timeline.commit.stage import Outliving, Stage
from timeline.engine.store.directory import (
    FORMER_FORMAT,
    LOADED_KEY,
    LOG,
    ROCKS,
    STORE_KEY,
    check_never_used,
    damaged,
    random_epoch,
    store_row,
)
from timeline.engine.store.upgrade import drop_former_log, move_on
from timeline.errors import CorruptError, FormatVersionError, StallError
from timeline.formats import keys
from timeline.formats.rows import (
    FORMAT,
    ProgressRow,
    StoreRow,
    decode_progress,
    encode_progress,
    encode_store,
)
from timeline.log.ledger import Ledger, Records
from timeline.log.log import CommitLog
from timeline.lsm.checkpoints import Checkpoints
from timeline.lsm.clock import Clock
from timeline.lsm.layers import layers
from timeline.lsm.log import Log
from timeline.lsm.openings import Openings
from timeline.lsm.upkeep.compaction import Compaction
from timeline.lsm.upkeep.erasure import Erasure
from timeline.lsm.upkeep.expiry import Expiry
from timeline.lsm.upkeep.flushing import Flushing
from timeline.lsm.upkeep.sealing import PROGRESS_KEY, Sealing
from timeline.options import Options
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import FAMILIES, META, SEGMENTS, Storage
from timeline.storage.wal import is_torn_at_the_end

STALL_SECONDS: Final = 0.002  # between two tries to write when RocksDB asks for a pause


class Files(NamedTuple):
    """What the store takes, as RocksDB knows or estimates."""

    bytes: dict[str, int]  # of files, by column family; and `log`
    segments: int
    unwritten_bytes: int  # in its memory, and in no file so far


class Store:
    """One opening of the storage at `path`.

    Opening raises `LockedError`, `FormatVersionError`, and `CorruptError` also when the log ends
    below `marked`, the LSN known to be durable.
    """

    def __init__(
        self,
        path: Path,
        options: Options,
        outliving: Outliving,
        marked: int,
        mark: DurableMark | None = None,
    ) -> None:
        """`mark` is the one to go on with; there is none where nothing is written."""
        self.path = path
        self.options = options
        self._outliving = outliving
        self._marked = marked
        self._mark = mark
        self.storage = self._open_storage()
        try:
            made = self.storage.get(META, STORE_KEY) is None
            self.epoch = self._check_store()
            self._build()
            if not made:
                self._begin_opening()
        except BaseException:
            if hasattr(self, "log"):
                self.log.close()
            self.storage.close()
            raise

    def _begin_opening(self) -> None:
        """Tell apart what is committed from here on from what was, or may have been lost."""
        self.openings.begin(self.log.applied)
        self.let_log_go()

    def _open_storage(self) -> Storage:
        return _open_storage(self.path / ROCKS, self.options)

    def _check_store(self) -> int:
        """The epoch of the store, which is made if this one is new."""
        value = self.storage.get(META, STORE_KEY)
        if value is None:
            if self.storage.get(META, LOADED_KEY) is not None:
                raise FormatVersionError(
                    f"{self.path} holds an import that was not finished: import again"
                )
            check_never_used(self.path, self._marked)
            return _make_store(self.storage)
        row = store_row(value, self.path)
        if row.format == FORMER_FORMAT:
            move_on(self.storage, self.path / LOG, row.epoch, self.options, self._marked)
        drop_former_log(self.storage)
        return _begin_epoch(self.storage, row.epoch) if self.options.new_epoch else row.epoch

    def _open_log(self, after: int) -> tuple[Records, Ledger | None]:
        """The log above LSN `after`, which is sealed, to read and to write."""
        log = CommitLog(
            self.path / LOG,
            file_bytes=self.options.log_file_bytes,
            epoch=self.epoch,
            after=after,
            marked=self._marked,
        )
        return log, log

    def stored_progress(self) -> ProgressRow:
        """How far sealing has come, as it is written."""
        stored = self.storage.get(META, PROGRESS_KEY)
        return ProgressRow(0, 0, 1, 0) if stored is None else decode_progress(stored)

    def _build(self) -> None:
        storage, options = self.storage, self.options
        progress = self.stored_progress()
        # A pass that was interrupted has written its time with what it had sealed already.
        interrupted = progress.upto > progress.sealed
        self.clock = Clock(storage, progress.time, certain=not interrupted)
        self.memtable, self.state, self.timelines, self.inboxes = layers(
            storage, options, self.clock, progress
        )
        self.openings, self.checkpoints = Openings(storage), Checkpoints(storage)
        records, ledger = self._open_log(progress.sealed)
        self.log = Log(records, self.checkpoints, ledger, self._mark)
        self.erasure = Erasure(storage)
        self.compaction = Compaction(storage, self.memtable, self.timelines, self.erasure, options)
        self.expiry = Expiry(storage, self.inboxes, options, self.timelines.name)
        self.sealing = Sealing(
            storage,
            self.memtable,
            self.log,
            options,
            progress,
            self.compaction.note,
            self.expiry,
            self.erasure,
            (self.erasure, self.clock, self.openings, self.checkpoints),
        )
        self.flushing = Flushing(storage, self.sealing, self.log, options)
        self._replay = replay = Replay(
            storage,
            self.memtable,
            self.timelines,
            self.inboxes,
            self.checkpoints,
            self.openings,
            progress,
        )
        replay.run(self.log, self._relieve)
        self.checkpoints.clip(replay.lsn)
        self.clock.clip(replay.lsn)
        self.log.applied = self.opened_at = replay.lsn
        self.applier = Applier(self.memtable, self.timelines, self.inboxes)
        self._flushing = threading.Lock()
        if options.durability == "interval":
            storage.before_write = self._keep_log_ahead
        self._begin_staging()

    def _begin_staging(self) -> None:
        """Go on after what was replayed."""
        replay = self._replay
        self.stage = Stage(
            self.options,
            self._outliving,
            self.memtable,
            self.timelines,
            self.state,
            self.inboxes,
            lsn=replay.lsn,
            now=replay.time,
            next_id=replay.next_id,
        )
        self.appender = Appender(self.stage, self.options)

    def _relieve(self) -> None:
        """Mark how far the replay has come, and seal it when it is as much as memory may hold."""
        replay = self._replay
        self.expiry.note(replay.lsn, replay.time)
        if not self.sealing.due():
            return
        replay.settle()
        self.sealing.begin(replay.lsn, replay.time, replay.next_id)
        while self.sealing.under_way:
            try:
                self.finish_pass()
            except StallError:
                time.sleep(STALL_SECONDS)
        self.tidy()

    def files(self) -> Files:
        """Raises `ClosedError` while the storage is closed."""
        measure = self.storage.measure
        return Files(
            {family: measure("total-sst-files-size", family) for family in FAMILIES}
            | {LOG: self.log.size},
            measure("estimate-num-keys", SEGMENTS),
            sum(measure("cur-size-all-mem-tables", family) for family in FAMILIES),
        )

    # --- sealing and rewriting ----------------------------------------------------------------

    def begin_pass(self) -> None:
        """Begin to seal everything applied so far. It may reach the disk at any time from here on,
        so the log comes first.
        """
        if self.options.durability == "interval":
            self.log.sync(self.log.applied)
        stage = self.stage
        self.sealing.begin(self.log.applied, self.clock.time, stage.next_id, stage.appended_to())

    def _keep_log_ahead(self) -> None:
        """What is written to RocksDB may reach the disk at any time. Where a trim, say, has kept
        entries from being written, or had them deleted, the log must not lose the trim.
        """
        if self.memtable.rewrote:
            self.log.sync(self.log.applied)
            self.memtable.rewrote = False

    def finish_pass(self) -> None:
        """End a pass of sealing that is under way. Raises `StallError`: call again."""
        while self.sealing.under_way:
            self.sealing.run(1.0)

    def tidy(self) -> None:
        """Forget what is sealed and beyond the caches."""
        self.inboxes.sealed = self.sealing.sealed
        self.timelines.forget_idle()

    def rewrite(self, timeline_ids: Iterable[int]) -> None:
        """Make RocksDB drop from its files what was deleted of these timelines. Without the
        engine's lock.
        """
        self.erasure.rewrite(
            [(keys.pair(each, 0), keys.pair(each + 1, 0)) for each in timeline_ids]
        )

    def rewrite_erased(self) -> None:
        """The same of all that patches replaced lately, or drops deleted."""
        self.erasure.rewrite(tuple(self.erasure.ranges))

    def end_rewriting(self) -> None:
        """Wait for files that are being written: before `close`, without the engine's lock."""
        self.erasure.wait()
        self.flushing.wait()

    # --- flushing and letting go --------------------------------------------------------------

    def let_log_go(self) -> None:
        """Delete what nobody needs any more of the log that is sealed and flushed."""
        options = self.options
        oldest = max(0, self.stage.now() - options.log_age_ms)
        self.log.let_go(self.flushing.flushed, most=options.log_bytes, oldest=oldest)
        self.erasure.log_begins(self.log.first())

    def flush(self) -> None:
        """Put on the disk what RocksDB holds in memory. Without the engine's lock."""
        with self._flushing:
            self.flushing.flush()

    def close(self) -> None:
        self.end_rewriting()
        with self._flushing:  # it keeps RocksDB open
            self.storage.close()
        self.log.close()


def _open_storage(path: Path, options: Options) -> Storage:
    """A power cut may tear the last write, and in `interval` durability any since the last fsync:
    what lies after the damage is cut, and the mark tells whether that was more than it may be.
    """
    try:
        try:
            return Storage(path, options)
        except CorruptError:
            if options.durability == "interval" or is_torn_at_the_end(path):
                return Storage(path, options, salvage=True)
            raise
    except CorruptError as error:
        raise damaged(error) from error


def _make_store(storage: Storage) -> int:
    """Make a store of what is empty; returns its epoch."""
    epoch = random_epoch()
    batch = storage.batch()
    batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT, epoch)))
    batch.put(META, PROGRESS_KEY, encode_progress(ProgressRow(0, 0, 1, 0)))
    storage.write(batch)
    storage.flush()
    return epoch


def _begin_epoch(storage: Storage, before: int) -> int:
    """Give the store another epoch, durably; returns it."""
    epoch = random_epoch(before)
    batch = storage.batch()
    batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT, epoch)))
    storage.write(batch)
    storage.flush()
    return epoch
