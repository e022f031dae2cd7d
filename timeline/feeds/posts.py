"""Posts as readers get them: who published them, their number, their fields as they are now.

Rule: the fields stay in stored form together with the id, so that a reply copies it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

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


class Post:
    """Post `seq` of `author`, whose feed has the id `feed`. `payload` is the stored form of an
    entry with that number. What others did with it is nothing before `count` has found it.
    """

    __slots__ = ("author", "counts", "feed", "header", "own", "payload", "seq")

    def __init__(self, author: bytes, feed: int, seq: int, payload: bytes) -> None:
        self.author = author
        self.feed = feed
        self.seq = seq
        self.payload = payload
        self.header: Header = header_of(payload)
        self.counts: Counts = NO_COUNTS
        self.own: Sequence[bytes] = ()  # the viewer's reactions

    @property
    def name(self) -> bytes:
        return post_name(self.author, self.seq)

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


def count(view: View, posts: Iterable[Post], reader: int) -> None:
    """Find what others did with these posts, and which reactions are those of the home `reader`, 0
    for nobody's.
    """
    places = {counts_key(post.feed, post.seq): post for post in posts}
    reacted: list[Post] = []
    for key, row in _rows(view, places).items():
        if row is not None:
            post = places[key]
            post.counts = decode_counts(row)
            if post.counts.reactions:
                reacted.append(post)
    if reader and reacted:
        _mark_own(view, reacted, reader)


def _mark_own(view: View, posts: Sequence[Post], reader: int) -> None:
    chunk, bit = reader >> REACTION_BITS, reader & ((1 << REACTION_BITS) - 1)
    rows = _rows(
        view,
        [
            reaction_key(post.feed, post.seq, each.kind, chunk)
            for post in posts
            for each in post.counts.reactions
        ],
    )
    for post in posts:
        post.own = [
            each.name
            for each in post.counts.reactions
            if holds(rows[reaction_key(post.feed, post.seq, each.kind, chunk)], bit)
        ]


def _rows(view: View, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
    wanted = sorted(set(keys))
    return dict(zip(wanted, view.get_many(wanted), strict=True)) if wanted else {}


def counts_shown(counts: Counts) -> dict[bytes, int]:
    """What there is any of, by name."""
    if counts is NO_COUNTS:
        return {}
    replies, reposts, quotes, reactions = counts
    found = {b"replies": replies, b"reposts": reposts, b"quotes": quotes}
    found |= {each.name: each.users for each in reactions}
    return {name: number for name, number in found.items() if number}
