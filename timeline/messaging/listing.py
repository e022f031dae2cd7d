"""The conversation list: pinned first, then by the newest message, a page at a time.

Rule: derived from what each conversation holds when asked. A token is a place in that order, not in
a copy of it: a conversation that moves up while somebody pages is not met again, and arrives by
sync. The first page gives the position from which to sync.

What orders the list is kept in a cache of the last commit of each conversation, checked against its
head at every use, and bounded.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from heapq import nsmallest
from typing import Final, NamedTuple

from timeline.draft import Draft
from timeline.errors import UsageError
from timeline.formats.messages import (
    CONVERSATION_KINDS,
    OPEN,
    PINNED,
    ROLES,
    MemberRow,
)
from timeline.formats.segments import Row
from timeline.messaging.access import Conversation, find_user, open_conversation
from timeline.messaging.counting import count_unread, members_of
from timeline.messaging.history import newest
from timeline.messaging.reading import is_listed, settings_of
from timeline.messaging.sight import Sight
from timeline.tails import Timeline
from timeline.view import View

_BYTES: Final = 4 << 20  # after which a page ends
_TOKEN: Final = re.compile(rb"([01])-([0-9]{1,20})-([0-9]{1,20})")


class Listed(NamedTuple):
    """One conversation of a user. `last` is the newest message he is shown, in stored form."""

    id: bytes
    kind: str
    role: str
    unread: int
    mentions: int
    head: int
    read: int
    time: int
    settings: list[bytes]
    last: bytes | None


class Place(NamedTuple):
    """Where a conversation stands in the list: smaller is further up."""

    unpinned: int
    age: int  # OPEN less the LSN of the last message
    conversation: int


class Activity:
    """The last commit of conversations up to a number, bounded, checked against heads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[int, tuple[int, int, int]] = OrderedDict()

    def of(self, view: View, messages: Timeline, head: int) -> tuple[int, int]:
        """(LSN, time) of the newest message numbered at most `head`; zeros when there is none."""
        known = self._known.get(messages.id)
        if known is not None and known[0] == head:
            return known[1], known[2]
        row = next(view.rows(messages, 1, head, reverse=True), None)
        lsn, time = (0, 0) if row is None else (row[1], row[2])
        if isinstance(view, Draft):  # it may never be committed, and its number given once more
            return lsn, time
        self._known[messages.id] = (head, lsn, time)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return lsn, time


def conversations(
    view: View, activity: Activity, user: bytes, after: bytes | None, count: int
) -> tuple[list[Listed], bytes]:
    """A page of a user's list, and the token of the next; empty at the end."""
    if count < 1:
        raise UsageError("COUNT is at least 1")
    inbox = find_user(view, user).id
    floor = _parse(after)
    candidates: list[tuple[Place, Timeline, MemberRow, int]] = []
    for messages, member in members_of(view, inbox):
        head = view.extent(messages).head
        if member.unlisted and not is_listed(member, head):
            continue
        lsn, time = activity.of(view, messages, min(head, member.spans[-1].last))
        place = Place(0 if member.flags & PINNED else 1, OPEN - lsn, messages.id)
        if place > floor:
            candidates.append((place, messages, member, max(time, member.joined)))
    chosen = nsmallest(count + 1, candidates, key=lambda each: each[0])
    page: list[Listed] = []
    size = 0
    for _, messages, member, time in chosen[:count]:
        listed = _describe(view, inbox, open_conversation(view, messages), member, time)
        page.append(listed)
        size += len(listed.last or b"") + sum(map(len, listed.settings))
        if size >= _BYTES:
            break
    cursor = b"%d-%d-%d" % chosen[len(page) - 1][0] if len(chosen) > len(page) else b""
    return page, cursor


def _parse(after: bytes | None) -> Place:
    if not after:
        return Place(-1, 0, 0)
    match = _TOKEN.fullmatch(after)
    if match is None:
        raise UsageError("the token is the cursor of the page before")
    return Place(*map(int, match.groups()))


def _describe(
    view: View, inbox: int, conversation: Conversation, member: MemberRow, time: int
) -> Listed:
    sight = Sight(view, conversation, inbox, member)
    extent = view.extent(conversation.messages)
    head = extent.head
    unread = count_unread(view, inbox, conversation, member, extent, sight)
    last: Row | None = newest(view, conversation, sight, extent)
    return Listed(
        conversation.name,
        CONVERSATION_KINDS[conversation.row.kind],
        ROLES[member.role],
        unread.messages,
        unread.mentions,
        head,
        member.read,
        time,
        settings_of(view, inbox, conversation.id, member, head),
        None if last is None else last[3],
    )
