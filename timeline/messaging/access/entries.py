"""Entries of conversations: fields of the sender, and fields of the store.

Rule: field names that begin with `@` belong to the store and come first. Values are UTF-8 unless
the conversation is binary, since one undecodable value breaks every client that decodes replies.

    a message  @from @time, where given @key @mentions @silent, later @edited or @recalled
    an event   @kind @id @from @time; `@id` is the message concerned

In a read-diffused conversation, an entry that is not the first thing of its commit has its place in
the commit in `@ordinal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import CorruptError, TooLargeError, UsageError
from timeline.fanout import stamp
from timeline.fields import check_own_fields, event_fields
from timeline.formats.conversations import BINARY, JOIN, KINDS, LEAVE, ROLE
from timeline.formats.entries import decode_items
from timeline.lsm.timeline import Timeline
from timeline.messaging.access.access import Conversation

EVERYBODY: Final = b"@all"  # the value of `@mentions` that mentions everybody
OF_MEMBERSHIP: Final = frozenset((JOIN, LEAVE, ROLE))  # delivered to those concerned, never pulled
_KIND_NUMBERS: Final = {name.encode(): number for number, name in enumerate(KINDS)}


def check_fields(conversation: Conversation, items: Sequence[bytes], most: int) -> None:
    """Raise unless `items` are at most `most` fields that a sender may give."""
    if not items or len(items) & 1:
        raise UsageError("a message is one or more pairs of field and value")
    if len(items) > 2 * most:
        raise TooLargeError(f"a message has at most {most} fields of its own")
    check_own_fields(items, text=not conversation.row.flags & BINARY)


def record_event(
    draft: Draft,
    conversation: Conversation,
    kind: int,
    actor: bytes,
    seq: int = 0,
    items: Sequence[bytes] = (),
) -> int:
    """Append what happened to the conversation's events; the number of the event."""
    ordinal = stamp(draft) if conversation.pulled else []
    fields = event_fields(KINDS[kind], seq, actor, draft.time)
    return draft.append(conversation.events, [*fields, *ordinal, *items])


def split_event(payload: bytes) -> tuple[int, int, list[bytes]]:
    """(kind, message concerned, fields) of a stored event."""
    items = decode_items(payload)
    kind = _KIND_NUMBERS.get(items[1])
    if kind is None or items[0] != b"@kind" or not items[3].isdigit():
        raise CorruptError("an event of a conversation is damaged: run `timeline verify`")
    return kind, int(items[3]), items[4:]


def find_entry(view: View, timeline: Timeline, seq: int) -> bytes | None:
    """The present stored form of entry `seq`; None when there is none."""
    row = view.entry(timeline, seq)
    return None if row is None else row[3]
