"""Sight: what one viewer may see, as it is now.

Responsibility: say whether a viewer may see a post, and find posts by their names as they see them.

Rule: one is made for each read, so that each post is looked at once in it, and each answer is of
one moment. Authors see all of their own posts. Others see a post if it says that they may (`@for`).
A plain repost is shown as long as what it reposts is: whoever may not see that sees neither.
"""

from __future__ import annotations

from collections.abc import Iterable

from timeline.engine.view import View
from timeline.errors import NoPermissionError, shown
from timeline.feeds.access import Feed, find_feed, find_post, follow_of
from timeline.feeds.posts import Post, References, count, split_post
from timeline.formats.names import HOMES
from timeline.formats.posts import EVERYBODY, FOLLOWERS, NAMED, Header
from timeline.identity import check_user


class Sight:
    def __init__(self, view: View, viewer: bytes) -> None:
        """Raises `UsageError`. A viewer whom nobody has heard of sees what everybody may."""
        self._view = view
        self.viewer = check_user(viewer)
        self._home = view.find(HOMES + viewer)
        self._feeds: dict[bytes, Feed | None] = {}
        self._follows: dict[int, bool] = {}
        self._found: dict[bytes, Post | None] = {}

    def sees(self, post: Post) -> bool:
        """Whether the viewer may see a post that was found somewhere."""
        header = post.header
        if not self._is_meant(post, header):
            return False
        return not header.plain or self.find(header.repost) is not None

    def _is_meant(self, post: Post, header: Header) -> bool:
        if header.audience == EVERYBODY or post.author == self.viewer:
            return True
        if header.audience == FOLLOWERS:
            return self._is_follower(post.feed)
        return header.audience == NAMED and self.viewer in header.mentions

    def _is_follower(self, feed: int) -> bool:
        found = self._follows.get(feed)
        if found is None:
            home = self._home
            found = home is not None and follow_of(self._view, home.id, feed) is not None
            self._follows[feed] = found
        return found

    # --- posts by name ------------------------------------------------------------------------

    def find(self, name: bytes) -> Post | None:
        """The post of this name; None when it is not there, or not the viewer's to see. Raises
        `UsageError` for what is no name of a post.
        """
        if name not in self._found:
            author, seq = split_post(name)
            if author not in self._feeds:
                self._feeds[author] = find_feed(self._view, author)
            feed = self._feeds[author]
            payload = None if feed is None else find_post(self._view, feed, seq)
            post = None
            if feed is not None and payload is not None:
                post = Post(author, feed.id, seq, payload)
            self._found[name] = post if post is not None and self.sees(post) else None
        return self._found[name]

    def expect(self, name: bytes) -> Post:
        """As `find`. Raises `NoPermissionError`, in the same words whether it is not there or not
        the viewer's to see.
        """
        found = self.find(name)
        if found is None:
            who = shown(self.viewer)
            raise NoPermissionError(f"there is no post {shown(name)}, or none that {who} may see")
        return found

    # --- what posts name ----------------------------------------------------------------------

    def weigh(self, post: Post) -> int:
        """How many bytes a page has more by showing a post: its own, and those of what it names."""
        size = len(post.payload)
        for name in self._named(post):
            named = self.find(name)
            size += 0 if named is None else len(named.payload)
        return size

    def references(self, posts: Iterable[Post | None]) -> References:
        """What these posts name, and what their reposts name in turn, each once."""
        found = dict.fromkeys(
            name for post in posts if post is not None for name in self._named(post)
        )
        counted = count(self._view, [self.find(name) for name in found])
        return dict(zip(found, counted, strict=True))

    def _named(self, post: Post) -> list[bytes]:
        header = post.header
        names = [name for name in (header.reply, header.repost) if name]
        if header.plain:  # it is shown as what it reposts
            original = self.find(header.repost)
            names += [] if original is None else self._named(original)
        return names
