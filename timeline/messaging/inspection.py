"""Inspection of conversations and users: what they are made of, and why a count is what it is.

Rule: as in `timeline.admin.inspection`, read from the rows and from no cache, so that it can be
compared with what users are told. The caller holds the engine's lock; a page is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from timeline.bitmaps import Bitmaps, count
from timeline.devices.devices import devices_of
from timeline.engine.engine import Engine
from timeline.engine.inboxview import InboxView
from timeline.engine.view import View
from timeline.errors import NotFoundError, UsageError, shown
from timeline.fields import value_of
from timeline.formats import keys
from timeline.formats.conversations import (
    BINARY,
    CHUNK_BITS,
    CONVERSATION_KINDS,
    DYING,
    FILLING,
    HAS_HIDDEN,
    HAS_UNCOUNTED,
    HIDDEN,
    HISTORIES,
    MEMBER,
    MUTED,
    PINNED,
    PULLED_COUNT,
    ROLES,
    UNCOUNTED,
    MemberRow,
    between,
    decode_member,
    second_id,
)
from timeline.formats.entries import decode_items
from timeline.formats.stretches import OPEN
from timeline.lsm.timeline import Timeline
from timeline.messaging.access.access import (
    Conversation,
    find_conversation,
    find_user,
    load_conversation,
)
from timeline.messaging.access.visibility import Visibility
from timeline.messaging.conversations.userstate import is_listed
from timeline.messaging.lists.counting import count_unread
from timeline.messaging.service import Messages

_EXPLAINED: Final = 1_000  # newest uncounted messages that are read to tell recalled from silent
_COUNTED: Final = 10_000  # references behind a device, at most


class ConversationFacts(NamedTuple):
    """A conversation. `uncounted` messages are recalled or silent. `recalled` and `silent` say how
    many of the newest thousand of them are which.
    """

    id: str
    timeline: int
    kind: str
    history: str
    binary: bool
    state: str  # whole, being filled, being deleted
    created: int
    members: int
    first: int
    head: int
    length: int
    events: int
    diffusion: str  # write, read
    read_diffused: list[list[int]]  # first and last message of each stretch, 0 where it goes on
    uncounted: int
    recalled: int
    silent: int
    metadata: dict[bytes, bytes]


class UnreadFacts(NamedTuple):
    """What a user has of a conversation. `above` counts the messages they may see above the highest
    of `read`, `cleared` and the number before `first`. Unread are those, less the `uncounted`
    (recalled or silent) and the `hidden` ones.
    """

    id: str
    kind: str
    role: str
    pinned: bool
    muted: bool
    listed: bool
    joined: int
    first: int
    head: int
    read: int
    cleared: int
    above: int
    uncounted: int
    hidden: int
    unread: int
    mentions: int


class DeviceFacts(NamedTuple):
    """A device. `behind` counts the references in the in-box that it has not acknowledged, up to
    about ten thousand; `commits` counts the commits since. Both are 0 where it never acknowledged
    anything (`acked` is empty).
    """

    device: str
    acked: str
    online: bool
    seen: int
    behind: int
    commits: int
    fields: dict[bytes, bytes]


class UserFacts(NamedTuple):
    """A user: in-box, devices, and a page of their conversations; `cursor` is empty at the end."""

    id: str
    timeline: int
    created: int
    first: int
    head: int
    length: int
    floor: int
    read_diffused: int
    devices: list[DeviceFacts]
    metadata: dict[bytes, bytes]
    conversations: list[UnreadFacts]
    cursor: str


# --- a conversation -------------------------------------------------------------------------------


def inspect_conversation(view: View, name: bytes) -> ConversationFacts:
    """Raises `NotFoundError`."""
    conversation = find_conversation(view, name)
    if conversation is None:
        raise NotFoundError(f"there is no conversation {shown(name)}")
    row, extent = conversation.row, view.extent(conversation.messages)
    uncounted, recalled, silent = _uncounted(view, conversation)
    return ConversationFacts(
        conversation.name.decode(),
        conversation.id,
        CONVERSATION_KINDS[row.kind],
        HISTORIES[row.history],
        bool(row.flags & BINARY),
        "being deleted"
        if row.flags & DYING
        else "being filled"
        if row.flags & FILLING
        else "whole",
        row.created,
        row.members,
        extent.first,
        extent.head,
        extent.length,
        view.extent(conversation.events).length,
        "read" if conversation.pulled else "write",
        [[each.first, 0 if each.last == OPEN else each.last] for each in row.pulled],
        uncounted,
        recalled,
        silent,
        view.metadata(conversation.messages),
    )


def _uncounted(view: View, conversation: Conversation) -> tuple[int, int, int]:
    """How many messages are not counted, and of the newest, how many are recalled and silent."""
    if not conversation.row.flags & HAS_UNCOUNTED:
        return 0, 0, 0
    extent = view.extent(conversation.messages)
    bitmaps = Bitmaps(view, UNCOUNTED, conversation.id)
    total = count([(extent.first, extent.head)], [bitmaps], [])
    recalled = silent = 0
    for seq in islice(_backwards(bitmaps, extent.first, extent.head), _EXPLAINED):
        row = view.entry(conversation.messages, seq)
        if row is not None:
            gone = value_of(decode_items(row[3]), b"@recalled") is not None
            recalled += gone
            silent += not gone
    return total, recalled, silent


def _backwards(bitmaps: Bitmaps, first: int, last: int) -> Iterator[int]:
    """The numbers from `last` down to `first` that are in `bitmaps`."""
    for chunk in range(last >> CHUNK_BITS, (first >> CHUNK_BITS) - 1, -1):
        for low in reversed(bitmaps.chunk(chunk)):
            seq = (chunk << CHUNK_BITS) + low
            if first <= seq <= last:
                yield seq


# --- a user ---------------------------------------------------------------------------------------


def inspect_user(
    engine: Engine, messages: Messages, user: bytes, after: bytes | None, limit: int
) -> UserFacts:
    """A page of `limit` conversations after the cursor `after`. Raises `NotFoundError`."""
    view = messages.view
    inbox = find_user(view, user)
    if after and not (after.isdigit() and len(after) <= 20 and int(after) <= keys.MAX):
        raise UsageError("the token is the cursor of the page before")
    start, stop = between(MEMBER + keys.number(inbox.id))
    if after:
        start = MEMBER + keys.pair(inbox.id, int(after)) + b"\0"
    rows = list(islice(view.scan(start, stop), limit))
    found = [_explain(view, inbox, second_id(key), decode_member(value)) for key, value in rows]
    span = InboxView(engine.view).span(inbox)
    pulled = view.get(PULLED_COUNT + keys.number(inbox.id))
    return UserFacts(
        user.decode(),
        inbox.id,
        span.created,
        span.first,
        span.head,
        span.length,
        engine.view.inboxes.floor_of(inbox.id),
        0 if pulled is None else keys.split_number(pulled),
        _devices(engine, messages, user, inbox),
        view.metadata(inbox),
        [each for each in found if each is not None],
        str(second_id(rows[-1][0])) if len(rows) == limit else "",
    )


def _devices(engine: Engine, messages: Messages, user: bytes, inbox: Timeline) -> list[DeviceFacts]:
    cursors = messages.reader.cursors
    found = []
    for each in devices_of(messages.view, user, engine.view.now(), engine.options, cursors):
        position = cursors.decode(each.acked, engine.applied) if each.acked else None
        behind = commits = 0
        if position is not None:
            commits = engine.applied - position.lsn
            behind = len(engine.view.inboxes.above(inbox.id, position.lsn, _COUNTED))
        found.append(
            DeviceFacts(
                each.name.decode(),
                each.acked.decode(),
                messages.presence.is_online(user, each.name),
                each.seen,
                behind,
                commits,
                each.fields,
            )
        )
    return found


def _explain(
    view: View, inbox: Timeline, conversation_id: int, member: MemberRow
) -> UnreadFacts | None:
    """Why so many are unread; None for a conversation that is gone."""
    conversation = load_conversation(view, conversation_id)
    if conversation is None:
        return None
    extent = view.extent(conversation.messages)
    visibility = Visibility(view, conversation, inbox.id, member)
    ranges = visibility.above(max(member.read, member.cleared, extent.first - 1), extent.head)
    silenced, hidden = [], []
    if conversation.row.flags & HAS_UNCOUNTED:
        silenced.append(Bitmaps(view, UNCOUNTED, conversation.id))
    if member.flags & HAS_HIDDEN:
        hidden.append(Bitmaps(view, HIDDEN, inbox.id, conversation.id))
    above = count(ranges, None, [])
    counted = count(ranges, None, silenced)
    unread = count_unread(view, inbox.id, conversation, member, extent)
    return UnreadFacts(
        conversation.name.decode(),
        CONVERSATION_KINDS[conversation.row.kind],
        ROLES[member.role],
        bool(member.flags & PINNED),
        bool(member.flags & MUTED),
        is_listed(member, extent.head),
        member.joined,
        extent.first,
        extent.head,
        member.read,
        member.cleared,
        above,
        above - counted,
        counted - count(ranges, None, silenced + hidden),
        unread.messages,
        unread.mentions,
    )
