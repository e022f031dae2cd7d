"""Posts as readers get them: who published them, their number, their fields as they are now.

Rule: the fields stay in stored form together with the id, so that a reply copies it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from timeline.engine.view import View
from timeline.entry import Fields
from timeline.errors import UsageError, shown
from timeline.formats.entries import decode_items
from timeline.formats.posts import (
    NO_COUNTS,
    Counts,
    Header,
    counts_key,
    decode_counts,
    header_of,
    post_name,
    split_post_name,
)
from timeline.identity import check_user

PAGE_BYTES: Final = 4 << 20  # of posts, after which a page ends


class Post(NamedTuple):
    """Post `seq` of `author`, whose feed has the id `feed`. `payload` is the stored form of an
    entry with that number.
    """

    author: bytes
    feed: int
    seq: int
    payload: bytes
    counts: Counts = NO_COUNTS

    @property
    def name(self) -> bytes:
        return post_name(self.author, self.seq)

    @property
    def header(self) -> Header:
        return header_of(self.payload)

    @property
    def fields(self) -> Fields:
        return Fields(decode_items(self.payload))


# What posts name, by name. None: it is not there, or not the viewer's to see.
References = dict[bytes, Post | None]


def split_post(name: bytes) -> tuple[bytes, int]:
    """(author, number) of a post, which is written `author/number`. Raises `UsageError`."""
    found = split_post_name(name)
    if found is None:
        raise UsageError(f"a post is written author/number, as in ann/17, not {shown(name)}")
    check_user(found[0])
    return found


def count(view: View, posts: Iterable[Post | None]) -> list[Post | None]:
    """The same posts, with what others did with them."""
    found = list(posts)
    keys = sorted({counts_key(post.feed, post.seq) for post in found if post is not None})
    rows = dict(zip(keys, view.get_many(keys), strict=True)) if keys else {}
    for at, post in enumerate(found):
        row = None if post is None else rows[counts_key(post.feed, post.seq)]
        if post is not None and row is not None:
            found[at] = post._replace(counts=decode_counts(row))
    return found
