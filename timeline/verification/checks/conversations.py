"""Conversations: their rows, their two timelines, and their audiences.

Checked: each conversation has a timeline of messages and one of events, and each such timeline has
a conversation. Its number of members and its flags are right. While it is write-diffused, its
audience is its members; else it is empty.

Example: the roster has 5 members and the row says 4.

A repair believes the roster over audiences and counts. It makes a lost row again from the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.conversations import (
    CALLED,
    CONVERSATION,
    DIRECT,
    GROUP,
    HAS_CALLED,
    HAS_UNCOUNTED,
    ROSTER,
    UNCOUNTED,
    ConversationRow,
    conversation_key,
    decode_conversation,
    encode_conversation,
    split_roster_key,
)
from timeline.formats.names import CONVERSATIONS, EVENTS
from timeline.formats.rows import (
    INBOX,
    RAW,
    TimelineRow,
    decode_spans,
    encode_progress,
    encode_row,
    encode_spans,
)
from timeline.formats.stretches import OPEN, Stretch
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.messaging.access.names import conversation_of
from timeline.storage.rocks import META, STATE
from timeline.verification.checks.names import LOST, renamed
from timeline.verification.snapshot.findings import Finding, Put, put, remove, within
from timeline.verification.snapshot.snapshot import Snapshot

_FLAGS = ((HAS_UNCOUNTED, UNCOUNTED), (HAS_CALLED, CALLED))


def check_conversations(snapshot: Snapshot) -> Iterator[Finding]:
    """The rows of conversations, and their timelines."""
    for key, value in snapshot.scan(keys.NAME + CONVERSATIONS):
        timeline_id = _id(value)
        if timeline_id and snapshot.row(timeline_id) and snapshot.conversation(timeline_id) is None:
            there = snapshot.get(conversation_key(timeline_id)) is not None
            yield Finding(
                STATE,
                "the row of this conversation " + ("is damaged" if there else "is missing"),
                conversation_key(timeline_id),
                key[1:],
                lost=True,
                fix=_made_again(snapshot, timeline_id, key[1:]),
            )
    for key, value in snapshot.scan(keys.NAME + EVENTS):
        conversation = snapshot.get(keys.NAME + CONVERSATIONS + conversation_of(key[1:]))
        row = None if conversation is None else snapshot.conversation(_id(conversation))
        if conversation is None or (row is not None and row.events != _id(value)):
            yield Finding(
                STATE,
                "these are the events of no conversation",
                key,
                key[1:],
                fix=remove(STATE, key, keys.ROW + value),
            )
    for key, value in snapshot.scan(CONVERSATION):
        yield from _check_conversation(snapshot, key, value)


def _check_conversation(snapshot: Snapshot, key: bytes, value: bytes) -> Iterator[Finding]:
    try:
        conversation = keys.split_number(key[2:])
        row = decode_conversation(value)
    except CorruptError as error:
        if len(key) != 10 or snapshot.row(int.from_bytes(key[2:], "big")) is None:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
        return  # else its name tells of it
    messages = snapshot.row(conversation)
    if messages is None:
        yield Finding(
            STATE, f"conversation {conversation} has no messages: it cannot be opened", key,
            fix=remove(STATE, key),
        )  # fmt: skip
        return
    name = messages.name
    if not name.startswith(CONVERSATIONS):
        yield Finding(
            STATE,
            "this is a conversation, and is not called like one",
            key,
            name,
            conversation,
            fix=renamed(snapshot, conversation, messages),
        )
        return
    events = snapshot.row(row.events)
    expected = EVENTS + conversation_of(name)
    if events is None or events.name != expected:
        yield Finding(
            STATE,
            f"its events, timeline {row.events}, are not there",
            key,
            name,
            lost=True,
            fix=_with_events(snapshot, conversation, row, expected),
        )
    yield from _check_audience(snapshot, conversation, name, row)
    better, wrong = _mended(snapshot, conversation, row)
    if wrong:
        yield Finding(
            STATE, "; ".join(wrong), key, name, fix=put(STATE, key, encode_conversation(better))
        )


def _mended(
    snapshot: Snapshot, conversation: int, row: ConversationRow
) -> tuple[ConversationRow, list[str]]:
    """The row of a conversation as it should be, and what is wrong with it."""
    members = sum(
        1 for each, _ in snapshot.scan(ROSTER + keys.number(conversation)) if each[10:11] < b"\2"
    )
    flags = row.flags
    for flag, family in _FLAGS:
        there = snapshot.holds(family + keys.number(conversation))
        flags = flags | flag if there else flags & ~flag
    wrong = []
    if members != row.members:
        wrong.append(f"it has {members} members, not {row.members}")
    if flags != row.flags:
        wrong.append("its flags and its sets of numbers do not agree")
    pulled = within(row.pulled, snapshot.head(conversation) or 0)
    if pulled != row.pulled:
        wrong.append("messages beyond the head are read-diffused")
    if pulled and any(each.ended == OPEN for each in pulled[:-1]):
        wrong.append("what is read-diffused of it is out of order")
        pulled = tuple(each for each in pulled[:-1] if each.ended != OPEN) + pulled[-1:]
    if not row.kind <= DIRECT or not row.history <= 1:
        wrong.append("there is no such kind of conversation or history")
        row = row._replace(kind=min(row.kind, GROUP), history=min(row.history, 1))
    return row._replace(members=members, flags=flags, pulled=pulled), wrong


def _with_events(
    snapshot: Snapshot, conversation: int, row: ConversationRow, name: bytes
) -> tuple[Put, ...]:
    """Give it its events: the timeline of that name; else the one that its row names, if that
    belongs to nothing else; else a new one.
    """
    known = snapshot.get(keys.NAME + name)
    if known is not None and snapshot.row(_id(known)) is not None:
        better = row._replace(events=_id(known))
        return put(STATE, conversation_key(conversation), encode_conversation(better))
    events, there = row.events, snapshot.row(row.events)
    more: tuple[Put, ...] = ()
    if there is None or not there.name.startswith(LOST):
        there = TimelineRow(RAW, 0, 1, 0, 0, 0, name)
        if not 0 < events < snapshot.next_id or snapshot.row(events) is not None:
            events = snapshot.next_id
            progress = snapshot.progress._replace(next_id=events + 1)
            better = row._replace(events=events)
            more = (
                Put(META, PROGRESS_KEY, encode_progress(progress)),
                Put(STATE, conversation_key(conversation), encode_conversation(better)),
            )
    return (
        Put(STATE, keys.ROW + keys.number(events), encode_row(there._replace(name=name))),
        Put(STATE, keys.NAME + name, keys.number(events)),
        *more,
    )


def _made_again(snapshot: Snapshot, conversation: int, name: bytes) -> tuple[Put, ...]:
    """Make the row of a conversation from what else is known of it. Without events drop it."""
    events = snapshot.get(keys.NAME + EVENTS + conversation_of(name))
    messages = snapshot.row(conversation)
    if events is None or messages is None:
        return remove(STATE, keys.NAME + name, keys.ROW + keys.number(conversation))
    direct = conversation_of(name).startswith(b"@direct:")
    audience = next(snapshot.scan(keys.AUDIENCE + keys.number(conversation)), None)
    members = next(snapshot.scan(ROSTER + keys.number(conversation)), None)
    everything = Stretch(1, OPEN, 1, OPEN, OPEN)
    row = ConversationRow(
        DIRECT if direct else GROUP,
        0,
        0,
        0,
        messages.created,
        _id(events),
        0,
        bytes(8),
        (everything,) if audience is None and members is not None else (),
    )
    return put(STATE, conversation_key(conversation), encode_conversation(row))


def _check_audience(
    snapshot: Snapshot, conversation: int, name: bytes, row: ConversationRow
) -> Iterator[Finding]:
    pulled = bool(row.pulled) and row.pulled[-1].ended == OPEN
    members = set()
    for key, _ in snapshot.scan(ROSTER + keys.number(conversation)):
        if len(key) == 19 and key[10] < 2:
            members.add(split_roster_key(key)[2])
    reached = set()
    for key, value in snapshot.scan(keys.AUDIENCE + keys.number(conversation)):
        try:
            inbox = keys.split_pair(key[1:])[1]
            spans = decode_spans(value)
            ends = [end for span in spans for end in span]
            if not spans or ends != sorted(ends) or spans[-1][0] > snapshot.applied:
                raise CorruptError("a row of membership is out of order")
        except CorruptError as error:
            yield Finding(STATE, str(error), key, name, fix=remove(STATE, key))
            continue
        if spans[-1][1] == OPEN:
            reached.add(inbox)
            if pulled or inbox not in members:
                why = "it is read-diffused" if pulled else "they are no member"
                yield Finding(
                    STATE,
                    f"user {shown(snapshot.name(inbox))} is delivered its messages, although {why}",
                    key,
                    name,
                    fix=remove(STATE, key),
                )
    for inbox in sorted(members - reached) if not pulled else ():
        key = keys.AUDIENCE + keys.pair(conversation, inbox)
        yield Finding(
            STATE,
            f"member {shown(snapshot.name(inbox))} is not delivered its messages",
            key,
            name,
            fix=put(STATE, key, encode_spans([(snapshot.applied, OPEN)])),
        )


def check_audiences(snapshot: Snapshot) -> Iterator[Finding]:
    """Each membership of an audience names an audience and an in-box that are there."""
    for key, _ in snapshot.scan(keys.AUDIENCE):
        if len(key) != 17:
            yield Finding(STATE, "this key is no membership", key, fix=remove(STATE, key))
            continue
        audience, inbox = keys.split_pair(key[1:])
        row = snapshot.row(inbox)
        if not 0 < audience < snapshot.next_id or row is None or row.kind != INBOX:
            yield Finding(
                STATE,
                f"in-box {inbox} is in audience {audience}, and one of the two is not there",
                key,
                fix=remove(STATE, key),
            )


def _id(value: bytes) -> int:
    return int.from_bytes(value, "big")
