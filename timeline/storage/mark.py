"""The durable mark: a small file that says up to which LSN commits were made durable.

Responsibility: let an opening see that the log is missing its end. RocksDB takes a WAL that was
cut on the border of a record for a whole one; the mark knows better.

Rule: written after a flush, without an fsync of its own, so it is never ahead of the log. Two
slots are written in turn, each with a checksum, so that a torn write costs one step, not the mark.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from timeline.errors import StorageError
from timeline.formats.rows import decode_mark, encode_mark

_SLOT: Final = 512  # a sector each, so that no write can tear both


class DurableMark:
    def __init__(self, path: Path) -> None:
        """Raises `StorageError` when the file cannot be opened or made."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be opened ({error.strerror}): run as the owner of the store"
            ) from error
        self._turn = 0
        self.size = len(encode_mark(0))

    def read(self) -> int:
        """The highest LSN marked, 0 when there is none."""
        return _highest([os.pread(self._file, self.size, at) for at in (0, _SLOT)])

    def write(self, lsn: int) -> None:
        """Mark `lsn`. Raises `StorageError` when the file cannot be written."""
        self._turn ^= 1
        try:
            os.pwrite(self._file, encode_mark(lsn), self._turn * _SLOT)
        except OSError as error:
            raise StorageError(f"the durable mark cannot be written: {error}") from error

    def close(self) -> None:
        os.close(self._file)


def read_mark(path: Path) -> int:
    """The highest LSN marked in a file that is not to be changed, 0 when there is none. Raises
    `StorageError`.
    """
    size = len(encode_mark(0))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    return _highest([content[at : at + size] for at in (0, _SLOT)])


def _highest(slots: list[bytes]) -> int:
    return max(decode_mark(slot) or 0 for slot in slots)
