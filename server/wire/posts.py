"""Posts as they go to a socket.

Rule: as for entries of conversations: a post is its kind, its author and a slice of what the store
holds, then what is counted of it and what the reader did with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timeline.feeds.posts import Post

from . import replies
from .entries import encode_stored

_HEADER: Final = replies.array_header(6)
_NOTHING: Final = replies.EMPTY_ARRAY * 2  # no counts, no reactions


def encode_post(post: Post) -> bytes:
    """`[kind, author, id, [field, value, …], [count-name, n, …], [own reaction, …]]`"""
    beginning = _HEADER + replies.bulk(post.kind.encode()) + replies.bulk(post.author)
    return beginning + encode_stored(post.payload) + _NOTHING


def encode_posts(posts: Sequence[Post]) -> bytes:
    return replies.array([encode_post(post) for post in posts])
