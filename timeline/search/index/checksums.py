"""Checksums: whether the files of an index are what was written.

Responsibility: compare each file that the last commit names with the checksum at its end. Tantivy
writes that checksum but does not check it: after a flipped bit some messages would just be missing.
A file ends like this:

    the content
    {"version": …, "crc": <crc32 of the content>}    JSON
    the length of the JSON, the number 1337          u32 each, little-endian

The checksum shows that a file is whole, but not that it is the right file: a copy of another file
of the same kind is whole too. So after each commit the checksums of all files are noted next to
them, in `checksums.json`. An opening compares the files with that list. Tantivy never uses a file
name again.

Rule: only files that the commit names count; what a kill left half written is no part of the index.
A file that is not in the list is accepted as it is: tantivy merged it, or a kill came before it was
noted. If the list itself cannot be read, all files are accepted as they are.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

_TAIL: Final = struct.Struct("<II")
_MAGIC: Final = 1337
_CHUNK_BYTES: Final = 1 << 20  # read at a time
_LIST: Final = "checksums.json"
_PARTS: Final = ("fast", "fieldnorm", "idx", "pos", "store", "term")


def verify(directory: Path) -> Iterator[None]:
    """Check the files of the index in `directory` as it is now, a mebibyte between two yields.
    Files that are merged away meanwhile are passed over. Raises `ValueError`, `OSError`.
    """
    identify(directory)
    return _verify(list(_files(directory)))


def identify(directory: Path) -> None:
    """Compare the checksums in the files of an index with those in the list. Raises `ValueError`,
    `OSError`.
    """
    noted = _noted(directory)
    for path in _files(directory) if noted else ():
        known, borne = noted.get(path.name), _borne(path)
        if known is not None and borne is not None and known != borne:
            raise ValueError(f"{path.name} is another file than was written")


def note(directory: Path) -> None:
    """Note the checksums of all files that the last commit names. Raises `ValueError`, `OSError`.

    A checksum that is noted stays, since files never change. The list is not fsynced: after a power
    cut it may name fewer files.
    """
    noted = _noted(directory)
    now = {path.name: noted.get(path.name) or _borne(path) for path in _files(directory)}
    known = {name: borne for name, borne in now.items() if borne is not None}
    if known != noted:
        place = directory / f"{_LIST}.new"
        place.write_text(json.dumps(known))
        place.replace(directory / _LIST)


def _noted(directory: Path) -> dict[str, int]:
    """The list, by file name; empty when it cannot be read."""
    with suppress(OSError, ValueError):
        found = json.loads((directory / _LIST).read_bytes())
        if isinstance(found, dict):
            return {name: crc for name, crc in found.items() if isinstance(crc, int)}
    return {}


def _borne(path: Path) -> int | None:
    """The checksum at the end of a file; None when there is no such file."""
    try:
        with path.open("rb") as file:
            return _expected(file, path.name)[1]
    except FileNotFoundError:
        return None


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
                chunk = file.read(min(_CHUNK_BYTES, left))
                if not chunk:
                    raise ValueError(f"{path.name} is cut")
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
                yield
        if crc != expected:
            raise ValueError(f"{path.name} is damaged")


def _expected(file: BinaryIO, name: str) -> tuple[int, int]:
    """The length of the content, and its checksum. Leaves `file` at its beginning."""
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
