"""State of feeds: keys that begin with `u` and a capital letter, and their rows.

Rule: as for conversations. Ids, never names: the id of an author is that of the timeline of their
posts, the id of a reader that of their home. Integers in values are little-endian, in keys
big-endian. A decoder raises `CorruptError`.

    feed       flags u8 · followers u64 · requests u64 · pinned post u64 · created u64 · id of its
               events u64 · stretches that are read-diffused
    home       flags u8 · following u64 · blocked u64
    follow     flags u8 · first u64 · head u64 · LSN of post `head` u64 · LSN of the follow u64 ·
               its time u64
    tie        flags u8 · LSN u64 · its time u64: what else a reader has with an author
    fields     the author's own, as settings of a conversation
    follower, request, block   nothing: the key says all

The keys of these three hold the complement of the LSN at which it began, so that the newest come
first.
"""

from __future__ import annotations

from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.memo import Memo
from timeline.formats.stretches import Stretch, decode_stretches, encode_stretches

# Sub-families of `u`: what the second byte of a key says.
FEED: Final = keys.OWN + b"A"  # feed → its row
HOME: Final = keys.OWN + b"H"  # home → its row
FOLLOW: Final = keys.OWN + b"F"  # home, feed → what the reader has of the feed
FOLLOWER: Final = keys.OWN + b"W"  # feed, ~LSN of the follow, home
REQUEST: Final = keys.OWN + b"N"  # feed, ~LSN of the request, home
TIE: Final = keys.OWN + b"T"  # home, feed → what else the reader has with the author
BLOCK: Final = keys.OWN + b"B"  # home, ~LSN of the block, feed
FIELDS: Final = keys.OWN + b"M"  # feed → fields of the author's own
FAMILIES: Final = (FEED, HOME, FOLLOW, FOLLOWER, REQUEST, TIE, BLOCK, FIELDS)

# Flags of a feed, of a home, of a follow, of a tie.
PROTECTED: Final = 1  # only followers see its posts, and a follow wants an answer
HAS_TIES: Final = 1  # it has, or had
NO_REPOSTS: Final = 1  # the home leaves out what the author reposts
NO_REPLIES: Final = 2
NOTIFY: Final = 4  # the reader wants to hear at once of what the author publishes
MUTED: Final = 1
BLOCKS: Final = 2  # the reader blocks the author
BLOCKED: Final = 4  # the author blocks the reader
REQUESTED: Final = 8  # the reader asked to follow the author

# Kinds of references in a home, above those of conversations.
POST: Final = 32
EDIT: Final = 33
DELETE: Final = 34
KINDS: Final = {POST: "post", EDIT: "edit", DELETE: "delete"}

_FEED: Final = Struct("<BQQQQQ")
_HOME: Final = Struct("<BQQ")
_FOLLOW: Final = Struct("<BQQQQQ")
_TIE: Final = Struct("<BQQ")
_THREE: Final = Struct(">QQQ")

# Rows of feeds that changed their way of diffusion often are large, and not worth keeping.
_SMALL_BYTES: Final = 512
_FEEDS: Final[Memo[FeedRow]] = Memo(16_384, _SMALL_BYTES)


class FeedRow(NamedTuple):
    """`requests` is how many ask to follow. `pinned` is the post that a profile shows first, 0 for
    none. `events` is the id of the timeline of what happened besides posts. `pulled` are the
    stretches that are read-diffused: a post in one of them is pulled by whoever reads it, even if
    it was delivered too.
    """

    flags: int
    followers: int
    requests: int
    pinned: int
    created: int
    events: int
    pulled: tuple[Stretch, ...]


class HomeRow(NamedTuple):
    """How many authors the owner of a home follows, and how many users they block."""

    flags: int
    following: int
    blocked: int


class FollowRow(NamedTuple):
    """What a reader has of a feed. `first`: the oldest post shown. `head`: the newest number at the
    time of the follow; no post up to it was made above commit `newest`. `lsn`, `since`: commit and
    time (ms) of the follow.
    """

    flags: int
    first: int
    head: int
    newest: int
    lsn: int
    since: int


class TieRow(NamedTuple):
    """What a reader has with an author besides a follow. `lsn`, `since`: commit and time (ms) at
    which they blocked the author, or asked to follow them; 0 when they did neither.
    """

    flags: int
    lsn: int
    since: int


NO_HOME: Final = HomeRow(0, 0, 0)
NO_TIE: Final = TieRow(0, 0, 0)


def _damaged(what: str) -> CorruptError:
    return CorruptError(f"the row of {what} is damaged: run `timeline verify`")


def encode_feed(row: FeedRow) -> bytes:
    value = _FEED.pack(*row[:6]) + encode_stretches(row.pulled)
    _FEEDS.keep(value, row)
    return value


def decode_feed(value: bytes) -> FeedRow:
    found = _FEEDS.get(value)
    if found is None:
        try:
            parts = _FEED.unpack_from(value)
            found = FeedRow._make((*parts, decode_stretches(value[_FEED.size :])))
        except (StructError, ValueError):
            raise _damaged("a feed") from None
        _FEEDS.keep(value, found)
    return found


def encode_home(row: HomeRow) -> bytes:
    return _HOME.pack(*row)


def decode_home(value: bytes) -> HomeRow:
    try:
        return HomeRow(*_HOME.unpack(value))
    except StructError:
        raise _damaged("a home") from None


def encode_follow(row: FollowRow) -> bytes:
    return _FOLLOW.pack(*row)


def decode_follow(value: bytes) -> FollowRow:
    try:
        return FollowRow(*_FOLLOW.unpack(value))
    except StructError:
        raise _damaged("a follow") from None


def encode_tie(row: TieRow) -> bytes:
    return _TIE.pack(*row)


def decode_tie(value: bytes) -> TieRow:
    try:
        return TieRow(*_TIE.unpack(value))
    except StructError:
        raise _damaged("what a reader has with an author") from None


# --- keys -----------------------------------------------------------------------------------------


def feed_key(feed: int) -> bytes:
    return FEED + keys.number(feed)


def home_key(home: int) -> bytes:
    return HOME + keys.number(home)


def follow_key(home: int, feed: int) -> bytes:
    return FOLLOW + keys.pair(home, feed)


def tie_key(home: int, feed: int) -> bytes:
    return TIE + keys.pair(home, feed)


def fields_key(feed: int) -> bytes:
    return FIELDS + keys.number(feed)


def listed_key(family: bytes, owner: int, lsn: int, other: int) -> bytes:
    """The key of a follower or a request, `owner` being the feed, or of a block, of a home."""
    return family + _THREE.pack(owner, keys.MAX - lsn, other)


def split_listed_key(key: bytes) -> tuple[int, int, int]:
    """(owner, LSN at which it began, the other)."""
    try:
        owner, complement, other = _THREE.unpack(key[2:])
    except StructError:
        raise _damaged("a list of users") from None
    return owner, keys.MAX - complement, other


def follower_key(feed: int, lsn: int, home: int) -> bytes:
    return listed_key(FOLLOWER, feed, lsn, home)


def split_follower_key(key: bytes) -> tuple[int, int, int]:
    """(feed, LSN of the follow, home)."""
    return split_listed_key(key)
