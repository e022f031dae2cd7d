"""Inspection of feeds and homes: what they are made of, and why a home shows a post or not.

Rule: as in `timeline.messaging.inspection`, for whoever runs the store. It is shown everything.
What it says of a post goes by the same steps as the home itself. The caller holds the lock.
"""

from __future__ import annotations

from typing import NamedTuple

from timeline.engine.view import Applied
from timeline.fanout import ordinal_of
from timeline.feeds.access import Feed, check_known, find_feed, home_row
from timeline.feeds.cache import KeptHome
from timeline.feeds.home import Ahead, Look, Reader
from timeline.feeds.posts import Post, split_post
from timeline.feeds.service import Feeds
from timeline.feeds.sight import Sight
from timeline.formats.conversations import between
from timeline.formats.feeds import HAS_TIES
from timeline.formats.keys import AUDIENCE, number
from timeline.formats.names import HOMES
from timeline.formats.numbers import NO_TIMELINE, TimelineId
from timeline.formats.rows import decode_spans
from timeline.formats.segments import StoredEntry
from timeline.formats.stretches import OPEN
from timeline.pullback import Place


class FeedFacts(NamedTuple):
    """A feed. While its `diffusion` is write, each post is delivered to `delivered_to` homes; else
    homes pull it. `read_diffused` has the first and last post of each stretch in which they do, 0
    where it goes on.
    """

    timeline: int
    created: int
    posts: int
    head: int
    events: int
    followers: int
    requests: int
    protected: bool
    pinned: int
    diffusion: str  # write, read
    read_diffused: list[list[int]]
    delivered_to: int


class HomeFacts(NamedTuple):
    """A home. Below the commit `floor` it keeps no references: all is read from the feeds. `pulled`
    counts the parts of feeds that are read above it. `ties`: it blocks, mutes or asks somebody, is
    blocked by somebody, or was.
    """

    timeline: int
    floor: int
    references: int
    following: int
    blocked: int
    ties: bool
    pulled: int


class Reason(NamedTuple):
    """Whether a home shows a post, and why."""

    post: str
    shown: bool
    why: str


class FeedUserFacts(NamedTuple):
    """What a user is as an author and as a reader; None for what they are not."""

    id: str
    feed: FeedFacts | None
    home: HomeFacts | None
    post: Reason | None


def inspect_user(feeds: Feeds, user: bytes, post: bytes | None) -> FeedUserFacts:
    """Raises `NotFoundError`, or `UsageError` for what is no name of a post."""
    view = feeds.view
    check_known(view, user)
    feed, home = find_feed(view, user), view.find(HOMES + user)
    return FeedUserFacts(
        user.decode(),
        None if feed is None else _feed(view, feed),
        None if home is None else _home(feeds, home.id),
        None if post is None else explain(feeds, user, post),
    )


def _feed(view: Applied, feed: Feed) -> FeedFacts:
    row, extent = feed.row, view.extent(feed.posts)
    return FeedFacts(
        feed.id,
        row.created,
        extent.length,
        extent.head,
        view.extent(feed.events).length,
        row.followers,
        row.requests,
        feed.protected,
        row.pinned,
        "read" if feed.pulled else "write",
        [[each.first, 0 if each.last == OPEN else each.last] for each in row.pulled],
        _delivered_to(view, feed.id),
    )


def _delivered_to(view: Applied, feed: TimelineId) -> int:
    """How many homes get a reference to each post. Who has left keeps a row for a while."""
    rows = view.scan(*between(AUDIENCE + number(feed)))
    return sum([decode_spans(value)[-1][1] == OPEN for _, value in rows])


def _home(feeds: Feeds, home: TimelineId) -> HomeFacts:
    view = feeds.view
    row = home_row(view, home)
    return HomeFacts(
        home,
        view.inboxes.floor_of(home),
        view.inboxes.count(home),
        row.following,
        row.blocked,
        bool(row.flags & HAS_TIES),
        sum(1 for _ in feeds.homes.of(home).parts()),
    )


def explain(feeds: Feeds, user: bytes, name: bytes) -> Reason:
    """Why the home of `user` shows a post, or does not."""
    author, seq = split_post(name)
    is_shown, why = _why(feeds, user, author, seq)
    return Reason(name.decode(), is_shown, why)


def _why(feeds: Feeds, user: bytes, author: bytes, seq: int) -> tuple[bool, str]:
    view = feeds.view
    feed, home = find_feed(view, author), view.find(HOMES + user)
    if feed is None or not 0 < seq <= feed.head:
        return False, "there never was such a post"
    row = view.entry(feed.posts, seq)
    if row is None:
        return False, "it was deleted"
    kept = feeds.homes.of(NO_TIMELINE if home is None else home.id)
    comes, why = _way(view, kept, feed, row, own=author == user)
    if not comes:
        return False, why
    hidden = _hidden(feeds, kept, user, Post(author, feed.id, seq, row[3]), row[1])
    return not hidden, hidden or why


def _way(
    view: Applied, home: KeptHome, feed: Feed, row: StoredEntry, *, own: bool
) -> tuple[bool, str]:
    """Whether a post comes to a home, and on which way or why not."""
    seq, lsn = row[0], row[1]
    follow = home.follows.get(feed.id)
    comes = own or (follow is not None and seq >= follow.first)
    if own:
        why = "it is their own"
    elif follow is None:
        why = "they do not follow its author"
    elif not comes:
        why = f"they followed later, and see the older posts from number {follow.first} on"
    elif seq <= follow.head:
        why = "it is pulled: it was there when they followed"
    elif lsn <= view.inboxes.floor_of(TimelineId(home.home)):
        why = "it is pulled: it lies below the floor of the home"
    elif any(each.first <= seq <= each.last for each in feed.row.pulled):
        why = "it is pulled: its feed was read-diffused when it was published"
    else:
        why = "it was delivered"
    return comes, why


def _hidden(feeds: Feeds, home: KeptHome, user: bytes, post: Post, lsn: int) -> str:
    """Why a post that comes to a home is not shown; nothing when it is."""
    sight = Sight(feeds.view, user, home.follows)
    if not sight.sees(post):
        return "they may not see it, or what it reposts"
    if not sight.wants(post):
        return "they mute its author or whom it reposts, or leave such posts out"
    place = Place(lsn, ordinal_of(post.payload))
    ahead = Ahead(Reader(feeds.view, home, sight), Place(lsn, place.ordinal + 1))
    look = ahead.take()
    while look is not None and look.place == place and not _is(look, post):
        look = ahead.take()
    if look is None or look.place != place:
        return "it is missing: run `timeline verify`"
    if ahead.repeats(look, feeds.options.repost_window):
        return "it is a repost, and the same post is among the next older ones"
    return ""


def _is(look: Look, post: Post) -> bool:
    return look.post is not None and look.post.name == post.name
