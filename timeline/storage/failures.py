"""What RocksDB says went wrong, as an error of ours.

Rule: RocksDB's errors differ in their text only. It is read here and nowhere else. An error that no
rule fits becomes a `StorageError` with RocksDB's own words.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NoReturn

from rocksdict import DbClosedError

from timeline.errors import (
    ClosedError,
    CorruptError,
    LockedError,
    StallError,
    StorageError,
    TimelineError,
)

_LOCKED = re.compile(r"lock hold by current process|While lock file|lock file", re.IGNORECASE)
_KINDS = re.compile(r"^(?:(?:Corruption|IO error|Invalid argument|Not implemented): )+")
_MISSING = re.compile(r"(/[^:]*): No such file or directory")


def translate(error: Exception, path: Path) -> NoReturn:
    """Raise the error of ours that `error`, of the database at `path`, stands for."""
    if isinstance(error, TimelineError):
        raise error
    said = str(error).partition("  The file ")[0]  # its guess at another that may be to blame
    text = _KINDS.sub("", said).strip()
    if isinstance(error, (DbClosedError, KeyError)) or "DB already closed" in text:
        raise ClosedError(
            "the store is not open: it was closed, or is to be opened again after a failure"
        ) from error
    if _LOCKED.search(text):
        raise LockedError(
            f"{path} is in use by another process: stop it, or talk to it over the network"
        ) from error
    if "Write stall" in text:
        raise StallError("the disk cannot keep up: try again later") from error
    if "Permission denied" in text:
        raise StorageError(
            f"no permission for a file in {path}: run as its owner, or have root give back what it "
            f"made there ({text})"
        ) from error
    if missing := _MISSING.search(text):
        raise CorruptError(f"{path}: a file of the store is missing: {missing[1]}") from error
    if "Column family not found" in text:
        raise CorruptError(
            f"{path}: its MANIFEST does not know all of the store: {text}"
        ) from error
    if "Corruption" in said or "checksum mismatch" in text.lower():
        raise CorruptError(f"{path}: RocksDB found damage: {text}") from error
    if "No space left on device" in text:
        raise StorageError(_room_for(path)) from error
    if "File too large" in text:
        raise StorageError(
            f"a file in {path} may not grow any more: raise the limit of file sizes (`ulimit -f`, "
            "LimitFSIZE)"
        ) from error
    raise StorageError(f"{path}: {text}") from error


def _room_for(path: Path) -> str:
    """What there is none of on a disk that takes no more, and what to do."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return f"the disk of {path} is full: free some space"
    if disk.f_files and not disk.f_ffree:
        return f"the disk of {path} takes no more files: remove some, or make it with more inodes"
    return f"the disk of {path} is full: free some space"
