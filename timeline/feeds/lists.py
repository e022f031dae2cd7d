"""Lists of users: followers, whom somebody follows, requests, blocks; and relations of two.

Rule: the newest first, a page at a time. The token of a page names the last one looked at, so it
stays good whatever comes or goes. Whom a block keeps from the viewer is left out; the total is that
of all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds.access import (
    author_of,
    check_known,
    find_feed,
    follow_of,
    home_row,
    owner_of,
    tie_of,
)
from timeline.feeds.following import check_users, follows_of
from timeline.feeds.sight import Sight
from timeline.formats.conversations import between
from timeline.formats.feeds import (
    BLOCK,
    BLOCKS,
    FOLLOWER,
    MUTED,
    NO_TIE,
    REQUEST,
    REQUESTED,
    TieRow,
    listed_key,
    split_listed_key,
)
from timeline.formats.keys import MAX, number
from timeline.formats.names import HOMES

_LEAST_LOOKS: Final = 512  # at users who may not be shown, for any page
_TOKEN: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")


class Listed(NamedTuple):
    """A user, and since when (ms)."""

    user: bytes
    since: int


class UserPage(NamedTuple):
    """A page of a list, the newest first, of `total`; the cursor is empty at the end."""

    users: list[Listed]
    total: int
    cursor: bytes


class Relation(NamedTuple):
    """What one user has with another: they follow, are followed, asked to follow, mute, block."""

    following: bool
    follows: bool
    requested: bool
    muted: bool
    blocked: bool


_EMPTY: Final = UserPage([], 0, b"")


def followers(view: View, viewer: bytes, user: bytes, after: bytes, count: int) -> UserPage:
    """A page of those who follow `user`. Raises `NotFoundError`, `NoPermissionError`."""
    sight = Sight(view, viewer)
    place = _place(after)
    feed = sight.visit(user)
    if feed is None:
        return _EMPTY

    def listed(home: int) -> Listed | None:
        owner, row = view.load(home), follow_of(view, home, feed.id)
        if owner is None or row is None or sight.is_kept_from(name := owner_of(owner.name)):
            return None
        return Listed(name, row.since)

    found, cursor = _listed(view, FOLLOWER, feed.id, place, count, listed)
    return UserPage(found, feed.row.followers, cursor)


def following(view: View, viewer: bytes, user: bytes, after: bytes, count: int) -> UserPage:
    """A page of those whom `user` follows. Raises `NotFoundError`, `NoPermissionError`."""
    sight = Sight(view, viewer)
    last_lsn, last_feed = _place(after) or (MAX, 0)
    sight.visit(user)
    home = view.find(HOMES + user)
    if home is None:
        return _EMPTY
    rows = [
        (-row.lsn, feed, row.since)
        for feed, row in follows_of(view, home.id).items()
        if (-row.lsn, feed) > (-last_lsn, last_feed)
    ]
    rows.sort()
    found: list[Listed] = []
    for _, feed, since in rows[:count]:
        posts = view.load(feed)
        if posts is not None and not sight.is_kept_from(name := author_of(posts.name)):
            found.append(Listed(name, since))
    cursor = b"%d-%d" % (-rows[count - 1][0], rows[count - 1][1]) if len(rows) > count else b""
    return UserPage(found, home_row(view, home.id).following, cursor)


def requests(view: View, author: bytes, after: bytes, count: int) -> UserPage:
    """A page of those who asked to follow `author`. Raises `NotFoundError`."""
    place = _place(after)
    feed = find_feed(view, check_known(view, author))
    if feed is None:
        return _EMPTY

    def listed(home: int) -> Listed | None:
        owner = view.load(home)
        if owner is None:
            return None
        return Listed(owner_of(owner.name), tie_of(view, home, feed.id).since)

    found, cursor = _listed(view, REQUEST, feed.id, place, count, listed)
    return UserPage(found, feed.row.requests, cursor)


def blocked(view: View, user: bytes, after: bytes, count: int) -> UserPage:
    """A page of those whom `user` blocks. Raises `NotFoundError`."""
    place = _place(after)
    home = view.find(HOMES + check_known(view, user))
    if home is None:
        return _EMPTY

    def listed(feed: int) -> Listed | None:
        posts = view.load(feed)
        if posts is None:
            return None
        return Listed(author_of(posts.name), tie_of(view, home.id, feed).since)

    found, cursor = _listed(view, BLOCK, home.id, place, count, listed)
    return UserPage(found, home_row(view, home.id).blocked, cursor)


def _listed(
    view: View,
    family: bytes,
    owner: int,
    place: tuple[int, int] | None,
    count: int,
    listed: Callable[[int], Listed | None],
) -> tuple[list[Listed], bytes]:
    """A page of rows from a place on, and its cursor."""
    start, stop = between(family + number(owner))
    if place is not None:
        start = listed_key(family, owner, *place) + b"\0"
    found: list[Listed] = []
    token = b""
    looks = _LEAST_LOOKS + count
    for key, _ in view.scan(start, stop):
        if len(found) == count or looks <= 0:
            return found, token
        looks -= 1
        _, lsn, other = split_listed_key(key)
        token = b"%d-%d" % (lsn, other)
        user = listed(other)
        if user is not None:
            found.append(user)
    return found, b""


def _place(token: bytes) -> tuple[int, int] | None:
    if not token:
        return None
    match = _TOKEN.fullmatch(token)
    if match is None or max(place := (int(match[1]), int(match[2]))) > MAX:
        raise UsageError("a token of a list of users is the cursor of the page before")
    return place


# --- relations ------------------------------------------------------------------------------------


def relations(view: View, user: bytes, others: Sequence[bytes]) -> list[Relation]:
    """What `user` has with each of the others; nothing with those who are nobody."""
    check_users(user, others)
    return [_relation(view, user, other) for other in others]


def _relation(view: View, user: bytes, other: bytes) -> Relation:
    follows, tie = _has(view, user, other)
    return Relation(
        following=follows,
        follows=_has(view, other, user)[0],
        requested=bool(tie.flags & REQUESTED),
        muted=bool(tie.flags & MUTED),
        blocked=bool(tie.flags & BLOCKS),
    )


def _has(view: View, user: bytes, author: bytes) -> tuple[bool, TieRow]:
    """Whether a user follows an author, and what else they have with them."""
    home, feed = view.find(HOMES + user), find_feed(view, author)
    if home is None or feed is None:
        return False, NO_TIE
    return follow_of(view, home.id, feed.id) is not None, tie_of(view, home.id, feed.id)
