"""RocksDB's write-ahead log: whether a last write that a power cut tore is all that is wrong.

RocksDB refuses a log whose last record lacks some sectors, just as it refuses damage in the middle.
The two differ in what follows. No group is written before the fsync of the one before it returned.
So no write begins after a torn one, and nothing that was acknowledged is lost with it.

Rule: where that is not certain, the log counts as damaged. Only stores of format 1 kept their
commit log there.
"""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import Final

from crc32c import crc32c

_BLOCK_BYTES: Final = 32_768  # no piece lies in two blocks
_HEADER = Struct("<IHB")  # masked checksum over kind and content, size of the content, kind
_MASK: Final = 0xA282EAD8
_BEGINS: Final = (1, 2)  # kinds of pieces with which a write begins: all of it, its first piece
_GOES_ON: Final = (3, 4)


def is_torn_at_the_end(directory: Path) -> bool:
    """Whether the logs in a directory are whole but for a last write."""
    contents = [file.read_bytes() for file in sorted(directory.glob("*.log"))]
    while contents and not contents[-1].strip(b"\0"):
        contents.pop()
    if not contents or any(_damage(each) is not None for each in contents[:-1]):
        return False
    last = contents[-1]
    at = _damage(last)
    return at is not None and not any(
        last[place + 6] in _BEGINS and _piece(last, place)
        for place in range(at + 1, len(last) - _HEADER.size)
    )


def _damage(content: bytes) -> int | None:
    """Where the first piece begins that is not whole, None when all are."""
    at = 0
    while at < len(content):
        left = _BLOCK_BYTES - at % _BLOCK_BYTES
        if left < _HEADER.size:
            at += left  # too little for a piece
            continue
        size = _piece(content, at)
        if not size:
            return at if content[at:].strip(b"\0") else None
        at += size
    return None


def _piece(content: bytes, at: int) -> int:
    """The size of the piece at a place with its header, 0 when there is none that is whole."""
    if len(content) - at < _HEADER.size:
        return 0
    crc, size, kind = _HEADER.unpack_from(content, at)
    end = at + _HEADER.size + size
    if (
        kind not in _BEGINS + _GOES_ON
        or end > len(content)
        or at % _BLOCK_BYTES + end - at > _BLOCK_BYTES
    ):
        return 0
    found = crc32c(content[at + 6 : end])
    masked = ((found >> 15 | found << 17) + _MASK) & 0xFFFFFFFF
    return end - at if masked == crc else 0
