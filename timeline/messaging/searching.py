"""Searching the messages of a user: what the index finds, less what is not theirs to see.

Rule: exactly what CONV.HISTORY would show. The user's conversations are part of the query. So are
the stretches of messages that they may see in some conversations, those in which most is kept from
them. Every hit is still checked against the store, and shown as it is now. Call it without the
engine's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from operator import attrgetter
from typing import Final, NamedTuple

from timeline.engine.engine import Engine
from timeline.engine.view import Applied
from timeline.fields import value_of
from timeline.formats.conversations import DYING, HAS_HIDDEN, MemberRow
from timeline.formats.entries import decode_items
from timeline.identity import check_user
from timeline.messaging.access.access import (
    Conversation,
    enter_as_user,
    find_user,
    load_conversation,
)
from timeline.messaging.access.entries import find_entry
from timeline.messaging.access.visibility import Visibility
from timeline.messaging.lists.cache import ListCache
from timeline.search.index.index import Index
from timeline.search.pages import Pages, Results, Shown, parse_token
from timeline.search.search import Hit, Scope, Search, Stretch
from timeline.search.text.language import parse

_STRETCHED: Final = 32  # conversations of which the query names stretches, at most
_MOST_STRETCHES: Final = 8  # that it names of one of them


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
    engine: Engine, lists: ListCache, index: Index, fields: tuple[str, ...], request: Request
) -> Results:
    """A page of what a user may see and searches for, the newest first. Raises `UsageError`,
    `TooLargeError`, `NotFoundError`, `NoPermissionError`.
    """
    after, total = parse_token(request.after)
    expression = parse(request.query, fields)
    sender = None if request.sender is None else check_user(request.sender).decode()
    with engine.lock:
        engine.check_usable()
        view = engine.view
        viewer = _Viewer(view, find_user(view, request.user).id)
        scope, exactly = _scope(viewer, lists, request)
    found = Search(
        index,
        expression,
        fields,
        scope,
        engine.view.clock,
        sender=sender,
        since=request.since,
        until=request.until,
    )
    pages = Pages(engine, found, viewer.look, expression, fields)
    return pages.fill(after, request.limit, total, exactly=exactly)


class _Viewer:
    """Who searches, and what they see of each conversation."""

    def __init__(self, view: Applied, inbox: int) -> None:
        self.view = view
        self.inbox = inbox
        self.members: dict[int, MemberRow] = {}

    def look(self, hits: Sequence[Hit]) -> list[Shown]:
        """The messages as they are now; None for each that is not theirs to see, or was recalled.
        A conversation is looked up once in a call.
        """
        seen = {timeline: self._open(timeline) for timeline in {hit.timeline for hit in hits}}
        return [self._look_at(seen[hit.timeline], hit.seq) for hit in hits]

    def _open(self, conversation_id: int) -> tuple[Conversation, Visibility] | None:
        conversation = load_conversation(self.view, conversation_id)
        member = self.members.get(conversation_id)
        if conversation is None or member is None or conversation.row.flags & DYING:
            return None
        return conversation, Visibility(self.view, conversation, self.inbox, member)

    def _look_at(self, seen: tuple[Conversation, Visibility] | None, seq: int) -> Shown:
        if seen is None or not seen[1].shows(seq):
            return None
        payload = find_entry(self.view, seen[0].messages, seq)
        if payload is None or (b"@recalled" in payload and _is_recalled(payload)):
            return None
        return payload, seen[0].name


def _is_recalled(payload: bytes) -> bool:
    return value_of(decode_items(payload), b"@recalled") is not None


# --- where to look --------------------------------------------------------------------------------


def _scope(viewer: _Viewer, lists: ListCache, request: Request) -> tuple[Scope, bool]:
    """Where to look, and whether that is exactly what the user sees."""
    view = viewer.view
    items = [
        item
        for item in lists.of(view, viewer.inbox).items
        if item.summary.row is not None and not item.summary.row.flags & DYING
    ]
    if request.conversation is not None:
        conversation, _, _ = enter_as_user(view, request.conversation, request.user)
        items = [item for item in items if item.summary.conversation == conversation.id]
    viewer.members = {item.summary.conversation: item.member for item in items}
    partly = [item for item in items if item.missed > 0]
    named = [
        (item.summary.conversation, ranges)
        for item in nlargest(_STRETCHED, partly, key=_missed)
        if len(ranges := item.ranges) <= _MOST_STRETCHES
    ]
    apart = {conversation_id for conversation_id, _ in named}
    wholly = [item for item in items if item.summary.conversation not in apart]
    scope = Scope(
        [item.summary.conversation for item in wholly],
        [Stretch(where, first, last) for where, ranges in named for first, last in ranges],
    )
    hidden = any(item.member.flags & HAS_HIDDEN for item in items)
    return scope, not hidden and len(partly) == len(named)


_missed = attrgetter("missed")
