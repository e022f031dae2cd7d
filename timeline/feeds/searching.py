"""Searching posts: what the index finds, less what is not the viewer's to see.

Rule: a hit is a post that FEED.PROFILE of its author would show to the viewer, or with `home` one
that their FEED.HOME would show. So posts of a protected author are found by followers only, even
those that mention somebody else. A plain repost has no text, and is no hit.

The index is asked for posts of the author, or of those whom the viewer follows, or of anybody. Of
some authors most is older than what a home shows of them: the query names the numbers that it does.
Everything else is decided by the store as it is when the page is read, for some hits at a time.
What is counted is what is shown, so a total says nothing of posts that are hidden.

Call it without the engine's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import NamedTuple

from timeline.feeds.access import author_of, check_known
from timeline.feeds.cache import KeptHome
from timeline.feeds.posts import Post
from timeline.feeds.service import Feeds
from timeline.feeds.sight import Sight
from timeline.formats.keys import MAX
from timeline.formats.names import FEEDS, HOMES
from timeline.formats.numbers import NO_TIMELINE, TimelineId
from timeline.identity import check_id
from timeline.search.index.documents import POST
from timeline.search.pages import Pages, Results, Shown, parse_token
from timeline.search.search import Hit, Scope, Search, Stretch
from timeline.search.text.language import EVERYTHING, parse

_STRETCHED = 32  # feeds of which the query names the numbers, at most; tests make it smaller


class Request(NamedTuple):
    """What a viewer searches for: words, a tag, or both; posts of one author, of the viewer's home,
    or of anybody.
    """

    viewer: bytes
    query: str
    author: bytes | None = None
    tag: bytes | None = None
    home: bool = False
    since: int | None = None
    until: int | None = None
    limit: int = 20
    after: bytes | None = None


def search(feeds: Feeds, request: Request) -> Results:
    """A page of posts that a viewer may see and searches for, the newest first. Without words those
    of a tag. Raises `UsageError`, `TooLargeError`, `NotFoundError`, `NoPermissionError`, and
    `IndexLagError` while there is no index.
    """
    after, total = parse_token(request.after)
    fields = feeds.options.search_fields
    tag = None if request.tag is None else check_id(request.tag, "tag").decode()
    every = tag is not None and not request.query.strip()
    expression = EVERYTHING if every else parse(request.query, fields)
    serving = feeds.index.searchable
    viewer = _Viewer(feeds, request)
    with feeds.engine.lock:
        feeds.engine.check_usable()
        scope = viewer.scope(request.author)
    with serving.trusting() as index:
        found = Search(
            index,
            expression,
            fields,
            scope,
            feeds.view.clock,
            tag=tag,
            since=request.since,
            until=request.until,
        )
        pages = Pages(feeds.engine, found, viewer.look, expression, fields)
        return pages.fill(after, request.limit, total, exactly=False)


class _Viewer:
    """Who searches. Nothing of the store is kept between two calls."""

    def __init__(self, feeds: Feeds, request: Request) -> None:
        self._feeds = feeds
        self._user = request.viewer
        self._searches_home = request.home

    def scope(self, author: bytes | None) -> Scope:
        """Where to look. Raises `UsageError`, `NotFoundError`, `NoPermissionError`."""
        view = self._feeds.view
        sight = Sight(view, self._user)
        timelines: list[int] | None = None
        if author is not None:
            feed = sight.visit(author)
            timelines = [] if feed is None else [feed.id]
        if not self._searches_home:
            return Scope(timelines, kind=POST)
        check_known(view, self._user)
        own = view.find(FEEDS + self._user)
        shown = {feed: follow.first for feed, follow in self._home().follows.items()}
        if own is not None:
            shown[own.id] = 1
        if timelines is not None:
            shown = {feed: shown[feed] for feed in timelines if feed in shown}
        partly = [feed for feed, first in shown.items() if first > 1]
        named = nlargest(_STRETCHED, partly, key=shown.__getitem__)
        stretches = [Stretch(feed, shown[feed], MAX) for feed in named]
        return Scope(list(shown.keys() - set(named)), stretches, POST)

    def _home(self) -> KeptHome:
        home = self._feeds.view.find(HOMES + self._user)
        return self._feeds.homes.of(NO_TIMELINE if home is None else home.id)

    def look(self, hits: Sequence[Hit]) -> list[Shown]:
        """The posts as they are now; None for each that is not shown."""
        home = self._home() if self._searches_home else None
        sight = Sight(self._feeds.view, self._user, None if home is None else home.follows)
        return [self._look_at(hit, sight, home) for hit in hits]

    def _look_at(self, hit: Hit, sight: Sight, home: KeptHome | None) -> Shown:
        view = self._feeds.view
        timeline_id = TimelineId(hit.timeline)
        posts = view.load(timeline_id)
        if posts is None:
            return None
        author = author_of(posts.name)
        if not (sight.enters(author, timeline_id) and self._is_within(home, author, hit)):
            return None  # without a look at the post
        row = view.entry(posts, hit.seq)
        if row is None:
            return None
        post = Post(author, timeline_id, hit.seq, row[3])
        wanted = not post.header.plain and (home is None or sight.wants(post))
        return (post.payload, author) if wanted and sight.sees(post) else None

    def _is_within(self, home: KeptHome | None, author: bytes, hit: Hit) -> bool:
        """Whether the home, if it is searched, reaches down to this post."""
        if home is None or author == self._user:
            return True
        follow = home.follows.get(hit.timeline)
        return follow is not None and hit.seq >= follow.first
