"""A follower of the commit log: it puts what commits say into an index.

Rule: records are taken in order, one at a time. Appended entries go in as the record has them. An
entry that was edited, recalled or deleted is looked up in the store, so the index never says what
the store no longer says. A damaged entry is left out.

    append 5 "hi"         add document 5
    patch 5               remove document 5, add entry 5 as the store has it now, if it is there
    trim below 4          remove the documents below 4
    put metadata          replace the document of the metadata

Each index says how far it goes, so no record is indexed twice.

`TrimmedError` means that the log does not lead on from here: build another index. The log was
trimmed or is damaged, or the store was opened again and ends before this position.

The engine's lock is held while rows are read, never while the log is read or documents are made.
"""

from __future__ import annotations

import logging
from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import CorruptError, TrimmedError
from timeline.formats import keys
from timeline.formats.records import DROP, PATCH, PUT, REMOVE, TRIM, Record, decode_record
from timeline.formats.segments import StoredEntry
from timeline.search.index.documents import Documents
from timeline.search.index.index import Index
from timeline.search.index.schema import Checkpoint, entry_key, metadata_key

_STEP_BYTES: Final = 1 << 20  # of log, read in one step
_MOST_KNOWN: Final = 200_000  # timelines of which is remembered whether they are indexed
_LOOKED_UP: Final = 16  # changed entries, at most, under one hold of the lock

_log = logging.getLogger("timeline.search")


class Follower:
    """Takes into `index` what was committed after `position`, an LSN of `opening`."""

    def __init__(self, engine: Engine, index: Index, documents: Documents, position: int) -> None:
        self._engine = engine
        self.opening = engine.view.opening  # of the storage, that `position` belongs to
        self._documents = documents
        self._kinds: dict[int, str] = {}  # timelines that are indexed, as far as they were met
        self._others: set[int] = set()  # and those that are not
        self.index = index
        self.position = position
        self.time = 0  # ms, of the newest commit that was taken in, 0 while there is none

    def step(self) -> bool:
        """Take in the next records; False when there are none. Raises `TrimmedError`."""
        engine = self._engine
        if engine.applied == self.position and engine.view.opening == self.opening:
            return False
        records = self._records()
        position = self.position
        changed: dict[tuple[int, int], str] = {}
        trimmed: dict[int, int] = {}
        for record in records:
            if record.first > position + 1:
                raise TrimmedError(f"the log begins at {record.first}, after {position}")
            self._take(record, changed, trimmed)
            position = record.last
        for timeline, first in trimmed.items():
            self.index.remove_below(timeline, first)
        self._look_up(list(changed.items()))
        if records:  # all of them are indexed by now
            self.position, self.time = position, records[-1].time
            if not self.index.waiting:
                self.index.reached = position
        return bool(records)

    def _records(self) -> list[Record]:
        """The next records."""
        engine, view = self._engine, self._engine.view
        try:
            with engine.lock:
                engine.check_usable()
                if view.opening != self.opening:
                    if view.opened_at < self.position:
                        raise TrimmedError(
                            f"the store was opened again and ends at {view.opened_at}, "
                            f"before {self.position}"
                        )
                    self.opening = view.opening
                log = engine.log
            stored = log.stored(self.position, _STEP_BYTES)
            return [decode_record(lsn, value, keys.META[0]) for lsn, value in stored]
        except CorruptError as error:
            raise TrimmedError(f"the log is damaged after {self.position}: {error}") from error

    def commit(self, epoch: int, made: str) -> None:
        self.index.commit(Checkpoint(self.position, epoch, made))

    # --- one record ---------------------------------------------------------------------------

    def _take(
        self, record: Record, changed: dict[tuple[int, int], str], trimmed: dict[int, int]
    ) -> None:
        self._append(record)
        for operation in record.operations:
            kind, target = operation.kind, operation.id
            if kind in (PUT, REMOVE):
                if operation.body[:1] == keys.META:
                    self._describe(operation.body, operation.argument)
            elif kind == PATCH:
                of_kind = self._kind(target)
                if of_kind is not None:
                    changed[target, operation.argument] = of_kind
            elif kind == TRIM:
                if self._kind(target) is not None:
                    trimmed[target] = operation.argument
            elif kind == DROP and target not in self._others:
                self.index.remove_timeline(target)
                trimmed.pop(target, None)

    def _append(self, record: Record) -> None:
        appends = record.appends
        timelines = set(appends.timelines)
        if timelines <= self._others:  # mostly, where raw timelines are not indexed
            return
        kinds = {each: kind for each in timelines if (kind := self._kind(each)) is not None}
        if not kinds:
            return
        documents = self._documents.appended(record, kinds)
        if documents:
            self.index.add_entries(documents)

    def _describe(self, body: bytes, size: int) -> None:
        """Take in metadata that was put, or removed when `size`, the length of the key, is 0."""
        key, value = (body[:size], body[size:]) if size else (body, None)
        timeline = keys.split_number(key[1:])
        self.index.remove(metadata_key(timeline))
        if value is not None:
            self.index.add(self._documents.metadata(timeline, value))

    def _kind(self, timeline_id: int) -> str | None:
        """The kind of the entries of a timeline; None when they are not indexed."""
        if timeline_id in self._others:
            return None
        kind = self._kinds.get(timeline_id)
        if kind is not None:
            return kind
        name = self._name(timeline_id)
        if name is None:  # it was dropped meanwhile: a later record says so
            return None
        kind = self._documents.kind(name)
        if len(self._kinds) + len(self._others) >= _MOST_KNOWN:
            self._kinds.clear()
            self._others.clear()
        if kind is None:
            self._others.add(timeline_id)
        else:
            self._kinds[timeline_id] = kind
        return kind

    def _name(self, timeline_id: int) -> bytes | None:
        engine = self._engine
        with engine.lock:
            engine.check_usable()
            return engine.view.name(timeline_id)

    # --- what was changed ---------------------------------------------------------------------

    def _look_up(self, changed: list[tuple[tuple[int, int], str]]) -> None:
        """Replace the documents of changed entries, each of its kind, by what they say now."""
        for at in range(0, len(changed), _LOOKED_UP):
            part = changed[at : at + _LOOKED_UP]
            with self._engine.lock:
                self._engine.check_usable()
                rows = [self._row(timeline_id, seq) for (timeline_id, seq), _ in part]
            for ((timeline_id, seq), kind), row in zip(part, rows, strict=True):
                self.index.remove(entry_key(timeline_id, seq))
                if isinstance(row, CorruptError):
                    # Logged without the lock, since handlers of the log are code of users.
                    _log.warning("a damaged entry is left out of the search index: %s", row)
                    continue
                document = None if row is None else self._documents.entry(timeline_id, kind, row)
                if document is not None:
                    self.index.add_entries([document])

    def _row(self, timeline_id: int, seq: int) -> StoredEntry | CorruptError | None:
        view = self._engine.view
        try:
            timeline = view.load(timeline_id)
            return None if timeline is None else view.entry(timeline, seq)
        except CorruptError as error:
            return error
