"""Damaged files of the log: what can still be read of them, and where the damage is.

Responsibility: walk over every frame of every file, past what is damaged, and say which LSNs are
missing there.

Rule: nothing is written, and damage ends nothing. What counts as damage, and what a power cut tore,
is as `opening` has it. That looks at what lies above the sealed LSN, and stops at the first damage.
Here all of it is looked at.

    header      two copies; one of them is enough
    frame       it is whole, and its first LSN follows the last one
    the rest    zeros, or what a power cut tore; in an older file what the next one holds too

How it fails: `StorageError` from the system, `FormatVersionError` for a file of a later version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from timeline.errors import FormatVersionError, StorageError
from timeline.formats.logfiles import (
    HEADER_BYTES,
    UNSYNCED,
    VERSION,
    FileHeader,
    encode_file_header,
    file_version,
    possible_salts,
)
from timeline.log.file import LogFile, first_of, refused


class Begin(NamedTuple):
    """A file begins here, so that what lies below its first LSN was written and perhaps let go."""

    first: int


class Whole(NamedTuple):
    """A record, as it was written."""

    where: Path
    first: int  # LSN
    last: int
    body: bytes


class Flaw(NamedTuple):
    """What is wrong somewhere, in words, and which LSNs are missing because of it."""

    text: str
    first: int = 0  # the lowest LSN that is missing there; 0: none is
    upto: int | None = 0  # the highest; one below `first` when only a record without a commit is
    torn: bool = False  # a power cut would leave it so, unless what was there was acknowledged


Piece = Begin | Whole | Flaw


class _File(NamedTuple):
    first: int  # LSN
    path: Path
    file: LogFile | None  # None: nothing tells what the salt of its frames is
    flaws: tuple[str, ...]


class SalvagedFiles:
    """The files of the log in `directory`, as they are when this is made. Its owner may go on
    writing and letting go.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        files = [_open(path) for path in _paths(directory)]
        self._files = sorted(file for file in files if file is not None)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def size(self) -> int:
        """Bytes of the files that can be read."""
        return sum(each.file.size for each in self._files if each.file is not None)

    def pieces(self, after: int, marked: int) -> Iterator[Piece]:
        """Records and flaws in the order in which they lie there, from the file on that holds what
        follows LSN `after`. Commits up to `marked` were acknowledged.
        """
        number = max(0, sum(each.first <= after + 1 for each in self._files) - 1)
        files = self._files[number:]
        for this, next_ in pairwise([*files, None]):
            assert this is not None
            below = None if next_ is None else next_.first
            yield from map(Flaw, this.flaws)
            if this.file is None:
                upto = None if below is None else below - 1
                if upto is None or upto >= this.first:
                    yield Flaw(f"nothing in {this.path} can be read", this.first, upto)
            else:
                yield Begin(this.first)
                yield from _walk(this.file, below, marked)


def _walk(file: LogFile, below: int | None, marked: int) -> Iterator[Piece]:
    """The same of one file. The next one, if there is one, begins with LSN `below`."""
    place, reached = HEADER_BYTES, file.header.first - 1
    while True:
        for frame, body in file.records(place):
            if frame.first != reached + 1:
                break
            if below is not None and frame.first >= below:
                return  # the next file holds it too
            yield Whole(file.path, frame.first, frame.last, body)
            place, reached = frame.end, frame.last
        if below is not None and reached + 1 >= below:
            return
        beyond = file.find_beyond(place)
        if beyond is not None and beyond.place == place and beyond.first == reached + 1:
            continue  # its owner has just written it
        if below is None and (beyond is None or (beyond.flags & UNSYNCED and reached >= marked)):
            if file.is_used(place):
                yield Flaw(_damaged(file, place), reached + 1, None, torn=True)
            return
        if beyond is None or (below is not None and beyond.first >= below):
            assert below is not None
            yield Flaw(_damaged(file, place), reached + 1, below - 1)
            return
        yield Flaw(_damaged(file, place), reached + 1, beyond.first - 1)
        place, reached = beyond.place, beyond.first - 1


def _damaged(file: LogFile, place: int) -> str:
    return f"{file.path} is damaged at byte {place}"


def _paths(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if first_of(path) is not None)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise refused(directory, error) from error


def _open(path: Path) -> _File | None:
    """A file and what is wrong with its header; None when it has just been let go."""
    named = first_of(path)
    assert named is not None
    try:
        raw = _header_of(path)
        file = LogFile.open(path, read_only=True)
    except (OSError, StorageError) as error:
        if not path.exists():
            return None
        raise error if isinstance(error, StorageError) else refused(path, error) from error
    if file is None:
        version = file_version(raw)
        if version is not None and version != VERSION:
            raise FormatVersionError(
                f"{path} has version {version}, this version of Timeline reads {VERSION}: use the "
                "one that wrote it"
            )
        flaw = f"{path} is damaged at byte 0: both copies of its header are"
        return _File(named, path, _guess(path, named, raw), (flaw,))
    flaws: tuple[str, ...] = ()
    if raw != encode_file_header(file.header):
        flaws += (f"{path} is damaged at byte 0: one of the two copies of its header is",)
    if file.header.first != named:
        flaws += (f"{path} begins at LSN {file.header.first}: it was renamed",)
    return _File(file.header.first, path, file, flaws)


def _header_of(path: Path) -> bytes:
    with path.open("rb") as read:
        return read.read(HEADER_BYTES)


def _guess(path: Path, first: int, raw: bytes) -> LogFile | None:
    """The file with the salt that a damaged header still names, if that is the one of its first
    frame.
    """
    for salt in possible_salts(raw):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise refused(path, error) from error
        file = LogFile(path, handle, FileHeader(0, first, 0, salt))
        if file.read(HEADER_BYTES) is not None:
            return file
    return None
