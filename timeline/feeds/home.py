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

A plain repost is left out if the same post, or another repost of it, stands among the next
`repost_window` older posts of the home. This depends on what is below it alone, so pages of any
size show the same.

A page looks at a bounded number of things. When many lead to nothing it comes back short, with a
cursor to go on from; only an empty cursor is the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, takewhile
from typing import Final, NamedTuple

from timeline.devices.cursors import cursors_of
from timeline.engine.view import Applied
from timeline.feeds.access import author_of, check_known
from timeline.feeds.cache import KeptHome
from timeline.feeds.posts import PAGE_BYTES, Post, References
from timeline.feeds.profile import page_of
from timeline.feeds.service import Feeds
from timeline.feeds.sight import Sight
from timeline.formats.feeds import KINDS, POST
from timeline.formats.keys import MAX
from timeline.formats.names import FEEDS, HOMES
from timeline.formats.numbers import NO_TIMELINE, TimelineId
from timeline.pullback import Part, Place, Thing, decode_place, newest_first, position_below

_LOOKS_PER_POST: Final = 4  # things looked at for each post asked for, and
_LEAST_LOOKS: Final = 512  # for any page
# What is passed to find a post among the older ones: posts that are not shown, and all things.
_MOST_HIDDEN: Final = 512
_MOST_AHEAD: Final = 8_192
COST_OF_POST: Final = 16  # of a look at it, beside that of telling an edit apart


class HomePage(NamedTuple):
    """A `PostPage` of a home. Whoever says that they have seen `position` has seen these posts and
    all that are older.
    """

    posts: list[Post]
    refs: References
    cursor: bytes
    position: bytes


def read_home(feeds: Feeds, user: bytes, after: bytes, count: int) -> HomePage:
    """A page of a home. Raises `NotFoundError`, `UsageError`."""
    before = decode_place(after) if after else Place(feeds.view.log.applied + 1, 0)
    position = cursors_of(feeds.view).encode(position_below(before))
    ahead = open_home(feeds, user, before)
    posts: list[Post] = []
    budget = COST_OF_POST * (_LEAST_LOOKS + _LOOKS_PER_POST * count)
    size = 0
    last: Look | None = None
    cursor = b""
    while (look := ahead.take()) is not None:
        if len(posts) == count or budget <= 0 or size >= PAGE_BYTES:
            cursor = b"%d-%d" % (before if last is None else last.place)
            break
        last = look
        budget -= look.cost
        post = look.post
        if post is not None and not ahead.repeats(look, feeds.options.repost_window):
            posts.append(post)
            size += ahead.sight.weigh(post)
    return HomePage(*page_of(ahead.sight, posts, cursor), position)


def open_home(feeds: Feeds, user: bytes, before: Place) -> Ahead:
    """The home of a user below a place. Raises `NotFoundError`, `UsageError`."""
    view = feeds.view
    home = view.find(HOMES + check_known(view, user))
    kept = feeds.homes.of(NO_TIMELINE if home is None else home.id)
    return Ahead(Reader(view, kept, Sight(view, user, kept.follows)), before)


class Look:
    """One thing that was looked at; `post` is None when it is not shown, `there` says whether there
    is a post at all.
    """

    __slots__ = ("post", "there", "thing")

    def __init__(self, thing: Thing, post: Post | None, *, there: bool) -> None:
        self.thing = thing
        self.post = post
        self.there = there

    @property
    def place(self) -> Place:
        return self.thing.place

    @property
    def cost(self) -> int:
        return COST_OF_POST if self.thing.kind in (0, POST) else 1


def _original(post: Post) -> bytes:
    """The name of what a plain repost reposts, and of any other post its own."""
    header = post.header
    return header.repost if header.plain else post.name


class Ahead:
    """What a home holds below a place, looked at when it is needed."""

    def __init__(self, reader: Reader, before: Place) -> None:
        self.sight = reader.sight
        self._looks = reader.looks(before)
        self._waiting: deque[Look] = deque()

    def take(self) -> Look | None:
        return self._waiting.popleft() if self._waiting else next(self._looks, None)

    def repeats(self, look: Look, window: int) -> bool:
        """Whether it is a plain repost of what is also among the next `window` posts. It is taken
        for none when that would take very many looks. Only posts count, and only those that are
        there: others come by one way of diffusion alone.
        """
        if look.post is None or not look.post.header.plain:
            return False
        original = look.post.header.repost
        hidden = 0
        for at in range(_MOST_AHEAD):
            if at == len(self._waiting):
                following = next(self._looks, None)
                if following is None:
                    return False
                self._waiting.append(following)
            older = self._waiting[at]
            if older.post is None:
                hidden += older.there
                if hidden > _MOST_HIDDEN:
                    return False
                continue
            if window == 0:
                return False
            window -= 1
            if _original(older.post) == original:
                return True
        return False


class Reader:
    """A home as it is now: whom its owner follows, and what they pull."""

    def __init__(self, view: Applied, home: KeptHome, sight: Sight) -> None:
        """`sight` is that of its owner."""
        self._view = view
        self._home = home
        self.sight = sight
        self._own = view.find(FEEDS + sight.viewer)

    def looks(self, before: Place) -> Iterator[Look]:
        """What may be shown below a place, newest first."""
        for thing in self.things(before):
            post = self.post(thing)
            there = post is not None
            if post is not None and not (self.sight.sees(post) and self.sight.wants(post)):
                post = None
            yield Look(thing, post, there=there)

    def things(self, before: Place) -> Iterator[Thing]:
        """What may be shown, newest first: above the floor of the home what was delivered and what
        is pulled, below it everything is pulled.
        """
        view, inbox = self._view, TimelineId(self._home.home)
        floor = view.inboxes.floor_of(inbox)
        bounds = self._home.bounds
        if before.lsn > floor:
            parts = chain(self._own_part(), self._home.parts())
            lowered = bounds.lower(view, parts, before.lsn)
            above = takewhile(lambda part: part.newest > floor, lowered)
            for thing in newest_first(view, inbox, above, before, KINDS):
                if thing.lsn <= floor:
                    break
                yield thing
            before = Place(floor + 1, 0)
        if floor:
            parts = chain(self._own_part(), self._home.whole(view))
            lowered = bounds.lower(view, parts, min(before.lsn, floor))
            yield from newest_first(view, NO_TIMELINE, lowered, before)

    @property
    def home(self) -> int:
        return self._home.home

    def reaches(self, feed: int, seq: int) -> bool:
        """Whether the home begins at or before post `seq` of a feed, if it shows that feed."""
        if self._own is not None and feed == self._own.id:
            return True
        follow = self._home.follows.get(feed)
        return follow is not None and seq >= follow.first

    def _own_part(self) -> list[Part]:
        return [] if self._own is None else [Part(self._own.id, 1, MAX, MAX)]

    def post(self, thing: Thing) -> Post | None:
        """The post that a thing is; None when it is gone, or pulled in another place."""
        posts = self._view.load(thing.timeline_id)
        if posts is None:
            return None
        payload = thing.payload
        if thing.kind:  # a reference
            if thing.kind != POST or not self._delivered(thing.timeline_id, thing.seq):
                return None
            row = self._view.entry(posts, thing.seq)
            if row is None:
                return None
            payload = row[3]
        return Post(author_of(posts.name), thing.timeline_id, thing.seq, payload)

    def _delivered(self, feed: int, seq: int) -> bool:
        """Whether the home has a post by its reference."""
        follow, row = self._home.follows.get(feed), self._home.row(feed)
        if follow is None or row is None or seq <= follow.head:
            return False
        return not any(each.first <= seq <= each.last for each in row.pulled)
