"""History: what a user may see of a conversation, in either direction, as it is stored.

Rule: hidden and cleared messages are left out, and the page is full all the same. The work grows
with what is shown, since hidden messages are stepped over by their numbers. Bounds are inclusive.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from timeline.bitmaps import runs
from timeline.devices.updates import Updates
from timeline.engine.view import View
from timeline.errors import TooLargeError, UsageError
from timeline.fanout import Position, first_since
from timeline.formats.conversations import EDIT, RECALL
from timeline.formats.numbers import Lsn
from timeline.formats.segments import StoredEntry
from timeline.lsm.ranges import Extent
from timeline.messaging.access.access import Conversation, enter
from timeline.messaging.access.entries import split_event
from timeline.messaging.access.roles import Action
from timeline.messaging.access.visibility import Visibility
from timeline.messaging.delivery.events import event_update

_PAGE_BYTES: Final = 4 << 20  # after which a page of events ends
_LOOKS_PER_EVENT: Final = 4  # events looked at for each asked for, and
_LEAST_LOOKS: Final = 512  # events looked at for any page


def history(
    view: View,
    name: bytes,
    actor: bytes,
    *,
    first: int = 1,
    last: int | None = None,
    since: int | None = None,
    until: int | None = None,
    count: int,
    reverse: bool = False,
    most_bytes: int = 64 << 20,
) -> list[StoredEntry]:
    """At most `count` messages numbered `first` to `last`, sent at times `since` to `until`."""
    access = enter(view, name, actor, Action.SEE)
    conversation = access.conversation
    inbox = 0 if access.inbox is None else access.inbox.id
    visibility = Visibility(view, conversation, inbox, access.member)
    extent = view.extent(conversation.messages)
    head = extent.head
    high = head if last is None else min(last, head)
    low = max(first, extent.first)
    if since is not None:
        low = max(low, first_since(view, conversation.messages, since, 1, head))
    if until is not None:
        high = min(high, first_since(view, conversation.messages, until + 1, 1, head) - 1)
    found: list[StoredEntry] = []
    size = 0
    for row in islice(shown(view, conversation, visibility, low, high, reverse=reverse), count):
        found.append(row)
        size += len(row[3])
        if size > most_bytes:
            raise TooLargeError(f"this page would exceed {most_bytes} bytes: ask for less by COUNT")
    return found


def shown(
    view: View,
    conversation: Conversation,
    visibility: Visibility,
    low: int,
    high: int,
    *,
    reverse: bool,
) -> Iterator[StoredEntry]:
    """The messages numbered `low` to `high` that are shown, in the order read."""
    ranges = [(a, min(b, high)) for a, b in visibility.above(low - 1, high)]
    for a, b in reversed(ranges) if reverse else ranges:
        for start, stop in runs(a, b, visibility.hidden, reverse=reverse):
            yield from view.stored(conversation.messages, start, stop, reverse=reverse)


def newest(
    view: View, conversation: Conversation, visibility: Visibility, extent: Extent
) -> StoredEntry | None:
    """The newest message shown; `extent` is that of the conversation's messages."""
    return next(
        shown(view, conversation, visibility, extent.first, extent.head, reverse=True), None
    )


def events(
    view: View, name: bytes, actor: bytes, after: bytes | None, count: int
) -> tuple[Updates, bytes]:
    """A page of what happened besides messages, oldest first, and the cursor of the next page;
    empty at the end. It looks at a bounded number of events and holds a bounded number of bytes, so
    it may come back short: an edit brings the whole message.
    """
    access = enter(view, name, actor, Action.SEE)
    conversation = access.conversation
    inbox = 0 if access.inbox is None else access.inbox.id
    visibility = Visibility(view, conversation, inbox, access.member)
    head = min(view.extent(conversation.events).head, visibility.events[-1][1])
    if after and not (after.isdigit() and len(after) < 20 and int(after) <= head):
        raise UsageError("the token is the cursor of the page before")
    at = int(after) if after else 0
    found = Updates()
    size = 0
    budget = max(_LEAST_LOOKS, _LOOKS_PER_EVENT * count)
    for low, high in visibility.events:
        for seq, lsn, _, payload in view.stored(
            conversation.events, max(low, at + 1), min(high, head)
        ):
            if len(found) == count or size >= _PAGE_BYTES or not budget:
                return found, b"%d" % at
            at = seq
            budget -= 1
            kind, concerned, _ = split_event(payload)
            if kind in (EDIT, RECALL) and not visibility.shows(concerned):
                continue
            update = event_update(view, conversation, access.member, Position(Lsn(lsn), 0), payload)
            if update is not None:
                found.add(update)
                size += len(update.payload)
    return found, b""
