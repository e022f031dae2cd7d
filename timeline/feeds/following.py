"""Following: who reads whom, and whether posts are delivered or pulled.

Responsibility: follow and unfollow, and the switch of a feed between write and
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

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import TooLargeError, UsageError
from timeline.fanout import notify
from timeline.feeds.access import (
    Feed,
    change_home,
    check_known,
    find_feed,
    find_or_create_feed,
    find_or_create_home,
    follow_of,
    home_row,
    newest_commit,
    tie_of,
)
from timeline.feeds.groups import Act, tell
from timeline.feeds.ties import ask, check_unblocked, withdraw
from timeline.formats import actions
from timeline.formats.conversations import between, second_id
from timeline.formats.feeds import (
    FOLLOW,
    FOLLOWER,
    FollowRow,
    decode_follow,
    encode_follow,
    follow_key,
    follower_key,
    split_follower_key,
)
from timeline.formats.keys import number
from timeline.formats.names import HOMES
from timeline.formats.notes import FOLLOWED, REQUESTED, Doer
from timeline.formats.stretches import OPEN, Stretch
from timeline.identity import check_user
from timeline.lsm.timeline import Timeline
from timeline.options import Options

_MOST_USERS: Final = 100  # that one command names
# Feeds that one command switches at most: each writes a row for each of its followers. Those beyond
# that stay as they are until the next follower comes or goes, and no reader can tell.
MOST_SWITCHES: Final = 4
_STRETCHES = 128  # that a feed lists, at most; tests make it smaller


class Followed(NamedTuple):
    """How many authors were not followed before, and how many requests wait for an answer."""

    followed: int
    requested: int


class Left(NamedTuple):
    """Whether somebody followed, or had asked to; and whether that switched the feed."""

    there: bool
    switched: bool


# --- following and unfollowing, within one commit -------------------------------------------------


def follow(draft: Draft, user: bytes, authors: Sequence[bytes], options: Options) -> Followed:
    """Follow authors, or ask those who are protected. Raises `NotFoundError` for one who is nobody,
    `NoPermissionError` where one of the two blocks the other, `TooLargeError`.
    """
    wanted = check_users(user, authors)
    for author in wanted:
        if author == user:
            raise UsageError("a user sees their own posts without following themselves")
        check_known(draft, author)
    followed = requested = switched = 0
    for author in wanted:
        home, feed = find_or_create_home(draft, user), find_or_create_feed(draft, author)
        if follow_of(draft, home.id, feed.id) is not None:
            continue
        check_unblocked(tie_of(draft, home.id, feed.id), author)
        if feed.protected:
            if ask(draft, home.id, feed):
                notify(draft, [home.id], feed.posts, 0, actions.REQUEST)
                tell(draft, feed.posts, 0, REQUESTED, Act(user, Doer(home.id, 0)), options)
            requested += 1
            continue
        withdraw(draft, home.id, feed)  # it was protected when they asked
        switched += begin(draft, home, feed, options, may_switch=switched < MOST_SWITCHES)
        tell(draft, feed.posts, 0, FOLLOWED, Act(user, Doer(home.id, 0)), options)
        followed += 1
    return Followed(followed, requested)


def unfollow(draft: Draft, user: bytes, authors: Sequence[bytes], options: Options) -> int:
    """Follow authors no longer, and ask them no longer; of how many that was so."""
    wanted = check_users(user, authors)
    home = draft.find(HOMES + user)
    gone = switched = 0
    for author in wanted:
        feed = find_feed(draft, author)
        if home is not None and feed is not None:
            may_switch = switched < MOST_SWITCHES
            left = leave(draft, home, feed, options, may_switch=may_switch)
            gone += left.there
            switched += left.switched
    return gone


def check_users(user: bytes, others: Sequence[bytes]) -> list[bytes]:
    """The others, each once. Raises `UsageError`, `TooLargeError`."""
    check_user(user)
    if len(others) > _MOST_USERS:
        raise TooLargeError(f"one command names at most {_MOST_USERS} users: give several")
    for other in others:
        check_user(other)
    return list(dict.fromkeys(others))


def begin(draft: Draft, home: Timeline, feed: Feed, options: Options, *, may_switch: bool) -> bool:
    """Follow a feed that is not followed; whether that switched it. Raises `TooLargeError`."""
    if home_row(draft, home.id).following >= options.following_limit:
        raise TooLargeError(
            f"a user may follow {options.following_limit} authors (option following_limit): "
            "unfollow some first"
        )
    head = feed.head
    first = max(1, head - options.feed_backfill + 1)
    newest = newest_commit(draft, feed.posts)
    follow = FollowRow(0, first, head, newest, draft.lsn, draft.time)
    draft.put(follow_key(home.id, feed.id), encode_follow(follow))
    draft.put(follower_key(feed.id, draft.lsn, home.id), b"")
    change_home(draft, home.id, following=1)
    notify(draft, [home.id], feed.posts, 0, actions.FOLLOW)
    if not feed.pulled:
        draft.join(feed.id, [home.id])
    return _count(draft, feed, 1, options, may_switch=may_switch)


def leave(draft: Draft, home: Timeline, feed: Feed, options: Options, *, may_switch: bool) -> Left:
    """Follow a feed no longer, and ask to no longer."""
    row = follow_of(draft, home.id, feed.id)
    if row is None:
        asked = withdraw(draft, home.id, feed)
        if asked:
            notify(draft, [home.id], feed.posts, 0, actions.REQUEST)
        return Left(asked, switched=False)
    draft.remove(follow_key(home.id, feed.id))
    draft.remove(follower_key(feed.id, row.lsn, home.id))
    change_home(draft, home.id, following=-1)
    notify(draft, [home.id], feed.posts, 0, actions.UNFOLLOW)
    if not feed.pulled:
        draft.leave(feed.id, [home.id])
    return Left(there=True, switched=_count(draft, feed, -1, options, may_switch=may_switch))


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


def follows_of(view: View, home: int) -> dict[int, FollowRow]:
    """What the owner of a home has of each feed that they follow."""
    return {
        second_id(key): decode_follow(value)
        for key, value in view.scan(*between(FOLLOW + number(home)))
    }
