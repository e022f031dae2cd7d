"""References: what an in-box holds instead of a copy of a message.

    reference   LSN u64 · timeline id u64 · seq u64 · kind u8 · ordinal u32
                (29 bytes, little-endian)
    floor       LSN u64 · crc32c u32 over the key and it; stored under in-box id ‖ 0
    segment     version u8 · reserved u8 × 3 · count u32 · references · crc32c u32 over the key
                and everything before it; stored under in-box id ‖ LSN of its last reference
    compact     version 3: the references compressed by zlib. First the lowest byte of each LSN,
                then the next byte of each, and so on to the last byte of each ordinal. Each byte
                less that of the reference before, modulo 256.

References of one commit share its LSN. Their ordinals differ: how many things the commit had made
before each. A segment never ends between them. In version 1 of a segment references have no ordinal
(25 bytes). They are read as if it were 0.

In-boxes with the same references, as members of a large group have them, get compact segments:
these are made one time for all of them, and have some hundredth of the size.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple
from zlib import compress, decompressobj, error as ZlibError  # noqa: N812  it is a class

import numpy as np
from crc32c import crc32c

from timeline.errors import CorruptError
from timeline.formats.keys import split_pair
from timeline.formats.numbers import Lsn, Seq, TimelineId

VERSION: Final = 2
COMPACT: Final = 3  # the version of a compact segment

_REFERENCE: Final = Struct("<QQQBI")
_OLD_BYTES: Final = 25  # of a reference of version 1
_HEADER: Final = Struct("<B3xI")
_CRC: Final = Struct("<I")
SIZE: Final = _REFERENCE.size  # bytes of a reference
_ORDINAL_0: Final = bytes(4)  # ordinal 0

# The kind of a reference that stands for a stretch: the entries of a timeline from `seq` on, up to
# those of its commit, which the reader gets in its place. `conversations` has the other kinds.
REPLAY: Final = 255


Fields = tuple[Lsn, TimelineId, Seq, int, int]  # those of a `Reference`


class Reference(NamedTuple):
    """Commit `lsn` wrote, edited, … (`kind`) entry `seq` of timeline `timeline_id`. It had made
    `ordinal` things before.
    """

    lsn: Lsn
    timeline_id: TimelineId
    seq: Seq
    kind: int
    ordinal: int


def encode_reference(
    lsn: Lsn, timeline_id: TimelineId, seq: Seq, kind: int, ordinal: int = 0
) -> bytes:
    return _REFERENCE.pack(lsn, timeline_id, seq, kind, ordinal)


def decode_references(packed: bytes) -> list[Reference]:
    """Every reference of a packed array, in order."""
    return [Reference._make(fields) for fields in _REFERENCE.iter_unpack(packed)]


def references_above(packed: bytes, lsn: int, most: int) -> list[Fields]:
    """The fields of references above LSN `lsn` of a packed array: the first `most`, and the others
    of the last one's commit.
    """
    count = len(packed) // SIZE

    def lsn_at(index: int) -> int:
        return int.from_bytes(packed[index * SIZE : index * SIZE + 8], "little")

    start = bisect_right(range(count), lsn, key=lsn_at)
    stop = min(count, start + most)
    while 0 < stop < count and lsn_at(stop) == lsn_at(stop - 1):
        stop += 1
    return list(_REFERENCE.iter_unpack(packed[start * SIZE : stop * SIZE]))


def references_below(packed: bytes, lsn: int, most: int) -> list[Fields]:
    """The fields of references up to and including LSN `lsn` of a packed array: those of that
    commit, the last `most` before it, and the others of the first one's commit.
    """
    count = len(packed) // SIZE

    def lsn_at(index: int) -> int:
        return int.from_bytes(packed[index * SIZE : index * SIZE + 8], "little")

    stop = bisect_right(range(count), lsn, key=lsn_at)
    start = max(0, bisect_left(range(stop), lsn, key=lsn_at) - most)
    while 0 < start < stop and lsn_at(start) == lsn_at(start - 1):
        start -= 1
    return list(_REFERENCE.iter_unpack(packed[start * SIZE : stop * SIZE]))


def lsn_of(reference: bytes) -> int:
    return int.from_bytes(reference[:8], "little")


def encode_references(key: bytes, references: Sequence[bytes]) -> bytes:
    return finish_references(key, begin_references(references))


def begin_references(references: Sequence[bytes]) -> bytes:
    """What the segments of all in-boxes with these references have in common."""
    return b"".join((_HEADER.pack(VERSION, len(references)), *references))


def compact_references(begun: bytes) -> bytes:
    """What `begin_references` gave, compact. It takes four times as long to make, so it pays where
    many in-boxes have it.
    """
    rows = np.frombuffer(begun, np.uint8, offset=_HEADER.size).reshape(-1, SIZE)
    steps = rows.copy()
    steps[1:] -= rows[:-1]
    return _HEADER.pack(COMPACT, len(rows)) + compress(steps.T.tobytes(), 1)


def _expanded(compressed: bytes, count: int) -> bytes:
    """The packed array in a compact segment. Raises `ValueError`."""
    try:
        steps = decompressobj().decompress(compressed, count * SIZE + 1)
    except ZlibError as error:
        raise ValueError from error
    if not steps or len(steps) != count * SIZE:
        raise ValueError
    rows = np.frombuffer(steps, np.uint8).reshape(SIZE, count)
    packed: bytes = np.add.accumulate(rows, axis=1, dtype=np.uint8).T.tobytes()
    return packed


def finish_references(key: bytes, begun: bytes) -> bytes:
    """The segment under `key`, of what `begin_references` gave."""
    return begun + _CRC.pack(crc32c(begun, crc32c(key)))


def packed_references(key: bytes, value: bytes) -> bytes:
    """The packed array of a stored in-box segment. Raises `CorruptError`."""
    try:
        version, count = _HEADER.unpack_from(value)
        (crc,) = _CRC.unpack_from(value, len(value) - 4)
        packed = value[_HEADER.size : -4]
        if crc != crc32c(memoryview(value)[:-4], crc32c(key)):
            raise ValueError
        if version == COMPACT:
            return _expanded(packed, count)
        size = {1: _OLD_BYTES, VERSION: SIZE}.get(version)
        if size is None or len(packed) != count * size:
            raise ValueError
    except (StructError, ValueError):
        inbox_id, last = split_pair(key)
        raise CorruptError(
            f"the references of in-box {inbox_id} up to LSN {last} are damaged: "
            "run `timeline verify`, then restore a backup or run `timeline repair`"
        ) from None
    if version == 1:
        starts = range(0, len(packed), _OLD_BYTES)
        packed = b"".join([packed[at : at + _OLD_BYTES] + _ORDINAL_0 for at in starts])
    return packed


def count_references(value: bytes) -> int:
    """How many references a stored in-box segment says it holds; it is not verified."""
    return int.from_bytes(value[4:8], "little")


def encode_floor(key: bytes, lsn: int) -> bytes:
    """The floor of an in-box that holds as many references as it may."""
    body = lsn.to_bytes(8, "little")
    return body + _CRC.pack(crc32c(body, crc32c(key)))


def decode_floor(key: bytes, value: bytes) -> Lsn:
    """Raises `CorruptError`."""
    lsn = Lsn(int.from_bytes(value[:8], "little"))
    if value != encode_floor(key, lsn):
        raise CorruptError(
            f"the floor of in-box {split_pair(key)[0]} is damaged: run `timeline verify`, then "
            "restore a backup or run `timeline repair`"
        )
    return lsn


def cut_references(references: Sequence[bytes], most: int) -> Iterator[Sequence[bytes]]:
    """Cut into runs of about `most`, never between references of one commit."""
    start = 0
    while len(references) - start > most:
        stop = start + most
        lsn = references[stop - 1][:8]
        while stop < len(references) and references[stop][:8] == lsn:
            stop += 1
        yield references[start:stop]
        start = stop
    if start < len(references):
        yield references[start:]


def cut_back(references: Sequence[bytes], stop: int, most: int) -> Iterator[Sequence[bytes]]:
    """Cut those before number `stop` into runs of about `most`, the last run first, never between
    references of one commit.
    """
    while stop > 0:
        start = max(0, stop - most)
        lsn = references[start][:8]
        while start > 0 and references[start - 1][:8] == lsn:
            start -= 1
        yield references[start:stop]
        stop = start
