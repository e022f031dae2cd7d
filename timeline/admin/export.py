"""What an export of a store consists of, read in one order that is always the same.

Rule: what was committed up to one LSN says what an export is, not how it lies on the disk or in
memory: one made beside the owner of a store is the one that the stopped store gives, but for the
row that says when in-boxes were looked at. Edits are applied, what was deleted is gone, and what is
derived (the search index, the sealed log, checkpoints of consumers) is left out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from timeline.engine.engine import Engine
from timeline.engine.inboxview import is_inbox
from timeline.errors import BusyError
from timeline.formats import keys
from timeline.formats.entries import decode_items
from timeline.formats.export import DumpRecord, Header, Item, Row, Series
from timeline.formats.references import SIZE, cut_references, encode_references, lsn_of
from timeline.formats.rows import RAW, decode_spans, encode_clock, encode_spans
from timeline.lsm.clock import CLOCK_KEY
from timeline.lsm.timeline import Timeline
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.lsm.upkeep.sealing import REFERENCES_A_SEGMENT
from timeline.storage.rocks import INBOXES, LOG, META, STATE

_PAGE = 1_000


def dump(engine: Engine, prefix: bytes | None = None) -> Generator[DumpRecord, None, None]:
    """The records of the whole store, or of the raw timelines whose name begins with `prefix`;
    all but the end.

    Raises `BusyError` when something was committed meanwhile.
    """
    stage = engine.stage
    lsn = engine.applied
    yield Header(
        exact=True,
        whole=prefix is None,
        epoch=engine.store.epoch,
        lsn=lsn,
        time=stage.last_time,
        next_id=stage.next_id,
    )
    for name, _ in engine.each(prefix or b""):
        if prefix is None or not name.startswith(b"@"):
            with engine.lock:
                timeline = engine.find(name)
            if timeline is not None:
                yield from _timeline(engine, timeline)
                if is_inbox(timeline):
                    yield from _inbox(engine, timeline.id)
    if engine.store.clock.steps:  # by which the times of what was told are to be read
        yield Row(META, CLOCK_KEY, encode_clock(engine.store.clock.steps))
    if prefix is None:
        yield from _rest(engine)
    if engine.applied != lsn:
        raise BusyError("the store was written to while it was exported: export it again")


def _timeline(engine: Engine, timeline: Timeline) -> Iterator[DumpRecord]:
    with engine.lock:
        row = timeline.row
        assert row is not None, "a timeline that is found has a row"
        metadata = engine.metadata(timeline)
        raw = row.kind == RAW
        head = engine.extent(timeline).head if raw else 0
        retention = engine.retention(timeline)
    yield Series(
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
            page = engine.timelines.rows(timeline, first, head, _PAGE, reverse=False)
        for seq, lsn, time, payload in page:
            yield Item(seq, time, lsn, decode_items(payload))
        if len(page) < _PAGE:
            return
        first = page[-1][0] + 1


def _inbox(engine: Engine, inbox_id: int) -> Iterator[Row]:
    """The references of an in-box, as it would be sealed at once."""
    floor = keys.pair(inbox_id, 0)
    value = engine.store.storage.get(INBOXES, floor)
    if value is not None:
        yield Row(INBOXES, floor, value)
    waiting: list[bytes] = []
    for packed in engine.inboxes.everything(inbox_id):
        waiting += [packed[at : at + SIZE] for at in range(0, len(packed), SIZE)]
        while len(waiting) > REFERENCES_A_SEGMENT:
            run = next(cut_references(waiting, REFERENCES_A_SEGMENT))
            yield _segment(inbox_id, run)
            del waiting[: len(run)]
    if waiting:
        yield _segment(inbox_id, waiting)


def _segment(inbox_id: int, references: Sequence[bytes]) -> Row:
    key = keys.pair(inbox_id, lsn_of(references[-1]))
    return Row(INBOXES, key, encode_references(key, references))


def _rest(engine: Engine) -> Iterator[Row]:
    """Memberships, conversations and users, deleted names, what in-boxes forgot, the newest
    record.
    """
    storage = engine.store.storage
    for key, value in engine.state.scan(keys.AUDIENCE, keys.successor(keys.AUDIENCE)):
        # Those that ended are kept for a replay, which a store made of this does not see.
        spans = [span for span in decode_spans(value) if span[1] > engine.applied]
        if spans:
            yield Row(STATE, key, encode_spans(spans))
    for family in (keys.DELETED, keys.DELETIONS, keys.OWN):
        for key, value in engine.state.scan(family, keys.successor(family)):
            yield Row(STATE, key, value)
    expiry = storage.get(META, EXPIRY_KEY)
    if expiry is not None:
        yield Row(META, EXPIRY_KEY, expiry)
    newest = storage.at_or_before(LOG, keys.number(engine.applied), keys.number(0))
    if newest is not None:
        yield Row(LOG, *newest)
