"""Sight: what one viewer may see, as it is now.

Responsibility: say whether a viewer may see a post, and find posts by their names as they see them.

Rule: one is made for each read, so that each post is looked at once in it, and each answer is of
one moment. Authors see all of their own posts. Nobody sees anything of somebody who blocks them, or
whom they block. Otherwise a post says who sees it (`@for`); in a protected feed everybody means the
followers. A plain repost is shown as long as what it reposts is: whoever may not see that sees
neither. A mute hides nothing from whoever looks for it: it keeps things out of the home.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from timeline.engine.view import View
from timeline.errors import NoPermissionError, shown
from timeline.feeds.access import (
    Feed,
    check_known,
    find_feed,
    find_post,
    follow_of,
    home_row,
    nobody,
    tie_of,
)
from timeline.feeds.posts import Post, References, count, split_post
from timeline.feeds.ties import BARRED
from timeline.formats.feeds import (
    HAS_TIES,
    MUTED,
    NO_REPLIES,
    NO_REPOSTS,
    PROTECTED,
    FollowRow,
    decode_feed,
    feed_key,
)
from timeline.formats.names import HOMES
from timeline.formats.posts import EVERYBODY, FOLLOWERS, FOR_ALL, NAMED, Header
from timeline.identity import check_user


class Sight:
    def __init__(
        self, view: View, viewer: bytes, follows: Mapping[int, FollowRow] | None = None
    ) -> None:
        """`follows` are all follows of the viewer, if they are at hand. Raises `UsageError`. A
        viewer whom nobody has heard of sees what everybody may.
        """
        self._view = view
        self.viewer = check_user(viewer)
        self._home = view.find(HOMES + viewer)
        self._has_ties = self._home is not None and bool(
            home_row(view, self._home.id).flags & HAS_TIES
        )
        self._all_follows = follows
        self._follows: dict[int, FollowRow | None] = {}
        self._ties: dict[int, int] = {}
        self._protected: dict[int, bool] = {}
        self._feeds: dict[bytes, Feed | None] = {}
        self._found: dict[bytes, Post | None] = {}
        self.read = 0  # bytes of posts that were found by their names

    def sees(self, post: Post) -> bool:
        """Whether the viewer may see a post that was found somewhere."""
        header = post.header
        if not self._is_meant(post, header):
            return False
        return not header.plain or self.find(header.repost) is not None

    def wants(self, post: Post) -> bool:
        """Whether a post that the viewer sees belongs in their home, if it is of somebody whom they
        follow.
        """
        if post.author == self.viewer:
            return True
        header = post.header
        follow = self._follow(post.feed)
        flags = 0 if follow is None else follow.flags
        if header.reply and flags & NO_REPLIES:
            return False
        if self._tie(post.feed) & MUTED:
            return False
        if not header.plain:
            return True
        original = self.find(header.repost)
        muted = original is not None and self._tie(original.feed) & MUTED
        return not muted and not flags & NO_REPOSTS

    def _is_meant(self, post: Post, header: Header) -> bool:
        if post.author == self.viewer:
            return True
        if self._tie(post.feed) & BARRED:
            return False
        if header.audience not in (EVERYBODY, FOLLOWERS):
            return header.audience == NAMED and self.viewer in header.mentions
        # The first two are what nearly all posts are, and cost less.
        return (
            (self._all_follows is not None and post.feed in self._all_follows)
            or (header.audience == EVERYBODY and not self._is_protected(post.feed))
            or self._follow(post.feed) is not None
        )

    def _follow(self, feed: int) -> FollowRow | None:
        if self._all_follows is not None:
            return self._all_follows.get(feed)
        if feed not in self._follows:
            home = self._home
            self._follows[feed] = None if home is None else follow_of(self._view, home.id, feed)
        return self._follows[feed]

    def _tie(self, feed: int) -> int:
        """The flags of what else the viewer has with an author."""
        if not self._has_ties or self._home is None:
            return 0
        if feed not in self._ties:
            self._ties[feed] = tie_of(self._view, self._home.id, feed).flags
        return self._ties[feed]

    def _is_protected(self, feed: int) -> bool:
        if feed not in self._protected:
            value = self._view.get(feed_key(feed))
            self._protected[feed] = value is not None and bool(decode_feed(value).flags & PROTECTED)
        return self._protected[feed]

    # --- users --------------------------------------------------------------------------------

    def is_kept_from(self, user: bytes) -> bool:
        """Whether a block is between the viewer and a user."""
        if not self._has_ties:
            return False
        feed = self._feed(user)
        return feed is not None and bool(self._tie(feed.id) & BARRED)

    def hears(self, user: bytes) -> bool:
        """Whether the viewer wants to be told what a user does: neither a block is between them nor
        a mute.
        """
        if not self._has_ties:
            return True
        feed = self._feed(user)
        return feed is None or not self._tie(feed.id) & (BARRED | MUTED)

    def meet(self, author: bytes) -> Feed | None:
        """The feed of an author; None when they have neither posts nor followers. Raises
        `NotFoundError`, or `NoPermissionError` in the same words where a block is between them.
        """
        check_known(self._view, author)
        if author != self.viewer and self.is_kept_from(author):
            raise NoPermissionError(nobody(author))
        return self._feed(author)

    def visit(self, author: bytes) -> Feed | None:
        """As `meet`, to look at what only followers of a protected author see."""
        feed = self.meet(author)
        if feed is not None and not self.enters(author, feed.id):
            raise NoPermissionError(
                f"{shown(author)} is protected: only followers see their posts and lists"
            )
        return feed

    def enters(self, author: bytes, feed: int) -> bool:
        """Whether `visit` lets the viewer in to an author, whose feed has this id."""
        if author == self.viewer:
            return True
        if self._tie(feed) & BARRED:
            return False
        return not self._is_protected(feed) or self._follow(feed) is not None

    def _feed(self, author: bytes) -> Feed | None:
        if author not in self._feeds:
            self._feeds[author] = find_feed(self._view, author)
        return self._feeds[author]

    # --- posts by name ------------------------------------------------------------------------

    def find(self, name: bytes) -> Post | None:
        """The post of this name; None when it is not there, or not the viewer's to see. Raises
        `UsageError` for what is no name of a post.
        """
        if name not in self._found:
            self._found[name] = None  # what damage made name itself is not looked for again
            author, seq = split_post(name)
            feed = self._feed(author)
            payload = None if feed is None else find_post(self._view, feed, seq)
            post = None
            if feed is not None and payload is not None:
                post = Post(author, feed.id, seq, payload)
                self.read += len(payload)
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

    def count(self, posts: Iterable[Post]) -> None:
        """Find what others and the viewer did with these posts."""
        count(self._view, posts, 0 if self._home is None else self._home.id)

    # --- what posts name ----------------------------------------------------------------------

    def weigh(self, post: Post) -> int:
        """How many bytes a page has more by showing a post: its own, and those of what it names."""
        size = len(post.payload)
        for name in self.named(post):
            named = self.find(name)
            size += 0 if named is None else len(named.payload)
        return size

    def references(self, posts: Iterable[Post]) -> References:
        """What these posts name, and what their reposts name in turn, each once."""
        return self.look_up(name for post in posts for name in self.named(post))

    def look_up(self, names: Iterable[bytes]) -> References:
        """The posts of these names, each once."""
        found = {name: self.find(name) for name in names}
        self.count([post for post in found.values() if post is not None])
        return found

    def named(self, post: Post) -> Sequence[bytes]:
        """The names of the posts with which a post is shown."""
        header = post.header
        if header is FOR_ALL:
            return ()
        names = [name for name in (header.reply, header.repost) if name]
        if header.plain:  # it is shown as what it reposts
            original = self.find(header.repost)
            names += () if original is None else self.named(original)
        return names
