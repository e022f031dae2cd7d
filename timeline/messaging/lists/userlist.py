"""The list of one user: their conversations in the order they are shown, as one view shows them.

Responsibility: keep where each conversation stands, how much is unread and what it is shown as.
After a change, do over only what changed.

Rule: derived. What all lists share of a conversation is its `Summary`; what this user alone has of
it is a `ListItem`. Whoever keeps a list says what changed: a summary by its `version`, an item by
`change`. A list that is used once needs neither.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import Final, NamedTuple

from timeline.engine.view import View
from timeline.errors import CorruptError
from timeline.formats.conversations import (
    CONVERSATION_KINDS,
    DIRECT,
    MEMBER,
    PINNED,
    ROLES,
    MemberRow,
    between,
    decode_member,
    second_id,
)
from timeline.formats.keys import number
from timeline.formats.stretches import OPEN
from timeline.messaging.access.access import Conversation, is_current, member_of
from timeline.messaging.access.names import peer_in, user_of
from timeline.messaging.access.visibility import Ranges, Visibility, head_seen, shown_ranges
from timeline.messaging.conversations.membership import roster
from timeline.messaging.conversations.userstate import is_listed, settings_of
from timeline.messaging.delivery.history import newest
from timeline.messaging.lists.counting import Unread, count_unread
from timeline.messaging.lists.summaries import Summaries, Summary, newest_of

_LIST_BYTES: Final = 1_000  # that a list takes in memory, measured; and
_ITEM_BYTES: Final = 700  # each conversation in it, besides bytes of messages


class Overview(NamedTuple):
    """One conversation of a user. `last` is the newest message they are shown, in stored form,
    `peer` the other user of a direct conversation. For a user who left, `members` is 0 and `meta`
    empty.
    """

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
    meta: dict[bytes, bytes]  # shared by all lists that have it
    peer: bytes
    members: int

    @property
    def size(self) -> int:
        """Bytes of what is this user's alone, and of the last message."""
        return len(self.last or b"") + sum(map(len, self.settings))


class SortKey(NamedTuple):
    """Where a conversation stands in a list: smaller is further up."""

    unpinned: int
    age: int  # OPEN less the LSN of the last message
    conversation: int


class ListItem:
    """A conversation in the list of one user. Without a `sort_key` it is off the list."""

    __slots__ = ("member", "missed", "overview", "seen", "sort_key", "summary", "time", "unread")

    def __init__(self, summary: Summary, member: MemberRow) -> None:
        self.summary = summary
        self.member = member
        self.seen = -1  # the version of the summary that the rest was made from
        self.sort_key: SortKey | None = None
        self.time = 0
        self.missed = 0  # of the messages there are, how many they are not shown
        self.unread: Unread | None = None  # None, and so for `overview`: nobody asked
        self.overview: Overview | None = None

    def look(self, view: View) -> None:
        summary, member = self.summary, self.member
        summary.look(view)
        self.sort_key = self.unread = self.overview = None
        head = summary.extent.head
        shown = sum([last - first + 1 for first, last in self.ranges])
        self.missed = head - summary.extent.first + 1 - shown
        if summary.row is not None:
            lsn, time, last = summary.lsn, summary.time, member.spans[-1].last
            if last < head:
                lsn, time = newest_of(view, summary.conversation, last)
            self.time = max(time, member.joined)
            if is_listed(member, head):
                unpinned = 0 if member.flags & PINNED else 1
                self.sort_key = SortKey(unpinned, OPEN - lsn, summary.conversation)
        self.seen = summary.version

    @property
    def ranges(self) -> Ranges:
        """The numbers of the messages that they are shown, hidden ones included."""
        summary, member = self.summary, self.member
        if summary.row is None:
            return []
        return shown_ranges(summary.row.history, summary.extent, member.cleared, member.spans)


_sort_key_of = attrgetter("sort_key")


class UserList:
    """The list of the user with this in-box."""

    def __init__(
        self, view: View, inbox: int, summaries: Summaries, only: int | None = None
    ) -> None:
        """Of all their conversations, or of `only` that one."""
        self.inbox = inbox
        self._size = 0
        self._summaries = summaries
        self._items: dict[int, ListItem] = {}
        self._changed: set[int] = set()
        self._order: list[ListItem] | None = None  # None: to be worked out
        self._grow(_LIST_BYTES)
        if only is not None:
            self._set(only, member_of(view, inbox, only))
        else:
            for key, value in view.scan(*between(MEMBER + number(inbox))):
                self._set(second_id(key), decode_member(value))
        self.refresh(view)

    def change(self, conversation: int) -> None:
        """What the user has of a conversation has changed."""
        self._changed.add(conversation)

    def refresh(self, view: View) -> None:
        """Do over what changed since the last time."""
        for conversation in list(self._changed):
            self._set(conversation, member_of(view, self.inbox, conversation))
            self._changed.discard(conversation)
        stale = [item for item in self._items.values() if item.seen != item.summary.version]
        for item in stale:
            self._forget(item)
            item.look(view)
        if stale or self._order is None:
            self._order = [item for item in self._items.values() if item.sort_key is not None]
            self._order.sort(key=_sort_key_of)

    def close(self) -> None:
        """Let go of the conversations."""
        for item in self._items.values():
            self._summaries.release(item.summary)
        self._items.clear()
        self._grow(-self._size)

    def _grow(self, size: int) -> None:
        self._size += size
        self._summaries.size += size

    def _set(self, conversation: int, member: MemberRow | None) -> None:
        before = self._items.get(conversation)
        if before is not None:
            self._forget(before)
        if member is not None:
            if before is None:
                self._grow(_ITEM_BYTES)
            summary = self._summaries.hold(conversation) if before is None else before.summary
            self._items[conversation] = ListItem(summary, member)
        elif before is not None:
            self._grow(-_ITEM_BYTES)
            self._summaries.release(before.summary)
            del self._items[conversation]
            self._order = None

    def _forget(self, item: ListItem) -> None:
        if item.overview is not None:
            self._grow(-item.overview.size)
            item.overview = None

    # --- reading ------------------------------------------------------------------------------

    @property
    def items(self) -> list[ListItem]:
        """All conversations they have or had, on the list or off it, in no order."""
        return list(self._items.values())

    def after(self, key: SortKey | None, count: int | None = None) -> list[ListItem]:
        """At most `count` conversations on the list further down than `key`, in order."""
        order = self._order or []
        start = 0 if key is None else bisect_right(order, key, key=_sort_key_of)
        return order[start : None if count is None else start + count]

    def unread(self, view: View, item: ListItem) -> Unread:
        if item.unread is None:
            summary = item.summary
            if summary.extent.head <= item.member.read or summary.row is None:
                item.unread = Unread(0, 0)
            else:
                conversation = self._conversation(view, item)
                item.unread = count_unread(
                    view, self.inbox, conversation, item.member, summary.extent
                )
        return item.unread

    def describe(self, view: View, item: ListItem) -> Overview:
        if item.overview is None:
            item.overview = self._describe(view, item)
            self._grow(item.overview.size)
        return item.overview

    def _describe(self, view: View, item: ListItem) -> Overview:
        conversation, member, extent = (
            self._conversation(view, item),
            item.member,
            item.summary.extent,
        )
        unread = self.unread(view, item)
        last = newest(
            view, conversation, Visibility(view, conversation, self.inbox, member), extent
        )
        return Overview(
            conversation.name,
            CONVERSATION_KINDS[conversation.row.kind],
            ROLES[member.role],
            unread.messages,
            unread.mentions,
            head_seen(member, extent.head),
            member.read,
            item.time,
            settings_of(view, self.inbox, conversation.id, member, extent.head),
            None if last is None else last[3],
            self._summaries.meta(view, item.summary) if is_current(member) else {},
            self._peer(view, conversation) if conversation.row.kind == DIRECT else b"",
            conversation.row.members if is_current(member) else 0,
        )

    def _peer(self, view: View, conversation: Conversation) -> bytes:
        """The other user of a direct conversation."""
        peer = peer_in(conversation.name, self._user(view, self.inbox))
        if peer is None:
            others = [inbox for inbox, _ in roster(view, conversation.id) if inbox != self.inbox]
            peer = self._user(view, others[0]) if others else b""
        return peer

    @staticmethod
    def _user(view: View, inbox: int) -> bytes:
        timeline = view.load(inbox)
        return b"" if timeline is None else user_of(timeline.name)

    def _conversation(self, view: View, item: ListItem) -> Conversation:
        messages, row = view.load(item.summary.conversation), item.summary.row
        if messages is None or row is None:
            raise CorruptError(f"conversation {item.summary.conversation} is listed and is gone")
        return Conversation(view, messages, row)
