"""Exclusive access to the files of a store, without opening it: no other process has it open."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from timeline.engine.store.directory import LOCK, ROCKS
from timeline.errors import LockedError, StorageError, reason
from timeline.storage.lock import Lock

_FIRST: Final = "stop it before you repair the store"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Take the lock of the store at `path`. Raises `LockedError`, `StorageError`."""
    lock = Lock(path / LOCK, path, _FIRST)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def rocks_held(path: Path) -> Iterator[None]:
    """Take RocksDB's own lock too, if it is there: older versions of Timeline know no other. Raises
    `LockedError`, `StorageError`.
    """
    if not (path / ROCKS).is_dir():
        yield
        return
    lock = path / ROCKS / "LOCK"
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{lock} cannot be opened: {reason(error)}") from error
    try:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(f"{path} is in use by another process: {_FIRST}") from None
        yield
    finally:
        os.close(file)
