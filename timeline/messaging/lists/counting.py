"""Counting: unread messages and mentions of one member in one conversation.

Rule: derived, never incremented. Unread are the messages that a member may see above three
positions: the read position, the last message cleared, the last one trimmed. Recalled, silent and
hidden messages are left out. Mentions are the unread messages that mention the user, or everybody.
When no message lies above, nothing is read from the store.
"""

from __future__ import annotations

from typing import NamedTuple

from timeline.bitmaps import Bitmaps, count
from timeline.engine.view import View
from timeline.formats.conversations import (
    CALLED,
    HAS_CALLED,
    HAS_HIDDEN,
    HAS_MENTIONS,
    HAS_UNCOUNTED,
    HIDDEN,
    MENTIONED,
    UNCOUNTED,
    MemberRow,
)
from timeline.lsm.ranges import Extent
from timeline.messaging.access.access import Conversation, enter_as_user
from timeline.messaging.access.visibility import Visibility


class Unread(NamedTuple):
    messages: int
    mentions: int


_NOTHING = Unread(0, 0)


def count_unread(
    view: View,
    inbox: int,
    conversation: Conversation,
    member: MemberRow,
    extent: Extent,
    visibility: Visibility | None = None,
) -> Unread:
    """`extent` is that of the conversation's messages."""
    floor = max(member.read, member.cleared, extent.first - 1)
    if extent.head <= floor:
        return _NOTHING
    visibility = visibility or Visibility(view, conversation, inbox, member)
    ranges = visibility.above(floor, extent.head)
    if not ranges:
        return _NOTHING
    flags = conversation.row.flags
    without = []
    if flags & HAS_UNCOUNTED:
        without.append(Bitmaps(view, UNCOUNTED, conversation.id))
    if member.flags & HAS_HIDDEN:
        without.append(Bitmaps(view, HIDDEN, inbox, conversation.id))
    mentioning = []
    if flags & HAS_CALLED:
        mentioning.append(Bitmaps(view, CALLED, conversation.id))
    if member.flags & HAS_MENTIONS:
        mentioning.append(Bitmaps(view, MENTIONED, inbox, conversation.id))
    return Unread(
        count(ranges, None, without),
        count(ranges, mentioning, without) if mentioning else 0,
    )


def unread_in(view: View, user: bytes, name: bytes) -> int:
    conversation, inbox, member = enter_as_user(view, name, user)
    return count_unread(
        view, inbox.id, conversation, member, view.extent(conversation.messages)
    ).messages
