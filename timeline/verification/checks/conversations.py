"""Conversations: their rows, their two timelines, and their audiences (`audiences`).

Checked: each conversation has a timeline of messages and one of events, and each such timeline has
a conversation. Its number of members and its flags are right. While it is write-diffused, its
audience is its members; else it is empty.

Example: the roster has 5 members and the row says 4.

A repair believes the roster over audiences and counts. It makes a lost row again from the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError
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
from timeline.formats.names import CONVERSATIONS, EVENTS, FEED_EVENTS, FEEDS, INBOXES
from timeline.formats.stretches import OPEN, Stretch, is_open
from timeline.messaging.access.names import conversation_of
from timeline.storage.rocks import STATE
from timeline.verification.checks.audiences import Wording, check_audience
from timeline.verification.checks.names import is_called, renamed, with_events
from timeline.verification.snapshot.findings import Finding, Put, put, remove, within
from timeline.verification.snapshot.snapshot import Snapshot

_OTHERS = (EVENTS, FEEDS, FEED_EVENTS, *INBOXES)
_WORDING = Wording("messages", "member", "they are no member")
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
    if not name.startswith(CONVERSATIONS) and is_called(snapshot, conversation, _OTHERS):
        text = "this is no conversation, and has the row of one"
        yield Finding(STATE, text, key, name, fix=remove(STATE, key))
        return
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
    def save(events: int) -> Put:
        better = encode_conversation(row._replace(events=events))
        return Put(STATE, conversation_key(conversation), better)

    return with_events(snapshot, row.events, name, save)


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
    members = {
        split_roster_key(key)[2]
        for key, _ in snapshot.scan(ROSTER + keys.number(conversation))
        if len(key) == 19 and key[10] < 2
    }
    pulled = is_open(row.pulled)
    yield from check_audience(snapshot, conversation, name, members, _WORDING, pulled=pulled)


def _id(value: bytes) -> int:
    return int.from_bytes(value, "big")
