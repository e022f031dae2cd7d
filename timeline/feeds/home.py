"""A home: what those published whom a user follows, and they themselves, newest first.

Responsibility: say which parts of which feeds a home pulls, merge them with what was delivered, and
leave out what is not the reader's to see any more.

Rule: a post reaches a home in one of two ways, which its number alone decides. It is pulled if it
was there before the follow, if it lies in a stretch in which its feed was read-diffused, or if the
home has forgotten what commits as old delivered. Otherwise there is a reference. A reference to
what is pulled is passed over, so following again and again repeats nothing.

A page begins below a place in the order of commits. So what is published meanwhile is above the
first page, and no page repeats or misses anything, also when a feed changes its way of diffusion
between two pages.

A page looks at a bounded number of things. When many lead to nothing it comes back short, with a
cursor to go on from; only an empty cursor is the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from timeline.engine.view import Applied
from timeline.errors import UsageError
from timeline.feeds.access import Feed, author_of, check_known, find_feed, find_post, open_feed
from timeline.feeds.following import follows_of
from timeline.feeds.posts import Post
from timeline.formats.feeds import POST, FollowRow
from timeline.formats.keys import MAX
from timeline.formats.names import HOMES
from timeline.formats.numbers import NO_TIMELINE, TimelineId
from timeline.pullback import Part, Place, Thing, newest_first

_LOOKS_PER_POST: Final = 4  # things looked at for each post asked for, and
_LEAST_LOOKS: Final = 512  # for any page
_PAGE_BYTES: Final = 4 << 20  # after which a page ends
_TOKEN: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")


class HomePage(NamedTuple):
    """Posts, the newest first; the cursor is empty at the end."""

    posts: list[Post]
    cursor: bytes


def read_home(view: Applied, user: bytes, after: bytes, count: int) -> HomePage:
    """A page of a home. Raises `NotFoundError`, `UsageError`."""
    home = view.find(HOMES + check_known(view, user))
    inbox = NO_TIMELINE if home is None else home.id
    before = _decode(after) if after else Place(view.log.applied + 1, 0)
    reader = _Reader(view, inbox, find_feed(view, user))
    posts: list[Post] = []
    budget = _LEAST_LOOKS + _LOOKS_PER_POST * count
    size = 0
    for looked, thing in enumerate(reader.things(before)):
        if len(posts) == count or looked == budget or size >= _PAGE_BYTES:
            return HomePage(posts, b"%d-%d" % before)
        before = thing.place
        post = reader.post(thing)
        if post is not None:
            posts.append(post)
            size += len(post.payload)
    return HomePage(posts, b"")


def _decode(token: bytes) -> Place:
    match = _TOKEN.fullmatch(token)
    if match is None or max(place := Place(int(match[1]), int(match[2]))) > MAX:
        raise UsageError("a token of a home is the cursor of the page before")
    return place


class _Reader:
    """A home as it is now: whom its owner follows, and what they pull."""

    def __init__(self, view: Applied, home: TimelineId, own: Feed | None) -> None:
        self._view = view
        self._home = home
        self._own = own
        self._follows = follows_of(view, home)
        self._feeds: dict[int, Feed | None] = {}

    def things(self, before: Place) -> Iterator[Thing]:
        """What may be shown, newest first: above the floor of the home what was delivered and what
        is pulled, below it everything is pulled.
        """
        floor = self._view.inboxes.floor_of(self._home)
        if before.lsn > floor:
            for thing in newest_first(self._view, self._home, self._pulled(floor), before):
                if thing.place.lsn <= floor:
                    break
                yield thing
            before = Place(floor + 1, 0)
        if floor:
            yield from newest_first(self._view, NO_TIMELINE, self._everything(floor), before)

    def post(self, thing: Thing) -> Post | None:
        """The post that a thing is; None when it is gone, or pulled in another place."""
        feed = self._feed(thing.timeline_id)
        if feed is None:
            return None
        payload = thing.payload
        if thing.kind:  # a reference
            if thing.kind != POST or not self._delivered(feed, thing.seq):
                return None
            payload = find_post(self._view, feed, thing.seq) or b""
        return Post(author_of(feed.posts.name), thing.seq, payload) if payload else None

    def _delivered(self, feed: Feed, seq: int) -> bool:
        follow = self._follows.get(feed.id)
        if follow is None or seq <= follow.head:
            return False
        return not any(each.first <= seq <= each.last for each in feed.row.pulled)

    def _pulled(self, floor: int) -> list[Part]:
        """What is pulled above the floor."""
        found: list[Part] = []
        if self._own is not None:
            found += _above(floor, Part(self._own.id, 1, self._own.head, MAX))
        for feed_id, follow in self._follows.items():
            found += _above(floor, _backlog(feed_id, follow))
            feed = self._feed(feed_id)
            for each in () if feed is None else feed.row.pulled:
                first = max(each.first, follow.head + 1)
                found += _above(floor, Part(TimelineId(feed_id), first, each.last, each.ended))
        return found

    def _everything(self, floor: int) -> list[Part]:
        """What there is at the floor and below."""
        found = [] if self._own is None else [Part(self._own.id, 1, self._own.head, floor)]
        for feed_id, follow in self._follows.items():
            found.append(Part(TimelineId(feed_id), follow.first, MAX, floor))
        return found

    def _feed(self, feed_id: int) -> Feed | None:
        if feed_id not in self._feeds:
            posts = self._view.load(feed_id)
            self._feeds[feed_id] = None if posts is None else open_feed(self._view, posts)
        return self._feeds[feed_id]


def _backlog(feed_id: int, follow: FollowRow) -> Part:
    """The posts of before a follow that a home shows."""
    return Part(TimelineId(feed_id), follow.first, follow.head, follow.newest)


def _above(floor: int, part: Part) -> list[Part]:
    return [part] if part.first <= part.last and part.newest > floor else []
