"""The durable mark: a small file that says up to which LSN commits were made durable.

Responsibility: let an opening see that the log is missing its end. A log that was cut between two
records looks like a whole one.

Rule: the mark is written after a flush, without an fsync of its own, so it is never ahead of the
log. Two slots are written in turn, each with a checksum, so that a torn write costs one step, not
the mark.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from timeline.errors import StorageError, reason
from timeline.formats.rows import decode_mark, encode_mark

_SLOT_BYTES: Final = (
    512  # bytes from one slot to the next: a sector each, so that no write tears both
)
_MARK_BYTES: Final = len(encode_mark(0))  # bytes of a slot that are used
_FILE_BYTES: Final = _SLOT_BYTES + _MARK_BYTES  # bytes of the file


class DurableMark:
    def __init__(self, path: Path) -> None:
        """Raises `StorageError` when the file cannot be opened or made."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{path} cannot be opened: {reason(error)}") from error
        self._turn = 0

    def read(self) -> int:
        """The highest LSN marked, 0 when there is none."""
        return _decode(os.pread(self._file, _FILE_BYTES, 0)).lsn

    def write(self, lsn: int) -> None:
        """Mark `lsn`. Raises `StorageError` when the file cannot be written."""
        self._turn ^= 1
        try:
            os.pwrite(self._file, encode_mark(lsn), self._turn * _SLOT_BYTES)
        except OSError as error:
            raise StorageError(f"the durable mark cannot be written: {reason(error)}") from error

    def close(self) -> None:
        os.close(self._file)


class MarkContent(NamedTuple):
    """What a mark says: the highest LSN, 0 when there is none, and the slots (0, 1) that are
    damaged.
    """

    lsn: int
    damaged: tuple[int, ...]


def read_mark(path: Path) -> MarkContent | None:
    """The mark in a file that is not to be changed, None when there is no file. Raises
    `StorageError`.
    """
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}") from error


def _decode(content: bytes) -> MarkContent:
    slots = [content[at : at + _MARK_BYTES] for at in (0, _SLOT_BYTES)]
    found = [decode_mark(slot) for slot in slots]
    damaged = [
        number
        for number, (slot, lsn) in enumerate(zip(slots, found, strict=True))
        if lsn is None and slot.strip(b"\0")  # else it was never written
    ]
    return MarkContent(max(lsn or 0 for lsn in found), tuple(damaged))
