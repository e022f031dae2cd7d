"""The directory of a store: what lies in it, and whether one may be opened or made there.

    rocks/        what RocksDB keeps: all that is sealed
    log/          the commit log
    MARK          the durable mark
    LOCK          held by the process that may change the store
    checkpoint/   only there during a backup: what is being copied

Rule: nothing is made in a directory that holds anything else, and a directory that once held a
store is never treated as empty: the store would be lost without an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from timeline.errors import CorruptError, FormatVersionError, NotFoundError, StorageError, reason
from timeline.formats.manifest import MANIFEST
from timeline.formats.rows import FORMAT, StoreRow, decode_store
from timeline.storage.files import PRIVATE

STORE_KEY: Final = b"store"
LOADED_KEY: Final = b"loaded"  # how far a load has come, while there is no store yet
ROCKS: Final = "rocks"
LOG: Final = "log"
FORMER_FORMAT: Final = 1  # the log is in RocksDB
MARK: Final = "MARK"
LOCK: Final = "LOCK"  # of the process that may change the store; RocksDB's is elsewhere
CHECKPOINT: Final = "checkpoint"  # what is being backed up
_ALL: Final = os.R_OK | os.W_OK | os.X_OK


def prepare_directory(path: Path, *, create: bool) -> None:
    """Make sure that `path` is a store or may become one.

    Raises `NotFoundError` when it is none and `create` is off, `CorruptError` when it was one,
    `FormatVersionError` when it holds something else, `StorageError` when it is no directory, or
    not one to write to.
    """
    try:
        _prepare(path, create=create)
    except (FileExistsError, NotADirectoryError):
        raise StorageError(f"{path} is no directory: name one for the store") from None
    except PermissionError:
        # Its own files are another's where its owner let somebody else into the directory alone.
        barred = path / ROCKS if os.access(path, _ALL) else path
        raise StorageError(
            f"no permission to write to {barred}: run as its owner, or choose another directory"
        ) from None
    except OSError as error:
        raise StorageError(f"{path} cannot hold a store: {reason(error)}") from error


def _prepare(path: Path, *, create: bool) -> None:
    if not (path / ROCKS / "CURRENT").exists():
        if not create or has_gone(path) or (path / MANIFEST).is_file():
            raise no_store(path)
        if path.exists() and any(entry.name not in (ROCKS, MARK, LOCK) for entry in path.iterdir()):
            raise FormatVersionError(
                f"{path} is not empty and is no Timeline store: choose another directory"
            )
    path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    if not os.access(path, _ALL):
        raise PermissionError
    (path / ROCKS).mkdir(mode=PRIVATE, exist_ok=True)  # RocksDB would let others in


def no_store(path: Path) -> NotFoundError | CorruptError:
    """What to raise of a directory that cannot be opened as a store: what it is instead."""
    if has_gone(path):
        return CorruptError(
            f"{path / ROCKS / 'CURRENT'} has gone: restore a backup, or keep what can be kept with "
            "`timeline repair`"
        )
    if (path / MANIFEST).is_file():
        return NotFoundError(f"{path} is a backup: make a store of it with `timeline restore`")
    return NotFoundError(f"{path} is no Timeline store")


def damaged(error: CorruptError) -> CorruptError:
    """The same of a store that cannot be opened, with what to do."""
    return CorruptError(
        f"{error}: restore a backup, or keep what can be kept with `timeline repair`"
    )


def check_never_used(path: Path, marked: int) -> None:
    """Raise `CorruptError` unless the directory of what does not say that it is a store may become
    one: there is no log of it, and nothing was marked as durable.
    """
    if marked or any((path / LOG).glob("*.log")):
        raise damaged(
            CorruptError(f"{path / ROCKS}: all that it held has gone, and its log has not")
        )


def has_gone(path: Path) -> bool:
    """Whether there are files of a store and not the one by which it is opened. A repair in place
    that was killed leaves it so.
    """
    rocks = path / ROCKS
    found = ((ROCKS, "MANIFEST-*"), (ROCKS, "*.sst"), (LOG, "*.log"), (".", f"{ROCKS}.damaged*"))
    there = any(any((path / folder).glob(pattern)) for folder, pattern in found)
    return there and not (rocks / "CURRENT").exists()


def store_row(value: bytes, path: Path) -> StoreRow:
    """What a store says it is, of this format or the former. Raises `FormatVersionError`,
    `CorruptError`.
    """
    row = decode_store(value)
    if row.format not in (FORMER_FORMAT, FORMAT):
        raise FormatVersionError(
            f"{path} has format {row.format}, this version reads {FORMER_FORMAT} and {FORMAT}: use "
            "the version of Timeline that wrote it, or export and import"
        )
    return row


def to_move_on(path: Path) -> FormatVersionError:
    """What to raise of a store of the former format that is only to be read."""
    return FormatVersionError(
        f"{path} has format {FORMER_FORMAT}: open it once for writing, and it is moved on to "
        f"format {FORMAT}"
    )


def random_epoch(before: int = 0) -> int:
    """An epoch, and another one than `before`."""
    while (epoch := int.from_bytes(os.urandom(4), "big")) in (0, before):
        pass
    return epoch
