"""Checksums: whether the files of an index are what was written.

Responsibility: read the files that the last commit names and compare each with the checksum that
tantivy puts at its end and does not look at itself; a flipped bit in a list of messages would just
make some of them missing.

    the content
    {"version": …, "crc": <crc32 of the content>}    JSON
    its length, the number 1337                      u32 each, little-endian

That says that a file is whole, not that it is this one: a file copied over another of the same kind
is whole too. So the checksums of all files are noted in a list beside them after each commit
(`checksums.json`), by names that are never used again, and compared with when an index is opened.

Rule: only what the commit names counts. What a kill left half written is not part of the index. The
list vouches for what it names and for nothing else: a file that is not in it (tantivy merged it, or
a kill came before it was noted) is taken as it is, and so are all when the list cannot be read.
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
_CHUNK: Final = 1 << 20
_LIST: Final = "checksums.json"
_PARTS: Final = ("fast", "fieldnorm", "idx", "pos", "store", "term")


def verify(directory: Path) -> Iterator[None]:
    """Verify the index in `directory` as it is now, a mebibyte between two yields. What is merged
    away meanwhile is passed over. Raises `ValueError`, `OSError`.
    """
    identify(directory)
    return _verify(list(_files(directory)))


def identify(directory: Path) -> None:
    """Compare the checksums that the files of an index bear with those that were noted. Raises
    `ValueError`, `OSError`.
    """
    noted = _noted(directory)
    for path in _files(directory) if noted else ():
        known, borne = noted.get(path.name), _borne(path)
        if known is not None and borne is not None and known != borne:
            raise ValueError(f"{path.name} is another file than was written")


def note(directory: Path) -> None:
    """Note the checksums of all files that the last commit names. Raises `ValueError`, `OSError`.

    What was noted of a file stays: it never changes. Nothing is synced: a list that a power cut
    takes back names fewer files.
    """
    noted = _noted(directory)
    now = {path.name: noted.get(path.name) or _borne(path) for path in _files(directory)}
    known = {name: borne for name, borne in now.items() if borne is not None}
    if known != noted:
        place = directory / f"{_LIST}.new"
        place.write_text(json.dumps(known))
        place.replace(directory / _LIST)


def _noted(directory: Path) -> dict[str, int]:
    """What was noted, by name; nothing when that cannot be read."""
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
