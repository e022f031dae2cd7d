"""A store made of an export: the same timelines, conversations and users, numbers and times.

Responsibility: write the records of an exact export (`formats.export`) as segments, in-boxes and
state of a new store. Its log begins where the log of the original ended. The newest record of that
log, which exports of stores of format 1 hold, is left out.

Rule: only a new store can take times as they were, since the times of commits ascend. `merge` adds
to a store that is there. Each write notes how many records are loaded, so an interrupted load goes
on where it was. The row without which a directory is no store comes last. The store has an epoch of
its own.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from timeline.engine.store.directory import LOADED_KEY, MARK, ROCKS, STORE_KEY, random_epoch
from timeline.engine.store.store import STALL_SECONDS
from timeline.errors import CorruptError, StallError, UsageError, shown
from timeline.formats import keys
from timeline.formats.entries import encode_entry
from timeline.formats.export import EntryRecord, ExportRecord, Header, RowRecord, TimelineRecord
from timeline.formats.rows import (
    FORMAT,
    ProgressRow,
    StoreRow,
    TimelineRow,
    encode_metadata,
    encode_progress,
    encode_retention,
    encode_row,
    encode_store,
)
from timeline.formats.segments import encode_segments
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.options import MIB, Options
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import FORMER_LOG, META, SEGMENTS, STATE, Storage

_BATCH_BYTES: Final = 4 * MIB  # collected before they are written
_RUN_ENTRIES: Final = 4_096  # of one timeline, collected before they become segments


def load(path: Path, records: Iterator[ExportRecord]) -> int:
    """Make a store in the directory `path` of all `records` but the end. Returns how many there
    were.

    `path` is empty, or holds an interrupted load of the same records. Raises `UsageError` for an
    export that is not exact, `CorruptError` for one in the wrong order.
    """
    header = next(records, None)
    if not isinstance(header, Header):
        raise CorruptError("an export begins with its header: this is none")
    if not header.exact:
        raise UsageError("this export has no times: import it into a store that is there")
    storage = Storage(path / ROCKS, Options(search=False))
    try:
        loader = _Loader(storage, header)
        for record in records:
            loader.take(record)
        loader.finish()
    finally:
        storage.close()
    mark = DurableMark(path / MARK)
    mark.write(header.lsn)
    mark.close()
    return loader.count


class _Loader:
    def __init__(self, storage: Storage, header: Header) -> None:
        self._storage = storage
        self._header = header
        self._options = Options()
        self._puts: list[tuple[str, bytes, bytes]] = []
        self._size = 0
        self._current: TimelineRecord | None = None
        self._last = 0  # sequence number of the current timeline's newest entry so far
        self._items: list[EntryRecord] = []
        self._raw = 0  # timelines so far; only raw ones are counted
        self.count = 1  # records, the header first
        self._origin = keys.pair(header.lsn, header.epoch)
        loaded = storage.get(META, LOADED_KEY)
        same = loaded is not None and loaded[8:] == self._origin
        if loaded is not None and not same:
            raise UsageError("another export was being loaded here: remove the directory")
        self._done = 0 if loaded is None else keys.split_number(loaded[:8])

    def take(self, record: ExportRecord) -> None:
        self.count += 1
        again = self.count <= self._done  # an earlier load wrote it
        match record:
            case TimelineRecord():
                self._end_run()
                self._current, self._last = record, 0
                self._raw += not record.name.startswith(b"@")
                if not again:
                    self._begin(record)
            case EntryRecord():
                self._check(record)
                if not again:
                    self._items.append(record)
                    self._size += sum(map(len, record.fields)) + 64
            case RowRecord(family, key, value):
                self._end_run()
                if not again and family != FORMER_LOG:
                    self._put(family, key, value)
            case _:
                raise CorruptError(f"record {self.count} of the export is out of place")
        if len(self._items) >= _RUN_ENTRIES:
            self._end_run()
        if self._size >= _BATCH_BYTES:
            self._write()

    def _check(self, item: EntryRecord) -> None:
        current = self._current
        if current is None:
            raise CorruptError(f"record {self.count} is an entry without a timeline")
        if not max(self._last, current.first - 1) < item.seq <= current.head:
            raise CorruptError(
                f"entry {item.seq} of {shown(current.name)} is out of order: between "
                f"{max(self._last + 1, current.first)} and {current.head} is expected"
            )
        self._last = item.seq

    def _begin(self, record: TimelineRecord) -> None:
        """Write the rows of a timeline: all but its entries."""
        number = keys.number(record.id)
        row = TimelineRow(
            record.kind,
            record.created,
            record.first,
            record.floor,
            record.holes,
            record.deleted,
            record.name,
            record.skipped,
        )
        self._put(STATE, keys.NAME + record.name, number)
        self._put(STATE, keys.ROW + number, encode_row(row))
        if record.metadata:
            self._put(STATE, keys.META + number, encode_metadata(record.metadata))
        if any(record.retention):
            self._put(STATE, keys.RETENTION + number, encode_retention(record.retention))

    def _put(self, family: str, key: bytes, value: bytes) -> None:
        self._puts.append((family, key, value))
        self._size += len(key) + len(value)

    def _end_run(self) -> None:
        """Make segments of the collected entries."""
        items, self._items = self._items, []
        if not items or self._current is None:
            return
        options = self._options
        for key, value, _ in encode_segments(
            self._current.id,
            [item.seq for item in items],
            array("Q", [item.lsn for item in items]),
            array("Q", [item.time for item in items]),
            [encode_entry(item.seq, item.fields) for item in items],
            options.segment_entries,
            options.segment_bytes,
        ):
            self._puts.append((SEGMENTS, key, value))

    def _write(self) -> None:
        self._end_run()
        # Records so far ‖ LSN and epoch of the original.
        self._put(META, LOADED_KEY, keys.number(self.count) + self._origin)
        self._flush()

    def _flush(self, *, last: bool = False) -> None:
        """Write what was put; with `last` it is a store then. Waits while RocksDB stalls."""
        puts, self._puts, self._size = self._puts, [], 0
        while True:
            batch = self._storage.batch()  # a refused batch cannot be used again
            for family, key, value in puts:
                batch.put(family, key, value)
            if last:
                batch.delete(META, LOADED_KEY)
            try:
                return self._storage.write(batch)
            except StallError:
                time.sleep(STALL_SECONDS)

    def finish(self) -> None:
        """Write the rows that make it a store, once everything else is on the disk."""
        self._end_run()
        self._flush()
        self._storage.flush()
        header = self._header
        progress = ProgressRow(header.lsn, 0, header.next_id, header.time)
        self._put(STATE, keys.COUNT, keys.number(self._raw))
        self._put(META, PROGRESS_KEY, encode_progress(progress))
        self._put(META, STORE_KEY, encode_store(StoreRow(FORMAT, random_epoch(header.epoch))))
        self._flush(last=True)
        self._storage.flush()
