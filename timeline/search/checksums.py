"""Checksums: whether the files of an index are what was written.

Responsibility: read the files that the last commit names and compare each with the checksum that
tantivy puts at its end and does not look at itself; a flipped bit in a list of messages would just
make some of them missing.

    the content
    {"version": …, "crc": <crc32 of the content>}    JSON
    its length, the number 1337                      u32 each, little-endian

Rule: only what the commit names counts. What a kill left half written is not part of the index.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_TAIL: Final = struct.Struct("<II")
_MAGIC: Final = 1337
_CHUNK: Final = 1 << 20
_PARTS: Final = ("fast", "fieldnorm", "idx", "pos", "store", "term")


def verify(directory: Path) -> Iterator[None]:
    """Verify the index in `directory` as it is now, a mebibyte between two yields. What is merged
    away meanwhile is passed over. Raises `ValueError`, `OSError`.
    """
    return _verify(list(_files(directory)))


def _files(directory: Path) -> Iterator[Path]:
    for segment in json.loads((directory / "meta.json").read_bytes())["segments"]:
        name = segment["segment_id"].replace("-", "")
        yield from (directory / f"{name}.{part}" for part in _PARTS)
        if segment["deletes"] is not None:
            yield directory / f"{name}.{segment['deletes']['opstamp']}.del"


def _verify(paths: list[Path]) -> Iterator[None]:
    for path in paths:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            left, expected = _expected(file, path.name)
            crc = 0
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise ValueError(f"{path.name} is cut")
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
                yield
        if crc != expected:
            raise ValueError(f"{path.name} is damaged")


def _expected(file: BinaryIO, name: str) -> tuple[int, int]:
    """How long the content is, and its checksum; the file is left at its beginning."""
    size = file.seek(0, 2)
    if size < _TAIL.size:
        raise ValueError(f"{name} is cut")
    file.seek(size - _TAIL.size)
    length, magic = _TAIL.unpack(file.read())
    start = size - _TAIL.size - length
    if magic != _MAGIC or start < 0:
        raise ValueError(f"{name} is damaged at its end")
    file.seek(start)
    crc = json.loads(file.read(length))["crc"]
    file.seek(0)
    return start, int(crc)
