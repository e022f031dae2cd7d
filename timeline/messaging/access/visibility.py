"""Visibility: which messages and events of a conversation a user may see.

Rule: decided at every call from the spans in which the user was a member, and never stored. With
history `join` they see what was sent during those spans, with `all` everything up to the end of the
last one. For a user who left, the conversation ends where they left it (`head_seen`).

What the user cleared or hid is not shown (`shows`), but it was theirs to see (`reaches`): a user
may hide a message again that they hid before, but not one from before they joined.
"""

from __future__ import annotations

from collections.abc import Sequence

from timeline.bitmaps import Bitmaps
from timeline.engine.view import View
from timeline.formats.conversations import EVERYTHING, HAS_HIDDEN, HIDDEN, MemberRow
from timeline.formats.stretches import Stretch
from timeline.lsm.ranges import Extent
from timeline.messaging.access.access import Conversation

Ranges = list[tuple[int, int]]


class Visibility:
    """What one member, or with None the application, sees of one conversation."""

    __slots__ = ("cleared", "events", "hidden", "messages")

    def __init__(
        self, view: View, conversation: Conversation, inbox: int, member: MemberRow | None
    ) -> None:
        self.cleared = 0
        self.hidden: Bitmaps | None = None
        if member is None:
            self.messages = self.events = [(1, 2**64 - 1)]
            return
        self.messages, self.events = stretches_seen(conversation.row.history, member.spans)
        self.cleared = member.cleared
        if member.flags & HAS_HIDDEN:
            self.hidden = Bitmaps(view, HIDDEN, inbox, conversation.id)

    def reaches(self, seq: int) -> bool:
        """Whether message `seq` was ever theirs to see."""
        return _within(self.messages, seq)

    def shows(self, seq: int) -> bool:
        """Whether message `seq` is shown to them now."""
        if seq <= self.cleared or not _within(self.messages, seq):
            return False
        return self.hidden is None or seq not in self.hidden

    def shows_all(self, low: int, high: int) -> bool:
        """Whether all messages from `low` to `high` are shown to them now. It may say no where a
        look at each says yes.
        """
        if low <= self.cleared or self.hidden is not None:
            return False
        return any(first <= low and high <= last for first, last in self.messages)

    def above(self, floor: int, head: int) -> Ranges:
        """The numbers above `floor` that they may see, up to the head, hidden ones included."""
        low = max(floor, self.cleared) + 1
        return [
            (max(first, low), min(last, head))
            for first, last in self.messages
            if max(first, low) <= min(last, head)
        ]


def head_seen(member: MemberRow | None, head: int) -> int:
    """The newest message that a member knows of; None stands for the application."""
    return head if member is None else min(head, member.spans[-1].last)


def stretches_seen(history: int, spans: Sequence[Stretch]) -> tuple[Ranges, Ranges]:
    """Ascending, disjoint ranges of messages and of events."""
    if not spans:
        return [], []
    if history == EVERYTHING:
        return [(1, spans[-1].last)], [(1, spans[-1].last_event)]
    return (
        [(span.first, span.last) for span in spans],
        [(span.first_event, span.last_event) for span in spans],
    )


def shown_ranges(history: int, extent: Extent, cleared: int, spans: Sequence[Stretch]) -> Ranges:
    """Ranges of the messages that a member is shown, of those there are, hidden ones included;
    ascending and disjoint.
    """
    low, high = max(extent.first, cleared + 1), extent.head
    return [
        (max(first, low), min(last, high))
        for first, last in stretches_seen(history, spans)[0]
        if max(first, low) <= min(last, high)
    ]


def _within(ranges: Ranges, seq: int) -> bool:
    for first, last in reversed(ranges):  # noqa: SIM110  `any` takes twice the time
        if first <= seq <= last:
            return True
    return False
