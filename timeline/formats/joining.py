"""Stored segments taken together without decoding them: what compaction does most.

Rule: the layout is that of `segments`. Columns and payloads are copied as they are, which costs a
fraction of decoding. What goes into a joined segment was verified; what a span says was not.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

from crc32c import crc32c

from timeline.formats.keys import split_pair
from timeline.formats.segments import SPARSE, VERSION, damaged

_HEADER_BYTES: Final = 4  # version u8, flags u8, count u16
_CRC_BYTES: Final = 4
_ENTRY_BYTES: Final = 20  # of an entry in the columns
_NUMBER_BYTES: Final = 8  # of its number, when SPARSE
_SOUND: Final = crc32c(bytes(_CRC_BYTES))  # the CRC of anything with its own CRC behind it


def span_of(key: bytes, value: bytes) -> tuple[int, int, int, bool]:
    """What a stored segment says of itself: its first number, how many entries it has, the bytes of
    their payload, and whether their numbers are contiguous. Verify it where that is relied on.
    """
    if len(value) < _HEADER_BYTES + _CRC_BYTES:
        raise damaged(key)
    count = value[2] | value[3] << 8
    payload = len(value) - _HEADER_BYTES - _CRC_BYTES - _ENTRY_BYTES * count
    if not value[1] & SPARSE:
        first = split_pair(key)[1] - count + 1
        if first < 0:
            raise damaged(key)
        return first, count, payload, True
    numbers = _HEADER_BYTES + 16 * count
    first = int.from_bytes(value[numbers : numbers + _NUMBER_BYTES], "little")
    return first, count, payload - _NUMBER_BYTES * count, False


def join_segments(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """Stored segments of one timeline as a single one: (key, value). Each is to end where the next
    begins, and none may be SPARSE. Raises `CorruptError` for one that is damaged.
    """
    times: list[bytes] = []
    lsns: list[bytes] = []
    payloads: list[bytes] = []
    ends = array("I")
    size = 0
    for key, value in pairs:
        if len(value) < _HEADER_BYTES + _CRC_BYTES or crc32c(value, crc32c(key)) != _SOUND:
            raise damaged(key)
        count = value[2] | value[3] << 8
        middle = _HEADER_BYTES + 8 * count
        upto = middle + 8 * count
        base = upto + 4 * count
        part = array("I", value[upto:base])
        if value[0] != VERSION or value[1] & SPARSE or len(part) != count or not count:
            raise damaged(key)
        end: int = part[-1]
        if base + end + _CRC_BYTES != len(value):
            raise damaged(key)
        times.append(value[_HEADER_BYTES:middle])
        lsns.append(value[middle:upto])
        payloads.append(value[base:-_CRC_BYTES])
        ends.extend([size + each for each in part] if size else part)
        size += end
    key = pairs[-1][0]
    header = bytes((VERSION, 0)) + len(ends).to_bytes(2, "little")
    body = b"".join([header, *times, *lsns, ends.tobytes(), *payloads])
    return key, body + crc32c(body, crc32c(key)).to_bytes(_CRC_BYTES, "little")
