"""State of notes: what others did to one post, or to one user, told to them together.

Rule: one row for a post and a kind of thing that others do to it. It keeps what cannot be found
elsewhere: when it was told, and who did it last. How many did it, the rows of posts and feeds say.

    group    first u64 · time u64 · LSN u64 · length u8 · name of the reaction · for each of those
             who did it last, the newest first: id u64 · number u64
             key: feed, post (0: it is done to the author themselves), kind u8
    seen     LSN u64 · LSN u64: up to where the owner of a home has seen posts and notes; key: home

`first` is when (ms) it began. `time` and `LSN` are those of the newest reference to it, 0 if there
was none. Integers in values are little-endian, in keys big-endian. A decoder raises
`CorruptError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple

from timeline.errors import CorruptError
from timeline.formats import keys

GROUP: Final = keys.OWN + b"G"
SEEN: Final = keys.OWN + b"S"
FAMILIES: Final = (GROUP, SEEN)

# Kinds of references in an in-box of notes, above those of homes. A reaction of kind k has the kind
# `REACTED` + k.
REPLIED: Final = 40
QUOTED: Final = 41
REPOSTED: Final = 42
FOLLOWED: Final = 43
REQUESTED: Final = 44
MENTIONED: Final = 45
REACTED: Final = 64
KINDS: Final = {
    REPLIED: "reply",
    QUOTED: "quote",
    REPOSTED: "repost",
    FOLLOWED: "follow",
    REQUESTED: "request",
    MENTIONED: "mention",
}
GROUPED: Final = (REPLIED, QUOTED, REPOSTED, FOLLOWED, REQUESTED)  # and reactions
OF_AUTHOR: Final = (FOLLOWED, REQUESTED)  # done to the author, not to a post

MOST_DOERS: Final = 20  # of those who did something last, that a group keeps

_GROUP: Final = Struct("<QQQB")
_DOER: Final = Struct("<QQ")
_SEEN: Final = Struct("<QQ")
_KEY: Final = Struct(">QQB")
_DOER_BYTES: Final = 16


class Doer(NamedTuple):
    """Who did something. `id` is the feed and `seq` the post with which they did it; else `id` is
    their home and `seq` is 0.
    """

    id: int
    seq: int


class GroupRow(NamedTuple):
    """`newest` are those who did it last, packed: see `doers_of`."""

    first: int
    time: int
    lsn: int
    reaction: bytes
    newest: bytes


class SeenRow(NamedTuple):
    """The last commits whose posts and whose notes were seen."""

    posts: int
    notes: int


NOTHING_SEEN: Final = SeenRow(0, 0)


def encode_group(row: GroupRow) -> bytes:
    reaction = row.reaction
    return _GROUP.pack(row.first, row.time, row.lsn, len(reaction)) + reaction + row.newest


def decode_group(value: bytes) -> GroupRow:
    try:
        first, time, lsn, length = _GROUP.unpack_from(value)
    except StructError:
        raise _damaged("what others did to a post") from None
    at = _GROUP.size + length
    newest = value[at:]
    if at > len(value) or not newest or len(newest) % _DOER_BYTES:
        raise _damaged("what others did to a post")
    return GroupRow(first, time, lsn, value[_GROUP.size : at], newest)


def with_doer(newest: bytes, doer: Doer) -> bytes:
    """Put somebody in front of those who did something last, once."""
    packed = _DOER.pack(*doer)
    if packed[:8] in newest:
        newest = pack_doers([each for each in doers_of(newest) if each.id != doer.id])
    return packed + newest[: (MOST_DOERS - 1) * _DOER_BYTES]


def pack_doers(doers: Iterable[Doer]) -> bytes:
    return b"".join([_DOER.pack(*each) for each in doers])


def doers_of(newest: bytes) -> list[Doer]:
    """Those who did something last, the newest first."""
    return [Doer._make(fields) for fields in _DOER.iter_unpack(newest)]


def encode_seen(row: SeenRow) -> bytes:
    return _SEEN.pack(*row)


def decode_seen(value: bytes) -> SeenRow:
    try:
        return SeenRow(*_SEEN.unpack(value))
    except StructError:
        raise _damaged("what a user has seen") from None


def _damaged(what: str) -> CorruptError:
    return CorruptError(f"the row of {what} is damaged: run `timeline verify`")


# --- keys -----------------------------------------------------------------------------------------


def group_key(feed: int, seq: int, kind: int) -> bytes:
    return GROUP + _KEY.pack(feed, seq, kind)


def split_group_key(key: bytes) -> tuple[int, int, int]:
    """(feed, post, kind)."""
    try:
        feed, seq, kind = _KEY.unpack(key[2:])
    except StructError:
        raise _damaged("what others did to a post") from None
    return feed, seq, kind


def seen_key(home: int) -> bytes:
    return SEEN + keys.number(home)
