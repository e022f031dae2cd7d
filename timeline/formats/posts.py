"""Posts: how one names another, and the state of what others did with it.

Rule: a post holds by name what it replies to or reposts, in a field of the store. The rows here
lead the other way, from a post to those that name it. They are written in the commit of the post
that names, and removed in the commit that deletes it. So the counts are what the rows say, exactly.

    reply     empty; key: feed, post, LSN of the reply, its ordinal, its feed, its number
    quote     empty; key: the same of a quote
    repost    number u64 of the repost; key: feed, post, feed of whoever reposted it
    reaction  who has it: a bitmap of 4,096 homes; key: feed, post, kind u8, home / 4,096
    counts    replies u64 · reposts u64 · quotes u64, then for each kind of reaction: kind u8 ·
              count u64 · length u8 · name; key: feed, post

Integers in values are little-endian, in keys big-endian. A decoder raises `CorruptError`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.entries import decode_items

REPLY: Final = keys.OWN + b"R"
QUOTE: Final = keys.OWN + b"Q"
REPOST: Final = keys.OWN + b"P"
COUNTS: Final = keys.OWN + b"C"
REACTION: Final = keys.OWN + b"E"
FAMILIES: Final = (REPLY, QUOTE, REPOST, COUNTS, REACTION)
MOST_KINDS: Final = 32  # of reactions that a post has
REACTION_BITS: Final = 12  # of a home's id, which say where it is in its bitmap

# Who may see a post, as the field `@for` says; without it everybody.
EVERYBODY: Final = b""
FOLLOWERS: Final = b"followers"
NAMED: Final = b"named"  # whom it mentions

# What is counted besides reactions, and what one of each is called. No reaction has such a name.
PLURALS: Final = {b"replies": "reply", b"reposts": "repost", b"quotes": "quote"}

_REACTION: Final = Struct("<BQB")
_NUMBER: Final = Struct("<Q")
_COUNTS: Final = Struct("<QQQ")
_THREE: Final = Struct(">QQQ")
_SIX: Final = Struct(">QQQQQQ")
_NAME: Final = re.compile(rb"(.+)/([1-9][0-9]{0,18})", re.DOTALL)


class Header:
    """What a post is, by its fields of the store. `reply` and `repost` name posts; they are empty
    for none. One that is `plain` reposts and says nothing itself.
    """

    __slots__ = ("audience", "mentions", "plain", "reply", "repost")

    def __init__(
        self,
        audience: bytes,
        reply: bytes = b"",
        repost: bytes = b"",
        *,
        plain: bool = False,
        mentions: Sequence[bytes] = (),
    ) -> None:
        self.audience = audience
        self.reply = reply
        self.repost = repost
        self.plain = plain
        self.mentions = mentions

    @property
    def kind(self) -> str:
        if self.plain:
            return "repost"
        return "reply" if self.reply else "post"


class Reaction(NamedTuple):
    """A kind of reaction that a post has: its number there, how many users have it, its name."""

    kind: int
    users: int
    name: bytes


class Counts(NamedTuple):
    """How many replies, plain reposts, quotes and reactions a post has."""

    replies: int
    reposts: int
    quotes: int
    reactions: tuple[Reaction, ...] = ()


class Link(NamedTuple):
    """A post names another: post `by_seq` of feed `by` names post `seq` of `feed`. It is thing
    number `ordinal` of commit `lsn`, see `fanout`.
    """

    feed: int
    seq: int
    lsn: int
    ordinal: int
    by: int
    by_seq: int


FOR_ALL: Final = Header(EVERYBODY)  # as nearly all posts are
NO_COUNTS: Final = Counts(0, 0, 0)


def header_of(payload: bytes) -> Header:
    """What a post in stored form is."""
    # Nearly all posts have no field of the store but their time, and to look for one byte costs a
    # fraction of what it costs to look for a word.
    at = payload.find(b"@")
    if at < 0 or (payload.startswith(b"@time", at) and payload.find(b"@", at + 1) < 0):
        return FOR_ALL
    if b"@for" not in payload and b"@re" not in payload:
        return FOR_ALL
    items = decode_items(payload)
    audience, reply, repost, plain = EVERYBODY, b"", b"", True
    mentions: list[bytes] = []
    for field, value in zip(items[::2], items[1::2], strict=True):
        if field[:1] != b"@":
            plain = False
        elif field == b"@for":
            audience = value
        elif field == b"@reply":
            reply = value
        elif field == b"@repost":
            repost = value
        elif field == b"@mentions":
            mentions.append(value)
    return Header(audience, reply, repost, plain=plain and bool(repost), mentions=mentions)


def post_name(author: bytes, seq: int) -> bytes:
    """`author/number`."""
    return b"%b/%d" % (author, seq)


def split_post_name(name: bytes) -> tuple[bytes, int] | None:
    """(author, number); None unless it is such a name."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match[1], int(match[2]))


# --- rows -----------------------------------------------------------------------------------------


def encode_repost(seq: int) -> bytes:
    return _NUMBER.pack(seq)


def decode_repost(value: bytes) -> int:
    try:
        seq: int = _NUMBER.unpack(value)[0]
    except StructError:
        raise _damaged("a repost") from None
    return seq


def encode_counts(counts: Counts) -> bytes:
    parts = [_COUNTS.pack(*counts[:3])]
    for kind, users, name in counts.reactions:
        parts += (_REACTION.pack(kind, users, len(name)), name)
    return b"".join(parts)


def decode_counts(value: bytes) -> Counts:
    reactions: list[Reaction] = []
    try:
        replies, reposts, quotes = _COUNTS.unpack_from(value)
        at = _COUNTS.size
        while at < len(value):
            kind, users, length = _REACTION.unpack_from(value, at)
            at += _REACTION.size
            name = value[at : at + length]
            if len(name) < length:
                raise _damaged("the counts of a post")
            at += length
            reactions.append(Reaction(kind, users, name))
    except StructError:
        raise _damaged("the counts of a post") from None
    return Counts(replies, reposts, quotes, tuple(reactions))


def _damaged(what: str) -> CorruptError:
    return CorruptError(f"the row of {what} is damaged: run `timeline verify`")


# --- keys -----------------------------------------------------------------------------------------


def link_key(family: bytes, link: Link) -> bytes:
    """The key of a reply or a quote."""
    return family + _SIX.pack(*link)


def split_link_key(key: bytes) -> Link:
    try:
        return Link(*_SIX.unpack(key[2:]))
    except StructError:
        raise _damaged("a reply or a quote") from None


def repost_key(feed: int, seq: int, by: int) -> bytes:
    return REPOST + _THREE.pack(feed, seq, by)


def split_repost_key(key: bytes) -> tuple[int, int, int]:
    """(feed, post, feed of whoever reposted it)."""
    try:
        feed, seq, by = _THREE.unpack(key[2:])
    except StructError:
        raise _damaged("a repost") from None
    return feed, seq, by


def counts_key(feed: int, seq: int) -> bytes:
    return COUNTS + keys.pair(feed, seq)


def reaction_key(feed: int, seq: int, kind: int, chunk: int) -> bytes:
    return reactions_of(feed, seq, kind) + keys.number(chunk)


def reactions_of(feed: int, seq: int, kind: int) -> bytes:
    """What the keys of all who have a reaction begin with."""
    return REACTION + keys.pair(feed, seq) + bytes((kind,))


def split_reaction_key(key: bytes) -> tuple[int, int, int, int]:
    """(feed, post, kind, chunk)."""
    if len(key) != 27:
        raise _damaged("a reaction")
    feed, seq = keys.split_pair(key[2:18])
    return feed, seq, key[18], keys.split_number(key[19:])
