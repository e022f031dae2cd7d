"""Following: who reads whom, and whether posts are delivered or pulled.

Responsibility: follow and unfollow, lists of both sides, and the switch of a feed between write and
read diffusion as its followers come and go.

Rule: to follow copies nothing. The row of a follow says from which post on, and which were there
already; those are pulled. Later posts come as the feed's diffusion says.

    the feed ends at 300 when ann follows it      she pulls 201-300 (`feed_backfill` of them)
    301 – 340 are delivered to her
    341 –     the feed has become read-diffused: she pulls them

Above `feed_diffusion_limit` followers a feed becomes read-diffused. It is write-diffused again at
four fifths of that, so that one who comes and goes does not switch it back and forth. A follow or
an unfollow takes effect at the next read, because each read looks for the row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import NotFoundError, TooLargeError, UsageError, shown
from timeline.feeds.access import (
    Feed,
    author_of,
    check_known,
    find_feed,
    find_or_create_feed,
    find_or_create_home,
    follow_of,
    home_row,
    is_known,
    owner_of,
)
from timeline.formats.conversations import between, second_id
from timeline.formats.feeds import (
    FOLLOW,
    FOLLOWER,
    FollowRow,
    HomeRow,
    decode_follow,
    encode_follow,
    encode_home,
    follow_key,
    follower_key,
    home_key,
    split_follower_key,
)
from timeline.formats.keys import number
from timeline.formats.names import HOMES
from timeline.formats.stretches import OPEN, Stretch
from timeline.identity import check_user
from timeline.lsm.timeline import Timeline
from timeline.options import Options

_MOST_USERS: Final = 100  # that one command names
# Feeds that one command switches at most: each writes a row for each of its followers. Those beyond
# that stay as they are until the next follower comes or goes, and no reader can tell.
_MOST_SWITCHES: Final = 4
_STRETCHES = 128  # that a feed lists, at most; tests make it smaller
_TOKEN: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")


class Followed(NamedTuple):
    """How many authors were not followed before, and how many requests wait for an answer."""

    followed: int
    requested: int


class Relation(NamedTuple):
    """What one user has with another."""

    following: bool
    follows: bool


class Listed(NamedTuple):
    """A follower, or an author who is followed, and since when (ms)."""

    user: bytes
    since: int


class FollowPage(NamedTuple):
    """A page of a list, the newest first, of `total`; the cursor is empty at the end."""

    users: list[Listed]
    total: int
    cursor: bytes


# --- following and unfollowing, within one commit -------------------------------------------------


def follow(draft: Draft, user: bytes, authors: Sequence[bytes], options: Options) -> Followed:
    """Follow authors. Raises `NotFoundError` for one who is nobody, `TooLargeError`."""
    wanted = list(dict.fromkeys(_check_users(user, authors)))
    for author in wanted:
        if author == user:
            raise UsageError("a user sees their own posts without following themselves")
        if not is_known(draft, author):
            raise NotFoundError(
                f"there is no author {shown(author)}: who publishes or follows becomes one"
            )
    if not wanted:
        return Followed(0, 0)
    home = find_or_create_home(draft, user)
    before = home_row(draft, home.id).following
    followed = switched = 0
    for author in wanted:
        feed = find_or_create_feed(draft, author)
        if follow_of(draft, home.id, feed.id) is not None:
            continue
        if before + followed >= options.following_limit:
            raise TooLargeError(
                f"a user may follow {options.following_limit} authors (option following_limit): "
                "unfollow some first"
            )
        switched += _begin(draft, home, feed, options, may_switch=switched < _MOST_SWITCHES)
        followed += 1
    if followed:
        draft.put(home_key(home.id), encode_home(HomeRow(0, before + followed)))
    return Followed(followed, 0)


def unfollow(draft: Draft, user: bytes, authors: Sequence[bytes], options: Options) -> int:
    """Follow authors no longer; how many were followed."""
    home = draft.find(HOMES + check_user(user))
    gone = switched = 0
    for author in dict.fromkeys(_check_users(user, authors)):
        feed = find_feed(draft, author)
        row = None if home is None or feed is None else follow_of(draft, home.id, feed.id)
        if home is not None and feed is not None and row is not None:
            may_switch = switched < _MOST_SWITCHES
            switched += _end(draft, home, feed, row, options, may_switch=may_switch)
            gone += 1
    if home is not None and gone:
        left = home_row(draft, home.id).following - gone
        draft.put(home_key(home.id), encode_home(HomeRow(0, left)))
    return gone


def _check_users(user: bytes, others: Sequence[bytes]) -> Sequence[bytes]:
    check_user(user)
    if len(others) > _MOST_USERS:
        raise TooLargeError(f"one command names at most {_MOST_USERS} users: give several")
    for other in others:
        check_user(other)
    return others


def _begin(draft: Draft, home: Timeline, feed: Feed, options: Options, *, may_switch: bool) -> bool:
    """Follow a feed; whether that switched it."""
    head = feed.head
    first = max(1, head - options.feed_backfill + 1)
    newest = next(draft.stored(feed.posts, first, head, reverse=True), None)
    follow = FollowRow(0, first, head, newest[1] if newest else 0, draft.lsn, draft.time)
    draft.put(follow_key(home.id, feed.id), encode_follow(follow))
    draft.put(follower_key(feed.id, draft.lsn, home.id), b"")
    if not feed.pulled:
        draft.join(feed.id, [home.id])
    return _count(draft, feed, 1, options, may_switch=may_switch)


def _end(
    draft: Draft,
    home: Timeline,
    feed: Feed,
    row: FollowRow,
    options: Options,
    *,
    may_switch: bool,
) -> bool:
    """Follow a feed no longer; whether that switched it."""
    draft.remove(follow_key(home.id, feed.id))
    draft.remove(follower_key(feed.id, row.lsn, home.id))
    if not feed.pulled:
        draft.leave(feed.id, [home.id])
    return _count(draft, feed, -1, options, may_switch=may_switch)


# --- diffusion ------------------------------------------------------------------------------------


def _count(draft: Draft, feed: Feed, change: int, options: Options, *, may_switch: bool) -> bool:
    """Count a follower who came or went, and change the diffusion if that is due and may be;
    whether it was.
    """
    count, limit = feed.row.followers + change, options.feed_diffusion_limit
    feed.row = feed.row._replace(followers=count)
    begins = may_switch and not feed.pulled and count > limit
    ends = may_switch and feed.pulled and limit > 0 and count <= limit * 4 // 5
    if begins:
        _begin_pulling(draft, feed)
    elif ends:
        _end_pulling(draft, feed)
    feed.save(draft)
    return begins or ends


def _begin_pulling(draft: Draft, feed: Feed) -> None:
    """From the next post on, followers pull."""
    draft.leave(feed.id, [home for _, home in _followers(draft, feed.id)])
    head, last_event = feed.heads
    stretch = Stretch(head + 1, OPEN, last_event + 1, OPEN, OPEN)
    feed.row = feed.row._replace(pulled=_bounded((*feed.row.pulled, stretch)))


def _end_pulling(draft: Draft, feed: Feed) -> None:
    """From the next post on, posts are delivered to the followers."""
    *before, last = feed.row.pulled
    head, last_event = feed.heads
    ended = last._replace(last=head, last_event=last_event, ended=draft.lsn)
    empty = ended.first > ended.last and ended.first_event > ended.last_event
    feed.row = feed.row._replace(pulled=tuple(before) if empty else (*before, ended))
    draft.join(feed.id, [home for _, home in _followers(draft, feed.id)])


def _bounded(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """When there are very many, the oldest two are joined. The posts between them were delivered;
    from now on they are pulled.
    """
    if len(stretches) <= _STRETCHES:
        return stretches
    one, other, *rest = stretches
    joined = other._replace(first=one.first, first_event=one.first_event)
    return (joined, *rest)


def _followers(view: View, feed: int) -> list[tuple[int, int]]:
    """(LSN of the follow, home) of everybody who follows, the newest first."""
    return [split_follower_key(key)[1:] for key, _ in view.scan(*between(FOLLOWER + number(feed)))]


# --- lists ----------------------------------------------------------------------------------------


def followers(view: View, viewer: bytes, user: bytes, after: bytes, count: int) -> FollowPage:
    """A page of those who follow `user`. Raises `NotFoundError`, `UsageError`."""
    check_user(viewer)
    place = _place(after) if after else None
    feed = find_feed(view, check_known(view, user))
    if feed is None:
        return FollowPage([], 0, b"")
    start, stop = between(FOLLOWER + number(feed.id))
    if place is not None:
        start = follower_key(feed.id, *place) + b"\0"
    found: list[Listed] = []
    token = b""
    for key, _ in view.scan(start, stop):
        if len(found) == count:
            return FollowPage(found, feed.row.followers, token)
        _, lsn, home_id = split_follower_key(key)
        home, row = view.load(home_id), follow_of(view, home_id, feed.id)
        if home is not None and row is not None:
            found.append(Listed(owner_of(home.name), row.since))
        token = b"%d-%d" % (lsn, home_id)
    return FollowPage(found, feed.row.followers, b"")


def following(view: View, viewer: bytes, user: bytes, after: bytes, count: int) -> FollowPage:
    """A page of those whom `user` follows. Raises `NotFoundError`, `UsageError`."""
    check_user(viewer)
    last_lsn, last_feed = _place(after) if after else (OPEN, 0)
    home = view.find(HOMES + check_known(view, user))
    if home is None:
        return FollowPage([], 0, b"")
    rows = [
        (-row.lsn, feed, row.since)
        for feed, row in follows_of(view, home.id).items()
        if (-row.lsn, feed) > (-last_lsn, last_feed)
    ]
    rows.sort()
    found: list[Listed] = []
    for _, feed, since in rows[:count]:
        posts = view.load(feed)
        if posts is not None:
            found.append(Listed(author_of(posts.name), since))
    cursor = b"%d-%d" % (-rows[count - 1][0], rows[count - 1][1]) if len(rows) > count else b""
    return FollowPage(found, home_row(view, home.id).following, cursor)


def follows_of(view: View, home: int) -> dict[int, FollowRow]:
    """What the owner of a home has of each feed that they follow."""
    return {
        second_id(key): decode_follow(value)
        for key, value in view.scan(*between(FOLLOW + number(home)))
    }


def relations(view: View, user: bytes, others: Sequence[bytes]) -> list[Relation]:
    """What `user` has with each of the others; nothing with those who are nobody."""
    _check_users(user, others)
    return [Relation(follows(view, user, other), follows(view, other, user)) for other in others]


def follows(view: View, user: bytes, author: bytes) -> bool:
    home, feed = view.find(HOMES + user), find_feed(view, author)
    return home is not None and feed is not None and follow_of(view, home.id, feed.id) is not None


def _place(token: bytes) -> tuple[int, int]:
    match = _TOKEN.fullmatch(token)
    if match is None or max(place := (int(match[1]), int(match[2]))) > OPEN:
        raise UsageError("a token of a list of followers is the cursor of the page before")
    return place
