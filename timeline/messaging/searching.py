"""Searching one's messages: what the index finds, less what is not one's to see.

Rule: exactly what CONV.HISTORY would show. The conversations of the caller are part of the query,
and so are the stretches he sees of those in which he misses most; every hit is checked against the
store all the same, and shown as it is now. Call it without the engine's lock.
"""

from __future__ import annotations

from heapq import nlargest
from operator import attrgetter
from typing import Final, NamedTuple

from timeline.engine import Engine
from timeline.formats.entries import decode_items
from timeline.formats.messages import DYING, HAS_HIDDEN, MemberRow
from timeline.messaging.access import Conversation, enter_as_user, find_user, load_conversation
from timeline.messaging.entries import find_entry, value_of
from timeline.messaging.lists import Lists
from timeline.messaging.names import check_user
from timeline.messaging.sight import Sight
from timeline.search.index import Index
from timeline.search.language import parse
from timeline.search.pages import Pages, Results, parse_token
from timeline.search.search import Hit, Scope, Search, Stretch
from timeline.view import Applied

_STRETCHED: Final = 32  # conversations of which the query names stretches
_MOST_STRETCHES: Final = 8  # of one of them


class Request(NamedTuple):
    """What a user searches for."""

    user: bytes
    query: str
    conversation: bytes | None = None
    sender: bytes | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 20
    after: bytes | None = None


def search(
    engine: Engine, lists: Lists, index: Index, fields: tuple[str, ...], request: Request
) -> Results:
    """A page of what a user may see and asks for, the newest first. Raises `UsageError`,
    `TooLargeError`, `NotFoundError`, `NoPermissionError`.
    """
    after, total = parse_token(request.after)
    expression = parse(request.query, fields)
    sender = None if request.sender is None else check_user(request.sender).decode()
    with engine.lock:
        engine.check_usable()
        view = Applied(engine)
        viewer = _Viewer(view, find_user(view, request.user).id)
        scope, exactly = _scope(viewer, lists, request)
    found = Search(
        index, expression, fields, scope, sender=sender, since=request.since, until=request.until
    )
    pages = Pages(engine, found, viewer.look, expression, fields)
    return pages.fill(after, request.limit, total, exactly=exactly)


class _Viewer:
    """Who searches, and what he sees of each conversation; looked up once for a search."""

    def __init__(self, view: Applied, inbox: int) -> None:
        self.view = view
        self.inbox = inbox
        self.members: dict[int, MemberRow] = {}
        self._seen: dict[int, tuple[Conversation, Sight] | None] = {}

    def of(self, conversation: int) -> tuple[Conversation, Sight] | None:
        if conversation not in self._seen:
            place = load_conversation(self.view, conversation)
            member = self.members.get(conversation)
            self._seen[conversation] = (
                None
                if place is None or member is None or place.row.flags & DYING
                else (place, Sight(self.view, place, self.inbox, member))
            )
        return self._seen[conversation]

    def look(self, hit: Hit) -> tuple[bytes, bytes] | None:
        """The message as it is now; None when it is not his to see, or was recalled."""
        seen = self.of(hit.timeline)
        if seen is None or not seen[1].shows(hit.seq):
            return None
        payload = find_entry(self.view, seen[0].messages, hit.seq)
        if payload is None or (b"@recalled" in payload and _is_recalled(payload)):
            return None
        return payload, seen[0].name


def _is_recalled(payload: bytes) -> bool:
    return value_of(decode_items(payload), b"@recalled") is not None


# --- where to look --------------------------------------------------------------------------------


def _scope(viewer: _Viewer, lists: Lists, request: Request) -> tuple[Scope, bool]:
    """Where to look, and whether that is exactly what he sees."""
    view = viewer.view
    items = [
        item
        for item in lists.of(view, viewer.inbox).items
        if item.summary.row is not None and not item.summary.row.flags & DYING
    ]
    if request.conversation is not None:
        place, _, _ = enter_as_user(view, request.conversation, request.user)
        items = [item for item in items if item.summary.conversation == place.id]
    viewer.members = {item.summary.conversation: item.member for item in items}
    partly = [item for item in items if item.missed > 0]
    named = [
        (item.summary.conversation, ranges)
        for item in nlargest(_STRETCHED, partly, key=_missed)
        if len(ranges := item.ranges) <= _MOST_STRETCHES
    ]
    apart = {conversation for conversation, _ in named}
    wholly = [item for item in items if item.summary.conversation not in apart]
    scope = Scope(
        [item.summary.conversation for item in wholly],
        [Stretch(where, first, last) for where, ranges in named for first, last in ranges],
    )
    hidden = any(item.member.flags & HAS_HIDDEN for item in items)
    return scope, not hidden and len(partly) == len(named)


_missed = attrgetter("missed")
