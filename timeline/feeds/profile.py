"""A profile: what one author published, newest first, and what is known of them."""

from __future__ import annotations

from typing import NamedTuple

from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds.access import check_known, find_feed, home_row
from timeline.feeds.following import Relation, relations
from timeline.feeds.posts import PAGE_BYTES, Post
from timeline.formats.names import HOMES
from timeline.identity import check_user


class PostPage(NamedTuple):
    """Posts, the newest first; the cursor is empty at the end."""

    posts: list[Post]
    cursor: bytes


class AuthorInfo(NamedTuple):
    """How many posts an author has, how many follow them, how many they follow, and what the one
    who asks has with them.
    """

    posts: int
    followers: int
    following: int
    relation: Relation


def profile(view: View, viewer: bytes, author: bytes, after: bytes, count: int) -> PostPage:
    """A page of an author's posts. Raises `NotFoundError`, `UsageError`."""
    check_user(viewer)
    if after and (not after.isdigit() or len(after) > 19):
        raise UsageError("a token of a profile is the cursor of the page before")
    feed = find_feed(view, check_known(view, author))
    if feed is None:
        return PostPage([], b"")
    last = int(after) - 1 if after else feed.head
    posts: list[Post] = []
    size = 0
    for seq, _, _, payload in view.stored(feed.posts, 1, last, reverse=True):
        if len(posts) == count or size >= PAGE_BYTES:
            return PostPage(posts, b"%d" % posts[-1].seq)
        posts.append(Post(author, seq, payload))
        size += len(payload)
    return PostPage(posts, b"")


def info(view: View, viewer: bytes, author: bytes) -> AuthorInfo:
    """Raises `NotFoundError`, `UsageError`."""
    check_user(viewer)
    feed = find_feed(view, check_known(view, author))
    home = view.find(HOMES + author)
    posts = followers = 0
    if feed is not None:
        posts, followers = view.extent(feed.posts).length, feed.row.followers
    following = 0 if home is None else home_row(view, home.id).following
    return AuthorInfo(posts, followers, following, relations(view, viewer, [author])[0])
