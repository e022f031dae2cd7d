"""Raw timelines of an export, added to a store that is there.

Responsibility: append what a `Ground` (an engine here, a daemon over the wire) does not have yet.

Rule: numbers, holes and heads are kept, and entries get the time at which they are imported, as
any other commit. What is there already is skipped, so that the same call goes on after
an interruption; a timeline with other content is refused before anything is added to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from timeline.commit.draft import Draft
from timeline.engine.engine import Engine
from timeline.errors import ConflictError, CorruptError, UsageError, shown
from timeline.formats import keys
from timeline.formats.entries import decode_items
from timeline.formats.export import DumpRecord, Header, Item, Series
from timeline.formats.rows import RAW
from timeline.options import MIB

_ENTRIES: Final = 1_000
_LOOKED_AT: Final = 100  # one of so many that are there, the first among them; all would cost reads
_BYTES: Final = 4 * MIB


class Ground(Protocol):
    """What timelines are added to."""

    def head(self, name: bytes) -> int:
        """The highest number given out, 0 for none."""

    def entry(self, name: bytes, seq: int) -> list[bytes] | None:
        """Field, value, … of an entry."""

    def append(self, name: bytes, items: list[Item]) -> None:
        """Append entries under their numbers, those of number 0 under the next ones, durably."""

    def finish(self, series: Series) -> None:
        """Give a timeline the first number, the head, metadata and retention of `series`."""


class Grafted(NamedTuple):
    """Timelines seen, entries added, and entries that were there."""

    timelines: int
    added: int
    skipped: int


def graft(ground: Ground, records: Iterable[DumpRecord]) -> Grafted:
    """Add the raw timelines among `records`. Raises `UsageError` for a name that the store keeps
    for itself, `ConflictError`, `CorruptError`.
    """
    timelines = added = skipped = 0
    series: Series | None = None
    items: list[Item] = []
    head = size = met = 0

    def flush() -> None:
        nonlocal size
        if series is not None and items:
            ground.append(series.name, items)
            items.clear()
            size = 0

    def finish() -> None:
        flush()
        if series is not None:
            ground.finish(series)

    for record in records:
        match record:
            case Series():
                finish()
                series, met = None, 0
                if record.kind == RAW:
                    _check_name(record.name)
                    series, head = record, ground.head(record.name)
                    timelines += 1
            case Item():
                if series is None:
                    continue
                if 0 < record.seq <= head:
                    if met % _LOOKED_AT == 0:
                        _check_same(ground, series.name, record)
                    met += 1
                    skipped += 1
                    continue
                items.append(record)
                size += sum(map(len, record.fields))
                added += 1
                if len(items) == _ENTRIES or size >= _BYTES:
                    flush()
            case Header():
                if timelines:
                    raise CorruptError("an export has one header, at its beginning")
            case _:
                pass  # conversations and users come with a store of their own
    finish()
    return Grafted(timelines, added, skipped)


def _check_name(name: bytes) -> None:
    if name.startswith(b"@"):
        raise UsageError(
            f"{shown(name)} cannot be imported: names that begin with @ belong to the store"
        )


def _check_same(ground: Ground, name: bytes, item: Item) -> None:
    there = ground.entry(name, item.seq)
    if there is not None and there != list(item.fields):
        raise ConflictError(
            f"{shown(name)} has another entry {item.seq} than the export: import into another "
            "store, or delete the timeline first"
        )


class EngineGround:
    """An open store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def head(self, name: bytes) -> int:
        with self._engine.lock:
            timeline = self._engine.find(name)
            return 0 if timeline is None else self._engine.extent(timeline).head

    def entry(self, name: bytes, seq: int) -> list[bytes] | None:
        engine = self._engine
        with engine.lock:
            timeline = engine.find(name)
            if timeline is None:
                return None
            found = engine.timelines.rows(timeline, seq, seq, 1, reverse=False)
        return decode_items(found[0][3]) if found else None

    def append(self, name: bytes, items: list[Item]) -> None:
        def work(draft: Draft) -> None:
            timeline = draft.find_or_create(name)
            for item in items:
                draft.append(timeline, item.fields, item.seq or None)

        self._engine.commit(work)

    def finish(self, series: Series) -> None:
        def work(draft: Draft) -> None:
            timeline = draft.find_or_create(series.name)
            if series.head > draft.extent(timeline).head:
                draft.set_head(timeline, min(series.head, keys.LAST))
            draft.trim(timeline, series.first)
            if series.metadata:
                draft.merge_metadata(
                    timeline, zip(series.metadata[::2], series.metadata[1::2], strict=True)
                )
            if any(series.retention):
                draft.set_retention(timeline, series.retention)

        self._engine.commit(work)
