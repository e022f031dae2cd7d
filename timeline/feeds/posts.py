"""Posts as readers get them: who published them, their number, their fields as they are now.

Rule: the fields stay in stored form together with the id, so that a reply copies it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from timeline.bitmaps import holds
from timeline.engine.view import View
from timeline.entry import Fields
from timeline.errors import UsageError, shown
from timeline.formats.entries import decode_items
from timeline.formats.posts import (
    NO_COUNTS,
    REACTION_BITS,
    Counts,
    Header,
    counts_key,
    decode_counts,
    header_of,
    post_name,
    reaction_key,
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
    own: tuple[bytes, ...] = ()  # the viewer's reactions

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


def count(view: View, posts: Iterable[Post | None], reader: int) -> list[Post | None]:
    """The same posts, with what others did with them, and which reactions are those of the home
    `reader`, 0 for nobody's.
    """
    found = list(posts)
    rows = _rows(view, [counts_key(post.feed, post.seq) for post in found if post is not None])
    for at, post in enumerate(found):
        row = None if post is None else rows[counts_key(post.feed, post.seq)]
        if post is not None and row is not None:
            found[at] = post._replace(counts=decode_counts(row))
    if reader:
        _mark_own(view, found, reader)
    return found


def _mark_own(view: View, posts: list[Post | None], reader: int) -> None:
    chunk, bit = reader >> REACTION_BITS, reader & ((1 << REACTION_BITS) - 1)
    rows = _rows(
        view,
        [
            reaction_key(post.feed, post.seq, each.kind, chunk)
            for post in posts
            if post is not None
            for each in post.counts.reactions
        ],
    )
    for at, post in enumerate(posts):
        if post is not None and post.counts.reactions:
            own = [
                each.name
                for each in post.counts.reactions
                if holds(rows[reaction_key(post.feed, post.seq, each.kind, chunk)], bit)
            ]
            posts[at] = post._replace(own=tuple(own))


def _rows(view: View, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
    wanted = sorted(set(keys))
    return dict(zip(wanted, view.get_many(wanted), strict=True)) if wanted else {}


def counts_shown(counts: Counts) -> dict[bytes, int]:
    """What there is any of, by name."""
    replies, reposts, quotes, reactions = counts
    found = {b"replies": replies, b"reposts": reposts, b"quotes": quotes}
    found |= {each.name: each.users for each in reactions}
    return {name: number for name, number in found.items() if number}
