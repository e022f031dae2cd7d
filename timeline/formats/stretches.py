"""Stretches: parts of a conversation or a feed, by numbers.

stretch   first u64 · last u64 · first event u64 · last event u64 · ended LSN u64
(40 bytes, little-endian); a row ends with any number of them
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from timeline.formats import keys

OPEN: Final = keys.MAX  # the end of a stretch that has not ended

_STRETCH: Final = Struct("<QQQQQ")


class Stretch(NamedTuple):
    """Part of a conversation or a feed: messages or posts, and events, by number, both ends
    inclusive, and the LSN at which it ended (`OPEN`: it has not). One whose numbers are 0 holds
    nothing: it replaces forgotten stretches; the last of them ended at `ended`.
    """

    first: int
    last: int
    first_event: int
    last_event: int
    ended: int

    @property
    def forgotten(self) -> bool:
        return self.first == 0


def is_open(stretches: Sequence[Stretch]) -> bool:
    """Whether the last of them has not ended, so that what they stand for is so now."""
    return bool(stretches) and stretches[-1].ended == OPEN


def encode_stretches(stretches: Sequence[Stretch]) -> bytes:
    return b"".join([_STRETCH.pack(*stretch) for stretch in stretches])


def decode_stretches(value: bytes) -> tuple[Stretch, ...]:
    """Raises `struct.error` unless `value` is made of whole stretches."""
    return tuple([Stretch(*parts) for parts in _STRETCH.iter_unpack(value)])
