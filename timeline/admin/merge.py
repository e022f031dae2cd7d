"""Raw timelines of an export, added to a store that is there.

Responsibility: append to a `Destination` what it does not have yet. A destination is an engine
here, or a daemon over the wire.

Rule: numbers, holes and heads stay as they were. Entries get the time of the import, as any other
commit. What is there already is skipped, so the same call goes on after an interruption. A timeline
with other content is refused before anything is added to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from timeline.commit.draft import Draft
from timeline.engine.engine import Engine
from timeline.errors import ConflictError, CorruptError, UsageError, shown
from timeline.formats import keys
from timeline.formats.entries import decode_items
from timeline.formats.export import EntryRecord, ExportRecord, Header, TimelineRecord
from timeline.formats.rows import RAW
from timeline.options import MIB

_MOST_ENTRIES: Final = 1_000  # in one append
_MOST_BYTES: Final = 4 * MIB  # of fields and values in one append
# Of the entries that are there already the first and each 100th after it are compared. Comparing
# all of them would cost a read each.
_COMPARED_EACH: Final = 100


class Destination(Protocol):
    """What timelines are added to."""

    def head(self, name: bytes) -> int:
        """The highest number given out, 0 for none."""

    def entry(self, name: bytes, seq: int) -> list[bytes] | None:
        """Field, value, … of an entry."""

    def append(self, name: bytes, items: list[EntryRecord]) -> None:
        """Append entries durably, under their own numbers. Number 0 means the next free one."""

    def finish(self, record: TimelineRecord) -> None:
        """Give a timeline the first number, the head, metadata and retention of `record`."""


class Merged(NamedTuple):
    """How many timelines the export has, entries were added, and entries were there already."""

    timelines: int
    added: int
    skipped: int


def merge(destination: Destination, records: Iterable[ExportRecord]) -> Merged:
    """Add the raw timelines among `records`.

    Raises `UsageError` for a name that belongs to the store, `ConflictError` for a timeline with
    other content, `CorruptError`.
    """
    timelines = added = skipped = 0
    current: TimelineRecord | None = None
    items: list[EntryRecord] = []
    head = size = met = 0

    def flush() -> None:
        nonlocal size
        if current is not None and items:
            destination.append(current.name, items)
            items.clear()
            size = 0

    def finish() -> None:
        flush()
        if current is not None:
            destination.finish(current)

    for record in records:
        match record:
            case TimelineRecord():
                finish()
                current, met = None, 0
                if record.kind == RAW:
                    _check_name(record.name)
                    current, head = record, destination.head(record.name)
                    timelines += 1
            case EntryRecord():
                if current is None:
                    continue
                if 0 < record.seq <= head:
                    if met % _COMPARED_EACH == 0:
                        _check_same(destination, current.name, record)
                    met += 1
                    skipped += 1
                    continue
                items.append(record)
                size += sum(map(len, record.fields))
                added += 1
                if len(items) == _MOST_ENTRIES or size >= _MOST_BYTES:
                    flush()
            case Header():
                if timelines:
                    raise CorruptError("an export has one header, at its beginning")
            case _:
                pass  # conversations and users come with a store of their own
    finish()
    return Merged(timelines, added, skipped)


def _check_name(name: bytes) -> None:
    if name.startswith(b"@"):
        raise UsageError(
            f"{shown(name)} cannot be imported: names that begin with @ belong to the store"
        )


def _check_same(destination: Destination, name: bytes, item: EntryRecord) -> None:
    there = destination.entry(name, item.seq)
    if there is not None and there != list(item.fields):
        raise ConflictError(
            f"{shown(name)} has another entry {item.seq} than the export: import into another "
            "store, or delete the timeline first"
        )


class EngineDestination:
    """An open store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def head(self, name: bytes) -> int:
        with self._engine.lock:
            timeline = self._engine.view.find(name)
            return 0 if timeline is None else self._engine.view.extent(timeline).head

    def entry(self, name: bytes, seq: int) -> list[bytes] | None:
        engine = self._engine
        with engine.lock:
            timeline = engine.view.find(name)
            if timeline is None:
                return None
            found = engine.view.entry(timeline, seq)
        return None if found is None else decode_items(found[3])

    def append(self, name: bytes, items: list[EntryRecord]) -> None:
        def work(draft: Draft) -> None:
            timeline = draft.find_or_create(name)
            for item in items:
                draft.append(timeline, item.fields, item.seq or None)

        self._engine.commit(work)

    def finish(self, record: TimelineRecord) -> None:
        def work(draft: Draft) -> None:
            timeline = draft.find_or_create(record.name)
            if record.head > draft.extent(timeline).head:
                draft.set_head(timeline, min(record.head, keys.LAST))
            draft.trim(timeline, record.first)
            if record.metadata:
                draft.merge_metadata(
                    timeline, zip(record.metadata[::2], record.metadata[1::2], strict=True)
                )
            if any(record.retention):
                draft.set_retention(timeline, record.retention)

        self._engine.commit(work)
