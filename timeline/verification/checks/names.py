"""Names, the rows of timelines, and their metadata and retention.

Checked: each name leads to a row, and each row to its name. Each id was given out. Rows make sense.
The number of raw timelines is right. Metadata and retention belong to timelines that are there.

Example: the name `a` leads to timeline 7, and the row of timeline 7 says `b`.
"""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.conversations import CONVERSATION, MEMBER, decode_conversation
from timeline.formats.names import CONVERSATIONS, EVENTS, USERS
from timeline.formats.rows import (
    INBOX,
    RAW,
    TimelineRow,
    decode_metadata,
    decode_retention,
    decode_row,
    encode_row,
)
from timeline.messaging.access.names import conversation_of
from timeline.storage.rocks import INBOXES, SEGMENTS, STATE
from timeline.verification.snapshot.findings import Finding, Put, put, remove
from timeline.verification.snapshot.snapshot import Snapshot

LOST = b"lost/"  # before an id: the name of a timeline that lost its own


def check_names(snapshot: Snapshot) -> Iterator[Finding]:
    """Names lead to rows and rows to names. What disagrees is put right from the rest."""
    raw = 0
    for key, value in snapshot.scan(keys.NAME):
        name = key[1:]
        try:
            timeline_id = keys.split_number(value)
        except CorruptError as error:
            yield Finding(
                STATE, f"this name leads nowhere: {error}", key, name, fix=remove(STATE, key)
            )
            continue
        raw += not name.startswith(b"@")
        row = snapshot.row(timeline_id)
        if row is None:
            yield _nameless(snapshot, key, name, timeline_id)
        elif row.name != name:
            # Where nothing leads to the name in the row, it is the row that is wrong.
            astray = snapshot.get(keys.NAME + row.name) is not None
            better = encode_row(row._replace(name=name))
            yield Finding(
                STATE,
                f"this name leads to a timeline that is called {shown(row.name)}",
                key,
                name,
                timeline_id,
                fix=remove(STATE, key) if astray else put(STATE, _row_key(timeline_id), better),
            )
    yield from _check_rows(snapshot)
    counted = snapshot.get(keys.COUNT) or keys.number(0)
    if counted != keys.number(raw):
        yield Finding(
            STATE,
            f"the store counts another number of raw timelines than there are ({raw})",
            keys.COUNT,
            fix=(Put(STATE, keys.COUNT, keys.number(raw)),),
        )


def _nameless(snapshot: Snapshot, key: bytes, name: bytes, timeline_id: int) -> Finding:
    row = rebuilt(snapshot, timeline_id, name)
    what = "its row cannot be read" if snapshot.get(_row_key(timeline_id)) else "it has no row"
    return Finding(
        STATE,
        f"this name leads to timeline {timeline_id}, but {what}: it cannot be read",
        key,
        name,
        timeline_id,
        lost=row is None,
        fix=remove(STATE, key)
        if row is None
        else (Put(STATE, _row_key(timeline_id), encode_row(row)),),
    )


def _check_rows(snapshot: Snapshot) -> Iterator[Finding]:
    for key, value in snapshot.scan(keys.ROW):
        try:
            timeline_id = keys.split_number(key[1:])
            row = decode_row(value)
        except CorruptError as error:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
            continue
        wrong = _sense(snapshot, timeline_id, row)
        if wrong:
            better = rebuilt(snapshot, timeline_id, row.name)
            yield Finding(
                STATE,
                wrong,
                key,
                row.name,
                timeline_id,
                fix=remove(STATE, key)
                if better is None
                else (Put(STATE, key, encode_row(better)),),
            )
        known = snapshot.get(keys.NAME + row.name)
        if known != keys.number(timeline_id):
            there = "nothing" if known is None else "another timeline"
            yield Finding(
                STATE,
                f"its name leads to {there}, so that it cannot be found",
                key,
                row.name,
                timeline_id,
                fix=_give_name(snapshot, timeline_id, row, known),
            )
    for prefix, check in ((keys.META, decode_metadata), (keys.RETENTION, decode_retention)):
        for key, value in snapshot.scan(prefix):
            try:
                timeline_id = keys.split_number(key[1:])
                check(value)
            except (CorruptError, ValueError) as error:
                yield Finding(STATE, str(error), key, lost=True, fix=remove(STATE, key))
                continue
            if snapshot.row(timeline_id) is None:
                yield Finding(
                    STATE, f"it describes timeline {timeline_id}, which is not there", key,
                    fix=remove(STATE, key),
                )  # fmt: skip


def _give_name(
    snapshot: Snapshot, timeline_id: int, row: TimelineRow, known: bytes | None
) -> tuple[Put, ...]:
    """Give a timeline its name back, or another one where another timeline has that name."""
    if known is None or snapshot.name(int.from_bytes(known, "big")) != row.name:
        return (Put(STATE, keys.NAME + row.name, keys.number(timeline_id)),)
    if row.kind == INBOX:
        return remove(STATE, _row_key(timeline_id))
    return renamed(snapshot, timeline_id, row)


def _sense(snapshot: Snapshot, timeline_id: int, row: TimelineRow) -> str:
    """What is wrong with a row; empty when nothing is."""
    head = max(row.floor, snapshot.head(timeline_id) or 0)
    wrong = {
        f"id {timeline_id} was never given out": not 0 < timeline_id < snapshot.next_id,
        f"there is no kind {row.kind} of timelines": row.kind not in (RAW, INBOX),
        "its kind does not fit its name": (row.kind == INBOX) != row.name.startswith(USERS),
        "it has no name": not row.name,
        "it was made after the last commit": row.created > snapshot.time
        and not snapshot.clock.steps,
        f"its first number, {row.first}, is above its head, {head}": row.first > head + 1,
        "more was deleted than was ever there": row.deleted > head,
    }
    return "; ".join(text for text, so in wrong.items() if so)


def rebuilt(snapshot: Snapshot, timeline_id: int, name: bytes) -> TimelineRow | None:
    """The row of a timeline, made from what else is stored of it; None when that is nothing. It
    counts no holes: the next round of the repair finds them.
    """
    storage = snapshot.storage
    start, stop = keys.pair(timeline_id, 0), keys.pair(timeline_id + 1, 0)
    try:
        if name.startswith(USERS):
            known = storage.at_or_after(INBOXES, start, stop) is not None
            return (
                TimelineRow(INBOX, 0, 0, 0, 0, 0, name)
                if known or _is_member(snapshot, timeline_id)
                else None
            )
        found = storage.at_or_after(SEGMENTS, start, stop)
        if found is None:
            kept = name.startswith((CONVERSATIONS, EVENTS))
            return TimelineRow(RAW, 0, 1, 0, 0, 0, name) if kept else None
        return TimelineRow(RAW, 0, 1, 0, 0, 0, name)
    except CorruptError:
        return TimelineRow(RAW, 0, 1, 0, 0, 0, name)


def _is_member(snapshot: Snapshot, inbox: int) -> bool:
    return next(snapshot.scan(MEMBER + keys.number(inbox)), None) is not None


def lost_name(snapshot: Snapshot, timeline_id: int) -> bytes:
    """The name that a timeline without name and row must have had, as far as can be known."""
    own = snapshot.conversation(timeline_id)
    if own is not None:
        events = snapshot.name(own.events)
        name = CONVERSATIONS + conversation_of(events)
        free = snapshot.get(keys.NAME + name) in (None, keys.number(timeline_id))
        return name if events and free else CONVERSATIONS + b"lost-%d" % timeline_id
    for key, value in snapshot.scan(CONVERSATION):
        try:
            if decode_conversation(value).events == timeline_id:
                messages = snapshot.name(keys.split_number(key[2:]))
                if messages:
                    return EVENTS + conversation_of(messages)
        except CorruptError:
            continue
    return LOST + b"%d" % timeline_id


def renamed(snapshot: Snapshot, timeline_id: int, row: TimelineRow) -> tuple[Put, ...]:
    """Give a timeline the name that it must have had."""
    name = lost_name(snapshot, timeline_id)
    leads = snapshot.get(keys.NAME + row.name) == keys.number(timeline_id)
    return (
        Put(STATE, _row_key(timeline_id), encode_row(row._replace(name=name))),
        Put(STATE, keys.NAME + name, keys.number(timeline_id)),
        *(remove(STATE, keys.NAME + row.name) if leads else ()),
    )


def _row_key(timeline_id: int) -> bytes:
    return keys.ROW + keys.number(timeline_id)
