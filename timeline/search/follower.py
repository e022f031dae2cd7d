"""A follower of the commit log: what commits say goes into an index.

Rule: in order, a record at a time, and as if each commit had just been made; but what was edited,
recalled or deleted is looked up in the store, so that an index never says what the store no longer
does; an entry that is damaged says nothing. Doing a record over again makes no difference beyond
what was committed with the index, and that is never done over: the index says itself how far it
goes.

Where the log does not lead on (it was let go, is damaged, or the store was opened again and ends
before) `TrimmedError` is raised: build another index.

The engine's lock is held for reading bytes and rows only, never while documents are made.
"""

from __future__ import annotations

import logging
from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import CorruptError, TrimmedError
from timeline.formats import keys
from timeline.formats.records import DROP, PATCH, PUT, REMOVE, TRIM, Record, decode_record
from timeline.formats.segments import Row
from timeline.search.index.documents import Documents
from timeline.search.index.index import Index
from timeline.search.index.schema import Checkpoint, entry_key, metadata_key

_BYTES: Final = 1 << 20  # of log read at a time
_KNOWN: Final = 100_000  # timelines of which it is remembered whether they are indexed
_AT_A_TIME: Final = 16  # changed entries looked up while holding the lock

_log = logging.getLogger("timeline.search")


class Follower:
    """Brings `index` from commit `position` of `store` on."""

    def __init__(self, engine: Engine, index: Index, documents: Documents, position: int) -> None:
        self._engine = engine
        self.store = engine.store  # the one that `position` is a position of
        self._documents = documents
        self._covered: dict[int, bool] = {}
        self.index = index
        self.position = position
        self.time = 0  # ms, of the newest commit taken in since it was opened

    def step(self) -> bool:
        """Take in the next records; False when there are none. Raises `TrimmedError`."""
        engine = self._engine
        if engine.applied == self.position and engine.store is self.store:
            return False
        records = self._records()
        position = self.position
        changed: dict[tuple[int, int], None] = {}
        trimmed: dict[int, int] = {}
        for record in records:
            if record.first > position + 1:
                raise TrimmedError(f"the log begins at {record.first}, behind {position}")
            self._take(record, changed, trimmed)
            position = record.last
        for timeline, first in trimmed.items():
            self.index.remove_below(timeline, first)
        self._look_up(list(changed))
        if records:  # and all that they say was taken in
            self.position, self.time = position, records[-1].time
            if not self.index.waiting:
                self.index.reached = position
        return bool(records)

    def _records(self) -> list[Record]:
        """The next ones."""
        engine = self._engine
        try:
            with engine.lock:
                engine.check_usable()
                if engine.store is not self.store:
                    if engine.store.opened_at < self.position:
                        raise TrimmedError(
                            f"the store was opened again and ends at {engine.store.opened_at}, "
                            f"before {self.position}"
                        )
                    self.store = engine.store
                stored = engine.log.stored(self.position, _BYTES)
            return [decode_record(lsn, value) for lsn, value in stored]
        except CorruptError as error:
            raise TrimmedError(f"the log is damaged behind {self.position}: {error}") from error

    def commit(self, epoch: int, made: str) -> None:
        self.index.commit(Checkpoint(self.position, epoch, made))

    # --- one record ---------------------------------------------------------------------------

    def _take(
        self, record: Record, changed: dict[tuple[int, int], None], trimmed: dict[int, int]
    ) -> None:
        self._append(record)
        for operation in record.operations:
            kind, target = operation.kind, operation.id
            if kind in (PUT, REMOVE):
                if operation.body[:1] == keys.META:
                    self._describe(operation.body, operation.argument)
            elif kind == PATCH:
                if self._covers(target):
                    changed[target, operation.argument] = None
            elif kind == TRIM:
                if self._covers(target):
                    trimmed[target] = operation.argument
            elif kind == DROP and self._covered.get(target, True):
                self.index.remove_timeline(target)
                trimmed.pop(target, None)

    def _append(self, record: Record) -> None:
        appends = record.appends
        covered = {each for each in set(appends.timelines) if self._covers(each)}
        if not covered:
            return
        start, value, time = record.start, record.value, record.time
        make, add = self._documents.entry, self.index.add
        for timeline, seq, size, lsn in zip(
            appends.timelines,
            appends.seqs,
            appends.sizes,
            appends.lsns(record.first),
            strict=True,
        ):
            if timeline in covered:
                document = make(timeline, (seq, lsn, time, value[start : start + size]))
                if document is not None:
                    add(document)
            start += size

    def _describe(self, body: bytes, size: int) -> None:
        """Metadata was put (`size` is that of the key) or removed."""
        key, value = (body[:size], body[size:]) if size else (body, None)
        timeline = keys.split_number(key[1:])
        self.index.remove(metadata_key(timeline))
        if value is not None:
            self.index.add(self._documents.metadata(timeline, value))

    def _covers(self, timeline_id: int) -> bool:
        known = self._covered.get(timeline_id)
        if known is None:
            if len(self._covered) >= _KNOWN:
                self._covered.clear()
            name = self._name(timeline_id)
            if name is None:  # dropped meanwhile; the log will say so
                return False
            known = self._covered[timeline_id] = self._documents.covers(name)
        return known

    def _name(self, timeline_id: int) -> bytes | None:
        engine = self._engine
        with engine.lock:
            engine.check_usable()
            return engine.timelines.name(timeline_id)

    # --- what was changed ---------------------------------------------------------------------

    def _look_up(self, changed: list[tuple[int, int]]) -> None:
        """Put into the index what entries say now, nothing if they are gone or say nothing."""
        for at in range(0, len(changed), _AT_A_TIME):
            part = changed[at : at + _AT_A_TIME]
            with self._engine.lock:
                self._engine.check_usable()
                rows = [self._row(timeline_id, seq) for timeline_id, seq in part]
            for (timeline_id, seq), row in zip(part, rows, strict=True):
                self.index.remove(entry_key(timeline_id, seq))
                if isinstance(row, CorruptError):  # told without the lock: handlers are others'
                    _log.warning("an entry is damaged and cannot be found: %s", row)
                    continue
                document = None if row is None else self._documents.entry(timeline_id, row)
                if document is not None:
                    self.index.add(document)

    def _row(self, timeline_id: int, seq: int) -> Row | CorruptError | None:
        timelines = self._engine.timelines
        try:
            timeline = timelines.load(timeline_id)
            found = (
                None if timeline is None else timelines.rows(timeline, seq, seq, 1, reverse=False)
            )
        except CorruptError as error:
            return error
        return found[0] if found else None
