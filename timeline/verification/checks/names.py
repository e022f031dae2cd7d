"""Names, the rows of timelines, and their metadata and retention.

Checked: each name leads to a row, and each row to its name. Each id was given out. Rows make sense.
The number of raw timelines is right. Metadata and retention belong to timelines that are there.

Example: the name `a` leads to timeline 7, and the row of timeline 7 says `b`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.conversations import CONVERSATION, MEMBER, decode_conversation
from timeline.formats.feeds import FEED, decode_feed
from timeline.formats.names import (
    CONVERSATIONS,
    EVENTS,
    FEED_EVENTS,
    FEEDS,
    HOMES,
    INBOXES as INBOX_NAMES,
    NOTES,
)
from timeline.formats.rows import (
    INBOX,
    RAW,
    TimelineRow,
    decode_metadata,
    decode_retention,
    decode_row,
    encode_progress,
    encode_row,
)
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.storage.rocks import INBOXES, META, SEGMENTS, STATE
from timeline.verification.checks.posts import called_by_others
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
            better = _rightly_called(snapshot, timeline_id, row, name)
            yield Finding(
                STATE,
                f"this name leads to a timeline that is called {shown(row.name)}",
                key,
                name,
                timeline_id,
                fix=remove(STATE, key)
                if better is None
                else put(STATE, _row_key(timeline_id), encode_row(better)),
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


def _rightly_called(
    snapshot: Snapshot, timeline_id: int, row: TimelineRow, name: bytes
) -> TimelineRow | None:
    """The row of the timeline to which `name` leads, where it is the row that is wrong: nothing
    leads to the name in it, or it is the row of another timeline, which has it too. Else None.
    """
    known = snapshot.get(keys.NAME + row.name)
    if known is None:
        return row._replace(name=name)
    other = int.from_bytes(known, "big")
    if other != timeline_id and snapshot.name(other) == row.name:
        return rebuilt(snapshot, timeline_id, name)
    return None


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
        "its kind does not fit its name": (row.kind == INBOX) != row.name.startswith(INBOX_NAMES),
        "it has no name": not row.name,
        "it was made after the last commit": row.created > snapshot.time
        and not snapshot.clock.steps,
        f"its first number, {row.first}, is above its head, {head}": row.first > head + 1,
        "more was deleted than was ever there": row.deleted > head,
        f"its head, {row.floor}, is above every number": row.floor > keys.LAST,
    }
    return "; ".join(text for text, so in wrong.items() if so)


def rebuilt(snapshot: Snapshot, timeline_id: int, name: bytes) -> TimelineRow | None:
    """The row of a timeline, made from what else is stored of it; None when that is nothing. It
    counts no holes: the next round of the repair finds them.
    """
    storage = snapshot.storage
    start, stop = keys.pair(timeline_id, 0), keys.pair(timeline_id + 1, 0)
    try:
        if name.startswith(INBOX_NAMES):
            # A home may be of somebody who has only reacted to posts, which nothing tells by it;
            # of notes only references tell.
            known = (
                name.startswith((HOMES, NOTES))
                or storage.at_or_after(INBOXES, start, stop) is not None
                or snapshot.holds(MEMBER + keys.number(timeline_id))
            )
            return TimelineRow(INBOX, 0, 0, 0, 0, 0, name) if known else None
        found = storage.at_or_after(SEGMENTS, start, stop)
        if found is None:
            kept = name.startswith((CONVERSATIONS, EVENTS, FEEDS, FEED_EVENTS))
            return TimelineRow(RAW, 0, 1, 0, 0, 0, name) if kept else None
        return TimelineRow(RAW, 0, 1, 0, 0, 0, name)
    except CorruptError:
        return TimelineRow(RAW, 0, 1, 0, 0, 0, name)


def lost_name(snapshot: Snapshot, timeline_id: int) -> bytes:
    """The name that a timeline without name and row must have had, as far as can be known."""
    conversation, feed = snapshot.conversation(timeline_id), snapshot.feed(timeline_id)
    if conversation is not None:
        name = _beside(snapshot, timeline_id, conversation.events, EVENTS, CONVERSATIONS)
        return name or CONVERSATIONS + b"lost-%d" % timeline_id
    if feed is not None:
        name = _beside(snapshot, timeline_id, feed.events, FEED_EVENTS, FEEDS)
        return name or _called(snapshot, timeline_id) or FEEDS + b"lost-%d" % timeline_id
    for family, decode, theirs, own in (
        (CONVERSATION, decode_conversation, CONVERSATIONS, EVENTS),
        (FEED, decode_feed, FEEDS, FEED_EVENTS),
    ):
        for key, value in snapshot.scan(family):
            try:
                if decode(value).events == timeline_id:
                    name = snapshot.name(keys.split_number(key[2:]))
                    if name.startswith(theirs):
                        return own + name.removeprefix(theirs)
            except CorruptError:
                continue
    return LOST + b"%d" % timeline_id


def _beside(snapshot: Snapshot, timeline_id: int, events: int, theirs: bytes, own: bytes) -> bytes:
    """What messages or posts are called whose events have another id; nothing where that is not
    known.
    """
    name = snapshot.name(events)
    better = own + name.removeprefix(theirs)
    return better if name.startswith(theirs) and _is_free(snapshot, better, timeline_id) else b""


def _called(snapshot: Snapshot, feed: int) -> bytes:
    """What the posts of a feed are called by those who name one of them; nothing if nobody does."""
    author = called_by_others(snapshot, feed)
    return FEEDS + author if author and _is_free(snapshot, FEEDS + author, feed) else b""


def _is_free(snapshot: Snapshot, name: bytes, timeline_id: int) -> bool:
    return snapshot.get(keys.NAME + name) in (None, keys.number(timeline_id))


def is_called(snapshot: Snapshot, timeline_id: int, kinds: tuple[bytes, ...]) -> bool:
    """Whether a timeline has a name that begins like one of these, and the name leads to it."""
    name = snapshot.name(timeline_id)
    return name.startswith(kinds) and snapshot.get(keys.NAME + name) == keys.number(timeline_id)


def renamed(snapshot: Snapshot, timeline_id: int, row: TimelineRow) -> tuple[Put, ...]:
    """Give a timeline the name that it must have had."""
    name = lost_name(snapshot, timeline_id)
    leads = snapshot.get(keys.NAME + row.name) == keys.number(timeline_id)
    return (
        Put(STATE, _row_key(timeline_id), encode_row(row._replace(name=name))),
        Put(STATE, keys.NAME + name, keys.number(timeline_id)),
        *(remove(STATE, keys.NAME + row.name) if leads else ()),
    )


def with_events(
    snapshot: Snapshot, events: int, name: bytes, save: Callable[[int], Put]
) -> tuple[Put, ...]:
    """Give a conversation or a feed its events: the timeline of that name; else the one that its
    row names, `events`, if that belongs to nothing else; else a new one. `save` makes the row that
    has them.
    """
    known = int.from_bytes(snapshot.get(keys.NAME + name) or b"", "big")
    if snapshot.row(known) is not None:
        return (save(known),)
    there = snapshot.row(events)
    more: tuple[Put, ...] = ()
    if there is None or not there.name.startswith(LOST):
        there = TimelineRow(RAW, 0, 1, 0, 0, 0, name)
        if not 0 < events < snapshot.next_id or snapshot.row(events) is not None:
            events = snapshot.next_id
            progress = snapshot.progress._replace(next_id=events + 1)
            more = (Put(META, PROGRESS_KEY, encode_progress(progress)), save(events))
    return (
        Put(STATE, _row_key(events), encode_row(there._replace(name=name))),
        Put(STATE, keys.NAME + name, keys.number(events)),
        *more,
    )


def _row_key(timeline_id: int) -> bytes:
    return keys.ROW + keys.number(timeline_id)
