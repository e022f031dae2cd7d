"""A home: what those published whom a user follows, and they themselves, newest first.

Responsibility: say which parts of which feeds a home pulls, merge them with what was delivered, and
leave out what is not the reader's to see any more.

Rule: a post reaches a home in one of two ways, and its number alone decides which. It is pulled if

    it was there before the follow,
    it lies in a stretch in which its feed was read-diffused,
    or it is so old that the home no longer holds references of its time.

Otherwise there is a reference. A reference to what is pulled is passed over, so following again and
again repeats nothing.

A page begins below a place in the order of commits. So what is published meanwhile is above the
first page, and no page repeats or misses anything, also when a feed changes its way of diffusion
between two pages.

A page looks at a bounded number of things. When many lead to nothing it comes back short, with a
cursor to go on from; only an empty cursor is the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, takewhile
from typing import Final, NamedTuple

from timeline.engine.view import Applied
from timeline.errors import UsageError
from timeline.feeds.access import author_of, check_known
from timeline.feeds.cache import KeptHome
from timeline.feeds.posts import PAGE_BYTES, Post
from timeline.feeds.service import Feeds
from timeline.formats.feeds import POST
from timeline.formats.keys import MAX
from timeline.formats.names import FEEDS, HOMES
from timeline.formats.numbers import NO_TIMELINE, TimelineId
from timeline.pullback import Part, Place, Thing, newest_first

_LOOKS_PER_POST: Final = 4  # things looked at for each post asked for, and
_LEAST_LOOKS: Final = 512  # for any page
_COST_OF_POST: Final = 16  # of a look at it, beside that of telling an edit apart
_TOKEN: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")


class HomePage(NamedTuple):
    """Posts, the newest first; the cursor is empty at the end."""

    posts: list[Post]
    cursor: bytes


def read_home(feeds: Feeds, user: bytes, after: bytes, count: int) -> HomePage:
    """A page of a home. Raises `NotFoundError`, `UsageError`."""
    view = feeds.view
    before = _decode(after) if after else Place(view.log.applied + 1, 0)
    home = view.find(HOMES + check_known(view, user))
    reader = _Reader(view, feeds.homes.of(NO_TIMELINE if home is None else home.id), user)
    posts: list[Post] = []
    budget = _COST_OF_POST * (_LEAST_LOOKS + _LOOKS_PER_POST * count)
    size = 0
    for thing in reader.things(before):
        if len(posts) == count or budget <= 0 or size >= PAGE_BYTES:
            return HomePage(posts, b"%d-%d" % before)
        before = thing.place
        budget -= _COST_OF_POST if thing.kind in (0, POST) else 1
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

    def __init__(self, view: Applied, home: KeptHome, owner: bytes) -> None:
        self._view = view
        self._home = home
        self._own = view.find(FEEDS + owner)

    def things(self, before: Place) -> Iterator[Thing]:
        """What may be shown, newest first: above the floor of the home what was delivered and what
        is pulled, below it everything is pulled.
        """
        view, inbox = self._view, TimelineId(self._home.home)
        floor = view.inboxes.floor_of(inbox)
        if before.lsn > floor:
            parts = chain(self._own_part(MAX), self._home.parts())
            above = takewhile(lambda part: part.newest > floor, parts)
            for thing in newest_first(view, inbox, above, before):
                if thing.place.lsn <= floor:
                    break
                yield thing
            before = Place(floor + 1, 0)
        if floor:
            parts = chain(self._own_part(floor), self._home.parts_below(view, floor))
            yield from newest_first(view, NO_TIMELINE, parts, before)

    def _own_part(self, newest: int) -> list[Part]:
        return [] if self._own is None else [Part(self._own.id, 1, MAX, newest)]

    def post(self, thing: Thing) -> Post | None:
        """The post that a thing is; None when it is gone, or pulled in another place."""
        posts = self._view.load(thing.timeline_id)
        if posts is None:
            return None
        payload = thing.payload
        if thing.kind:  # a reference
            if thing.kind != POST or not self._delivered(thing.timeline_id, thing.seq):
                return None
            payload = self._view.payloads(posts, thing.seq, thing.seq).get(thing.seq, b"")
        return Post(author_of(posts.name), thing.seq, payload) if payload else None

    def _delivered(self, feed: int, seq: int) -> bool:
        """Whether the home has a post by its reference."""
        follow, row = self._home.follows.get(feed), self._home.row(feed)
        if follow is None or row is None or seq <= follow.head:
            return False
        return not any(each.first <= seq <= each.last for each in row.pulled)
