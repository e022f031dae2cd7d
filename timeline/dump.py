"""What an export of a store consists of, read in one order that is always the same.

Rule: the store must stand still meanwhile: open it with `fsync="inline"`, so that nothing is done
in the background, and append nothing. Edits are applied, what was deleted is gone, and what is
derived (the search index, the sealed log, checkpoints of consumers) is left out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from timeline.engine import Engine
from timeline.errors import BusyError
from timeline.expiry import EXPIRY_KEY
from timeline.formats import keys
from timeline.formats.dump import DumpRecord, Header, Item, Row, Series
from timeline.formats.entries import decode_items
from timeline.formats.rows import RAW
from timeline.storage import INBOXES, LOG, META, STATE
from timeline.tails import Timeline

_PAGE = 1_000


def dump(engine: Engine, prefix: bytes | None = None) -> Generator[DumpRecord, None, None]:
    """The records of the whole store, or of the raw timelines whose name begins with `prefix`;
    all but the end.

    Raises `BusyError` when something was committed meanwhile.
    """
    engine.seal()
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


def _rest(engine: Engine) -> Iterator[Row]:
    """Memberships, conversations and users, in-boxes, what these forgot, the newest record."""
    storage = engine.store.storage
    for prefix in (keys.AUDIENCE, keys.OWN):
        for key, value in storage.scan(STATE, prefix, keys.successor(prefix)):
            yield Row(STATE, key, value)
    for key, value in storage.scan(INBOXES, b"", keys.pair(keys.MAX, keys.MAX)):
        yield Row(INBOXES, key, value)
    expiry = storage.get(META, EXPIRY_KEY)
    if expiry is not None:
        yield Row(META, EXPIRY_KEY, expiry)
    newest = storage.at_or_before(LOG, keys.number(keys.MAX), keys.number(0))
    if newest is not None:
        yield Row(LOG, *newest)
