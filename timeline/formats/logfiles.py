"""Files of the commit log: a header, then frames, then the zeros that the file was made of.

    file        header (512 bytes) · the same header (512 bytes) · frames
    header      magic 8 bytes · version u16 · reserved u16 · epoch u32 · first LSN u64 · time u64
                · salt 8 bytes · crc32c u32 over what is before it · zeros
    frame       first LSN u64 · last LSN u64 · size u32 · flags u32 · body crc u32 · frame crc u32
                · body · zeros up to the next multiple of 8

Little-endian. The body of a frame is a record (see `records`). The body crc covers salt ‖ body, the
frame crc covers the salt and the 28 bytes before it. A frame without a commit has a last LSN one
below its first.

Rule: the salt is random and differs from file to file. A user can send a message that holds the
bytes of a frame. They cannot know the salt, so such bytes are never taken for one.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

import numpy as np
from crc32c import crc32c

MAGIC: Final = b"TLINELOG"
VERSION: Final = 1
HEADER_BYTES: Final = 1024  # both copies; each has a sector of its own, so no write tears both
FRAME_BYTES: Final = 32  # of a frame without its body
ALIGNMENT: Final = 8  # every frame begins at a multiple of this

UNSYNCED: Final = 1  # a flag: the frame before it was perhaps not on the disk when it was written

_MOST_COMMITS: Final = np.uint64(2**32 - 1)  # of a record
_COPY_BYTES: Final = HEADER_BYTES // 2
_HEADER: Final = Struct("<8sHHIQQ8s")
_FRAME: Final = Struct("<QQIII")
_CRC: Final = Struct("<I")


class FileHeader(NamedTuple):
    epoch: int
    first: int  # the LSN of the first commit that the file may hold
    time: int  # when it was begun, in ms; nothing in the file before it is younger
    salt: bytes  # 8 bytes


class Frame(NamedTuple):
    """What stands before a body. The body begins `FRAME_BYTES` after the frame's place."""

    first: int  # the LSN of the first commit of the body
    last: int  # and of the last; one below `first` when there is none
    size: int  # of the body, in bytes
    flags: int
    crc: int  # of salt ‖ body


def encode_file_header(header: FileHeader) -> bytes:
    """The `HEADER_BYTES` that a file begins with. The salt is 8 bytes."""
    fields = _HEADER.pack(MAGIC, VERSION, 0, header.epoch, header.first, header.time, header.salt)
    one = (fields + _CRC.pack(crc32c(fields))).ljust(_COPY_BYTES, b"\0")
    return one + one


def decode_file_header(value: bytes) -> FileHeader | None:
    """The header in the first `HEADER_BYTES` of a file; None when neither copy is whole."""
    for at in (0, _COPY_BYTES):
        copy = value[at : at + _HEADER.size + _CRC.size]
        if len(copy) < _HEADER.size + _CRC.size:
            continue
        (crc,) = _CRC.unpack_from(copy, _HEADER.size)
        magic, version, _, epoch, first, time, salt = _HEADER.unpack_from(copy)
        if magic == MAGIC and version == VERSION and crc == crc32c(copy[: _HEADER.size]):
            return FileHeader(epoch, first, time, salt)
    return None


def file_version(value: bytes) -> int | None:
    """The version that the header names, known here or not; None when it is no header of ours."""
    return (
        _HEADER.unpack_from(value)[1] if value[:8] == MAGIC and len(value) >= _HEADER.size else None
    )


def possible_salts(value: bytes) -> list[bytes]:
    """The salts that the copies of a header name, of which perhaps neither is whole."""
    copies = [value[at : at + _HEADER.size] for at in (0, _COPY_BYTES)]
    return [_HEADER.unpack(copy)[-1] for copy in copies if len(copy) == _HEADER.size]


def salted(salt: bytes) -> int:
    """The crc of a salt, from which all crcs of its file go on."""
    return crc32c(salt)


def encode_frame(seed: int, first: int, last: int, flags: int, body: bytes) -> bytes:
    """What is written before `body`. `seed` is `salted` of the file."""
    fields = _FRAME.pack(first, last, len(body), flags, crc32c(body, seed))
    return fields + _CRC.pack(crc32c(fields, seed))


def padding(size: int) -> int:
    """How many zeros follow a body of `size` bytes."""
    return -(FRAME_BYTES + size) % ALIGNMENT


def framed_size(size: int) -> int:
    """The bytes that a body of `size` bytes takes in a file."""
    return FRAME_BYTES + size + padding(size)


def decode_frame(seed: int, value: bytes | memoryview, at: int = 0) -> Frame | None:
    """The frame at place `at` of `value`; None when there is none, or not a whole one. The body is
    not looked at: see `is_body`.
    """
    if at + FRAME_BYTES > len(value):
        return None
    (crc,) = _CRC.unpack_from(value, at + _FRAME.size)
    if crc != crc32c(value[at : at + _FRAME.size], seed):
        return None
    return Frame(*_FRAME.unpack_from(value, at))


def likely_frames(value: bytes) -> list[int]:
    """The places in `value`, at multiples of `ALIGNMENT`, at which a frame may begin: the rest
    holds numbers that no frame has. To search large files.
    """
    words = np.frombuffer(value, "<u8", len(value) // 8)
    if len(words) < FRAME_BYTES // 8:
        return []
    ends = words[1:-2]  # the place of the last LSN of a frame that begins one word before
    commits = ends + np.uint64(1) - words[:-3]
    return (np.flatnonzero((commits <= _MOST_COMMITS) & (words[:-3] > 0)) * ALIGNMENT).tolist()


def is_body(seed: int, frame: Frame, body: bytes | memoryview) -> bool:
    """Whether `body` is what `frame` was written for."""
    return len(body) == frame.size and crc32c(body, seed) == frame.crc
