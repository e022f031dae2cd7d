"""A user's list: his conversations in the order he is shown them, as one view shows them.

Responsibility: keep for each conversation where it stands, how much is unread and what it is shown
as; and after a change do over only what changed.

Rule: derived. A conversation is looked at once for all whose lists have it (`Summary`); what a
user has of it is his alone (`Item`). Whoever keeps a list says what changed: a summary by its
`version`, an item by `change`. A list that is used once needs neither.
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
    OPEN,
    PINNED,
    ROLES,
    ConversationRow,
    MemberRow,
    between,
    decode_member,
    second_id,
)
from timeline.formats.keys import number
from timeline.lsm.timelines import Extent
from timeline.messaging.access.access import Conversation, is_current, member_of, open_conversation
from timeline.messaging.access.names import peer_in, user_of
from timeline.messaging.access.visibility import Ranges, Visibility, head_seen, shown_ranges
from timeline.messaging.conversations.membership import roster
from timeline.messaging.conversations.userstate import is_listed, settings_of
from timeline.messaging.delivery.history import newest
from timeline.messaging.lists.counting import Unread, count_unread

# What a list, and a conversation in it, take in memory beside bytes of messages, measured.
LIST_COST: Final = 1_000
ITEM_COST: Final = 700

_UNKNOWN: Final = Extent(1, 0, 0, 0, 0, 0)


class Listed(NamedTuple):
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


class Place(NamedTuple):
    """Where a conversation stands in a list: smaller is further up."""

    unpinned: int
    age: int  # OPEN less the LSN of the last message
    conversation: int


class Summary:
    """A conversation as far as lists need it; `version` moves with every change of it."""

    __slots__ = (
        "conversation", "extent", "holders", "lsn", "meta", "meta_size", "row", "seen", "time",
        "version",
    )  # fmt: skip

    def __init__(self, conversation: int) -> None:
        self.conversation = conversation
        self.holders = 0  # lists that have it
        self.version = 0
        self.seen = -1  # the version that the rest is of
        self.row: ConversationRow | None = None  # None: it was deleted
        self.extent = _UNKNOWN
        self.lsn = self.time = 0  # of the newest message
        self.meta: dict[bytes, bytes] | None = None  # None: nobody asked
        self.meta_size = 0

    def look(self, view: View) -> None:
        if self.seen == self.version:
            return
        messages = view.load(self.conversation)
        if messages is None:
            self.row = None
        else:
            self.row = open_conversation(view, messages).row
            self.extent = view.extent(messages)
            self.lsn, self.time = _newest(view, self.conversation, self.extent.head)
        self.seen = self.version


def _newest(view: View, conversation: int, last: int) -> tuple[int, int]:
    """(LSN, time) of the newest message numbered at most `last`; zeros when there is none."""
    messages = view.load(conversation)
    row = None if messages is None else next(view.rows(messages, 1, last, reverse=True), None)
    return (0, 0) if row is None else (row[1], row[2])


class Summaries:
    """The conversations of all lists that are kept, one object each; `size` is about what those
    lists take in memory.
    """

    def __init__(self) -> None:
        self.known: dict[int, Summary] = {}
        self.size = 0

    def hold(self, conversation: int) -> Summary:
        summary = self.known.get(conversation)
        if summary is None:
            summary = self.known[conversation] = Summary(conversation)
        summary.holders += 1
        return summary

    def release(self, summary: Summary) -> None:
        summary.holders -= 1
        if not summary.holders:
            self.forget_meta(summary)
            del self.known[summary.conversation]

    def meta(self, view: View, summary: Summary) -> dict[bytes, bytes]:
        """What describes a conversation."""
        if summary.meta is None:
            messages = view.load(summary.conversation)
            summary.meta = {} if messages is None else view.metadata(messages)
            summary.meta_size = sum(len(name) + len(value) for name, value in summary.meta.items())
            self.size += summary.meta_size
        return summary.meta

    def forget_meta(self, summary: Summary) -> None:
        """It is another now, or nobody's."""
        self.size -= summary.meta_size
        summary.meta, summary.meta_size = None, 0


class Item:
    """A conversation in the list of one user; `place` is None while it is off the list."""

    __slots__ = ("listed", "member", "missed", "place", "seen", "summary", "time", "unread")

    def __init__(self, summary: Summary, member: MemberRow) -> None:
        self.summary = summary
        self.member = member
        self.seen = -1  # the version of the summary that the rest was made from
        self.place: Place | None = None
        self.time = 0
        self.missed = 0  # of the messages there are, those that he is not shown
        self.unread: Unread | None = None  # None, and so for `listed`: nobody asked
        self.listed: Listed | None = None

    def look(self, view: View) -> None:
        summary, member = self.summary, self.member
        summary.look(view)
        self.place = self.unread = self.listed = None
        head = summary.extent.head
        shown = sum([last - first + 1 for first, last in self.ranges])
        self.missed = head - summary.extent.first + 1 - shown
        if summary.row is not None:
            lsn, time, last = summary.lsn, summary.time, member.spans[-1].last
            if last < head:
                lsn, time = _newest(view, summary.conversation, last)
            self.time = max(time, member.joined)
            if is_listed(member, head):
                unpinned = 0 if member.flags & PINNED else 1
                self.place = Place(unpinned, OPEN - lsn, summary.conversation)
        self.seen = summary.version

    @property
    def ranges(self) -> Ranges:
        """The numbers of the messages that he is shown, hidden ones included."""
        summary, member = self.summary, self.member
        if summary.row is None:
            return []
        return shown_ranges(summary.row.history, summary.extent, member.cleared, member.spans)


_place_of = attrgetter("place")


class UserList:
    """The list of the user with this in-box."""

    def __init__(
        self, view: View, inbox: int, summaries: Summaries, only: int | None = None
    ) -> None:
        """`only` that conversation, if one is named."""
        self.inbox = inbox
        self._size = 0
        self._summaries = summaries
        self._items: dict[int, Item] = {}
        self._changed: set[int] = set()
        self._order: list[Item] | None = None  # None: to be worked out
        self._grow(LIST_COST)
        if only is not None:
            self._set(only, member_of(view, inbox, only))
        else:
            for key, value in view.scan(*between(MEMBER + number(inbox))):
                self._set(second_id(key), decode_member(value))
        self.refresh(view)

    def change(self, conversation: int) -> None:
        """What the user has of a conversation is another now."""
        self._changed.add(conversation)

    def refresh(self, view: View) -> None:
        """Follow what changed since the last time."""
        for conversation in list(self._changed):
            self._set(conversation, member_of(view, self.inbox, conversation))
            self._changed.discard(conversation)
        stale = [item for item in self._items.values() if item.seen != item.summary.version]
        for item in stale:
            self._forget(item)
            item.look(view)
        if stale or self._order is None:
            self._order = [item for item in self._items.values() if item.place is not None]
            self._order.sort(key=_place_of)

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
                self._grow(ITEM_COST)
            summary = self._summaries.hold(conversation) if before is None else before.summary
            self._items[conversation] = Item(summary, member)
        elif before is not None:
            self._grow(-ITEM_COST)
            self._summaries.release(before.summary)
            del self._items[conversation]
            self._order = None

    def _forget(self, item: Item) -> None:
        if item.listed is not None:
            self._grow(-item.listed.size)
            item.listed = None

    # --- reading ------------------------------------------------------------------------------

    @property
    def items(self) -> list[Item]:
        """All conversations he has or had, on the list or off it, in no order."""
        return list(self._items.values())

    def behind(self, place: Place | None, count: int | None = None) -> list[Item]:
        """At most `count` conversations on the list further down than `place`, in order."""
        order = self._order or []
        start = 0 if place is None else bisect_right(order, place, key=_place_of)
        return order[start : None if count is None else start + count]

    def unread(self, view: View, item: Item) -> Unread:
        if item.unread is None:
            summary = item.summary
            if summary.extent.head <= item.member.read or summary.row is None:
                item.unread = Unread(0, 0)
            else:
                place = self._conversation(view, item)
                item.unread = count_unread(view, self.inbox, place, item.member, summary.extent)
        return item.unread

    def describe(self, view: View, item: Item) -> Listed:
        if item.listed is None:
            item.listed = self._describe(view, item)
            self._grow(item.listed.size)
        return item.listed

    def _describe(self, view: View, item: Item) -> Listed:
        place, member, extent = self._conversation(view, item), item.member, item.summary.extent
        unread = self.unread(view, item)
        last = newest(view, place, Visibility(view, place, self.inbox, member), extent)
        return Listed(
            place.name,
            CONVERSATION_KINDS[place.row.kind],
            ROLES[member.role],
            unread.messages,
            unread.mentions,
            head_seen(member, extent.head),
            member.read,
            item.time,
            settings_of(view, self.inbox, place.id, member, extent.head),
            None if last is None else last[3],
            self._summaries.meta(view, item.summary) if is_current(member) else {},
            self._peer(view, place) if place.row.kind == DIRECT else b"",
            place.row.members if is_current(member) else 0,
        )

    def _peer(self, view: View, place: Conversation) -> bytes:
        """The other user of a direct conversation."""
        peer = peer_in(place.name, self._user(view, self.inbox))
        if peer is None:
            others = [inbox for inbox, _ in roster(view, place.id) if inbox != self.inbox]
            peer = self._user(view, others[0]) if others else b""
        return peer

    @staticmethod
    def _user(view: View, inbox: int) -> bytes:
        timeline = view.load(inbox)
        return b"" if timeline is None else user_of(timeline.name)

    def _conversation(self, view: View, item: Item) -> Conversation:
        messages, row = view.load(item.summary.conversation), item.summary.row
        if messages is None or row is None:
            raise CorruptError(f"conversation {item.summary.conversation} is listed and is gone")
        return Conversation(view, messages, row)
