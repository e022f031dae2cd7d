"""Holding a store that is not opened: nobody else opens it meanwhile, nor has it open."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from timeline.errors import LockedError, StorageError


@contextmanager
def held(path: Path, rocks: Path) -> Iterator[None]:
    """Take RocksDB's own lock on `rocks`. Raises `LockedError`, `StorageError`."""
    lock = rocks / "LOCK"
    # A lock is the process's: opening and closing the file once more would release its own.
    if _open_here(lock):
        raise LockedError(f"{path} is open in this process: close it first")
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"{lock} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(
                f"{path} is in use by another process: stop it before you repair the store"
            ) from None
        yield
    finally:
        os.close(file)


def _open_here(lock: Path) -> bool:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir() or not lock.exists():
        return False
    there = lock.stat()
    for descriptor in descriptors.iterdir():
        with suppress(OSError):
            here = descriptor.stat()
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return True
    return False
