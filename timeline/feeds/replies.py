"""Replies to a post, the oldest first, as a viewer may see them."""

from __future__ import annotations

import re
from typing import Final

from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds.access import author_of
from timeline.feeds.posts import PAGE_BYTES, Post
from timeline.feeds.profile import PostPage, page_of
from timeline.feeds.sight import Sight
from timeline.formats.conversations import between
from timeline.formats.keys import MAX, pair
from timeline.formats.posts import REPLY, Link, link_key, post_name, split_link_key

_LEAST_LOOKS: Final = 512  # at replies, for any page, and
_LOOKS_PER_POST: Final = 4  # for each post asked for
_TOKEN: Final = re.compile(rb"([0-9]{1,20})" + rb"-([0-9]{1,20})" * 3)


def replies(
    view: View, viewer: bytes, author: bytes, seq: int, after: bytes, count: int
) -> PostPage:
    """A page of replies. Raises `UsageError`, or `NoPermissionError` for a post that the viewer may
    not see.
    """
    sight = Sight(view, viewer)
    place = _decode(after) if after else None
    target = sight.expect(post_name(author, seq))
    start, stop = between(REPLY + pair(target.feed, target.seq))
    if place is not None:
        start = link_key(REPLY, Link(target.feed, target.seq, *place)) + b"\0"
    found: list[Post] = []
    size = 0
    looks = _LEAST_LOOKS + _LOOKS_PER_POST * count
    token = after
    for key, _ in view.scan(start, stop):
        if len(found) == count or looks <= 0 or size >= PAGE_BYTES:
            return page_of(sight, found, token)
        _, _, lsn, ordinal, by, by_seq = split_link_key(key)
        token = b"%d-%d-%d-%d" % (lsn, ordinal, by, by_seq)
        looks -= 1
        posts = view.load(by)
        name = None if posts is None else post_name(author_of(posts.name), by_seq)
        post = None if name is None else sight.find(name)
        if post is not None:
            found.append(post)
            size += sight.weigh(post)
    return page_of(sight, found, b"")


def _decode(token: bytes) -> tuple[int, int, int, int]:
    match = _TOKEN.fullmatch(token)
    if (
        match is None
        or max(place := (int(match[1]), int(match[2]), int(match[3]), int(match[4]))) > MAX
    ):
        raise UsageError("a token of replies is the cursor of the page before")
    return place
