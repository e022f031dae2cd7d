"""A profile: what one author published, newest first, single posts, and what is known of an author.

Rule: a page looks at a bounded number of posts. When a viewer may see few of them it comes back
short, with a cursor to go on from; only an empty cursor is the end.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from timeline.engine.view import View
from timeline.errors import TooLargeError, UsageError, shown
from timeline.feeds.access import Feed, find_post, home_row
from timeline.feeds.lists import Relation, relations
from timeline.feeds.posts import PAGE_BYTES, Post, References
from timeline.feeds.settings import fields_of
from timeline.feeds.sight import Sight
from timeline.formats.keys import MAX
from timeline.formats.names import HOMES

_TOKEN: Final = re.compile(rb"([1-9][0-9]{0,18})-([0-9]{1,19})")
_LEAST_LOOKS: Final = 512  # at posts, for any page, and
_LOOKS_PER_POST: Final = 4  # for each one asked for
_MOST_NAMED: Final = 100  # posts that one command asks for by name
HIDEABLE: Final = {b"replies": "reply", b"reposts": "repost"}  # what WITHOUT names, and its kind


class PostPage(NamedTuple):
    """Posts, in the order of the page, and what they name. The cursor is empty at the end."""

    posts: list[Post]
    refs: References
    cursor: bytes


def page_of(sight: Sight, posts: list[Post], cursor: bytes) -> PostPage:
    """A page of posts that were found."""
    sight.count(posts)
    return PostPage(posts, sight.references(posts), cursor)


class AuthorInfo(NamedTuple):
    """How many posts an author has, how many follow them, how many they follow, whether they are
    protected, what the one who asks has with them, and what they say of themselves.
    """

    posts: int
    followers: int
    following: int
    protected: bool
    relation: Relation
    meta: dict[bytes, bytes]


def profile(
    view: View, viewer: bytes, author: bytes, after: bytes, most: int, without: bytes | None = None
) -> PostPage:
    """A page of at most `most` posts of an author, without their replies or their reposts if those
    are named. The first page begins with the pinned post, which later pages leave out, if it is
    the same. Raises `NotFoundError`, `NoPermissionError`, `UsageError`.
    """
    sight = Sight(view, viewer)
    if without is not None and without not in HIDEABLE:
        raise UsageError(f"a profile can be without replies or reposts, not {shown(without)}")
    last, pinned = _decode(after)
    feed = sight.visit(author)
    if feed is None:
        return PostPage([], {}, b"")
    hidden = None if without is None else HIDEABLE[without]
    posts: list[Post] = []
    size = 0
    if not after:
        post = _pinned(view, sight, feed, author)
        if post is not None and post.header.kind != hidden:
            pinned = post.seq
            posts.append(post)
            size += sight.weigh(post)
    looks = _LEAST_LOOKS + _LOOKS_PER_POST * most
    reached = min(last, feed.head) + 1
    for seq, _, _, payload in view.stored(feed.posts, 1, min(last, feed.head), reverse=True):
        if len(posts) == most or size >= PAGE_BYTES or looks <= 0:
            return page_of(sight, posts, b"%d-%d" % (reached, pinned))
        reached = seq
        looks -= 1
        if seq == pinned:
            continue
        post = Post(author, feed.id, seq, payload)
        if post.header.kind != hidden and sight.sees(post):
            posts.append(post)
            size += sight.weigh(post)
    return page_of(sight, posts, b"")


def _decode(token: bytes) -> tuple[int, int]:
    """The number below which a page begins, less one, and that of the pinned post, 0 for none."""
    if not token:
        return MAX - 1, 0
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise UsageError("a token of a profile is the cursor of the page before")
    return int(match[1]) - 1, int(match[2])


def _pinned(view: View, sight: Sight, feed: Feed, author: bytes) -> Post | None:
    seq = feed.row.pinned
    payload = find_post(view, feed, seq) if seq else None
    post = None if payload is None else Post(author, feed.id, seq, payload)
    return post if post is not None and sight.sees(post) else None


def get(
    view: View, viewer: bytes, names: list[bytes], most_bytes: int = 64 << 20
) -> list[Post | None]:
    """The posts of these names; None for what is not there, or not the viewer's to see. Raises
    `UsageError`, or `TooLargeError`.
    """
    sight = Sight(view, viewer)
    if len(names) > _MOST_NAMED:
        raise TooLargeError(f"one command asks for at most {_MOST_NAMED} posts: give several")
    found: list[Post | None] = []
    size = 0
    for name in names:
        post = sight.find(name)
        found.append(post)
        size += 0 if post is None else len(post.payload)
        if size > most_bytes:
            raise TooLargeError(f"these posts exceed {most_bytes} bytes: ask for fewer at a time")
    sight.count([post for post in found if post is not None])
    return found


def info(view: View, viewer: bytes, author: bytes) -> AuthorInfo:
    """Raises `NotFoundError`, `NoPermissionError`, `UsageError`."""
    feed = Sight(view, viewer).meet(author)
    home = view.find(HOMES + author)
    posts = followers = 0
    if feed is not None:
        posts, followers = view.extent(feed.posts).length, feed.row.followers
    following = 0 if home is None else home_row(view, home.id).following
    return AuthorInfo(
        posts,
        followers,
        following,
        feed is not None and feed.protected,
        relations(view, viewer, [author])[0],
        {} if feed is None else fields_of(view, feed),
    )
