"""Keys of the column families, so that byte order is the order we read in.

Segments and in-box segments are keyed by their *last* position: one forward seek from
(id, wanted) lands on the segment that holds the wanted entry.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from timeline.errors import CorruptError

_PAIR: Final = Struct(">QQ")
_ONE: Final = Struct(">Q")

MAX: Final = 2**64 - 1
LAST: Final = 2**63 - 1  # the highest number given out: integers of RESP and clients are signed

# How keys of the `default` column family begin that are there for each of many.
CHECKPOINT: Final = b"checkpoint/"  # name of a follower → LSN it has reached
CHAPTER: Final = b"chapter/"  # in a store of format 1: what is kept of the sealed log

# Families of state, the first byte of every key in the `state` column family.
NAME: Final = b"n"  # name → id
ROW: Final = b"t"  # id → row of the timeline
META: Final = b"m"  # id → metadata of the timeline
RETENTION: Final = b"r"  # id → retention of the timeline
COUNT: Final = b"c"  # how many raw timelines there are
DELETED: Final = b"d"  # name of a deleted timeline → what it had given out, and when it went
DELETIONS: Final = b"e"  # the same names in the order in which they were deleted
AUDIENCE: Final = b"a"  # audience id, in-box id → spans of membership
OWN: Final[bytes] = b"u"  # everything the layers above keep, see `conversations`
FAMILIES: Final = (NAME, ROW, META, RETENTION, COUNT, DELETED, DELETIONS, AUDIENCE, OWN)


def pair(timeline_id: int, position: int) -> bytes:
    """Key of a segment, an in-box segment or a patch: id ‖ position, both u64 big-endian."""
    return _PAIR.pack(timeline_id, position)


def split_pair(key: bytes) -> tuple[int, int]:
    """(id, position) of a key. Raises `CorruptError` for anything else."""
    if len(key) != _PAIR.size:
        raise CorruptError(f"{key!r} is no pair of an id and a position: run `timeline verify`")
    timeline_id, position = _PAIR.unpack(key)
    return timeline_id, position


def number(value: int) -> bytes:
    """Key of a log record (its last LSN), or an id inside a key of state."""
    return _ONE.pack(value)


def split_number(key: bytes) -> int:
    """The number in a key or value of 8 bytes. Raises `CorruptError` for anything else."""
    if len(key) != _ONE.size:
        raise CorruptError(f"{key!r} is no number of 8 bytes: run `timeline verify`")
    (value,) = _ONE.unpack(key)
    return int(value)


def successor(prefix: bytes) -> bytes:
    """The first key that is above every key beginning with `prefix`."""
    trimmed = prefix.rstrip(b"\xff")
    if not trimmed:
        return b"\xff" * (len(prefix) + 16)
    return trimmed[:-1] + bytes((trimmed[-1] + 1,))
