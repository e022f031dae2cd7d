"""An export of a store: its records, always in the same order.

Rule: an export depends on what was committed up to one LSN, and not on whether that lies on disk or
in memory. So a running store and the same store after a stop give the same export. One row is the
exception: it says when the expiry of in-boxes last ran.

    exported    entries as they are now, after edits
    left out    deleted entries, the search index, the sealed log, checkpoints of consumers
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Final

from timeline.engine.engine import Engine
from timeline.engine.inboxview import is_inbox
from timeline.errors import BusyError
from timeline.formats import keys
from timeline.formats.entries import decode_items
from timeline.formats.export import EntryRecord, ExportRecord, Header, RowRecord, TimelineRecord
from timeline.formats.references import SIZE, cut_references, encode_references, lsn_of
from timeline.formats.rows import RAW, decode_spans, encode_clock, encode_spans
from timeline.lsm.clock import CLOCK_KEY
from timeline.lsm.timeline import Timeline
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.lsm.upkeep.sealing import REFERENCES_A_SEGMENT
from timeline.storage.rocks import INBOXES, META, STATE

_PAGE_ENTRIES: Final = 1_000  # read under one hold of the lock


def export_records(
    engine: Engine, prefix: bytes | None = None
) -> Generator[ExportRecord, None, None]:
    """The records of the whole store, or of the raw timelines whose name begins with `prefix`.

    The end is left to the caller. Raises `BusyError` when something was committed meanwhile.
    """
    stage = engine.stage
    lsn = engine.applied
    yield Header(
        exact=True,
        whole=prefix is None,
        epoch=engine.view.epoch,
        lsn=lsn,
        time=stage.last_time,
        next_id=stage.next_id,
    )
    for name, _ in engine.view.each(prefix or b""):
        if prefix is None or not name.startswith(b"@"):
            with engine.lock:
                timeline = engine.view.find(name)
            if timeline is not None:
                yield from _timeline(engine, timeline)
                if is_inbox(timeline):
                    yield from _inbox(engine, timeline.id)
    if engine.view.clock.steps:  # readers of the records need it to order times
        yield RowRecord(META, CLOCK_KEY, encode_clock(engine.view.clock.steps))
    if prefix is None:
        yield from _rest(engine)
    if engine.applied != lsn:
        raise BusyError("the store was written to while it was exported: export it again")


def _timeline(engine: Engine, timeline: Timeline) -> Iterator[ExportRecord]:
    with engine.lock:
        row = timeline.row
        assert row is not None, "a timeline that is found has a row"
        metadata = engine.view.metadata(timeline)
        raw = row.kind == RAW
        head = engine.view.extent(timeline).head if raw else 0
        retention = engine.view.retention(timeline)
    yield TimelineRecord(
        timeline.name,
        timeline.id,
        row.kind,
        row.created,
        row.first,
        head,
        row.floor,
        row.holes,
        row.deleted,
        tuple(part for pair in metadata.items() for part in pair),
        retention,
        row.skipped,
    )
    first = row.first
    while raw and first <= head:
        with engine.lock:
            ranges = engine.view.ranges
            page = ranges.stored(timeline, first, head, _PAGE_ENTRIES, reverse=False)
        for seq, lsn, time, payload in page:
            yield EntryRecord(seq, time, lsn, decode_items(payload))
        if len(page) < _PAGE_ENTRIES:
            return
        first = page[-1][0] + 1


def _inbox(engine: Engine, inbox_id: int) -> Iterator[RowRecord]:
    """The references of an in-box, as segments that sealing all of it at once would make."""
    floor = keys.pair(inbox_id, 0)
    value = engine.store.storage.get(INBOXES, floor)
    if value is not None:
        yield RowRecord(INBOXES, floor, value)
    waiting: list[bytes] = []
    for packed in engine.view.inboxes.everything(inbox_id):
        waiting += [packed[at : at + SIZE] for at in range(0, len(packed), SIZE)]
        while len(waiting) > REFERENCES_A_SEGMENT:
            run = next(cut_references(waiting, REFERENCES_A_SEGMENT))
            yield _segment(inbox_id, run)
            del waiting[: len(run)]
    if waiting:
        yield _segment(inbox_id, waiting)


def _segment(inbox_id: int, references: Sequence[bytes]) -> RowRecord:
    key = keys.pair(inbox_id, lsn_of(references[-1]))
    return RowRecord(INBOXES, key, encode_references(key, references))


def _rest(engine: Engine) -> Iterator[RowRecord]:
    """Audiences, conversations and users, deleted names, and the floor of in-boxes."""
    storage = engine.store.storage
    for key, value in engine.view.scan(keys.AUDIENCE, keys.successor(keys.AUDIENCE)):
        # Memberships that ended are kept for replays only. A loaded store replays nothing of them.
        spans = [span for span in decode_spans(value) if span[1] > engine.applied]
        if spans:
            yield RowRecord(STATE, key, encode_spans(spans))
    for family in (keys.DELETED, keys.DELETIONS, keys.OWN):
        for key, value in engine.view.scan(family, keys.successor(family)):
            yield RowRecord(STATE, key, value)
    expiry = storage.get(META, EXPIRY_KEY)
    if expiry is not None:
        yield RowRecord(META, EXPIRY_KEY, expiry)
