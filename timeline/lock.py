"""A lock on a file or directory: one holder at a time, of this process or another.

Rule: the lock belongs to one opening of the file (`flock`). RocksDB's own belongs to the process,
and POSIX drops it as soon as the process closes any other descriptor of that file, which a copy or
a checksum of the directory does. A forked child gives up its share at once, so that the lock ends
with its holder, however long the child lives.

It says who holds it, as far as that can be known. What is locked and why is for others.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from timeline.errors import LockedError, StorageError

_PID_BYTES = 20


class Lock:
    """Held from its construction until `release`, or until nobody has it any more."""

    def __init__(
        self,
        path: Path,
        name: object,
        advice: str,
        *,
        signed: bool = False,
        directory: bool = False,
    ) -> None:
        """Lock the file at `path`, or the directory, which is made if need be.

        `signed` writes the number of the process into the file. Errors say that `name` is in use
        and end in `advice`. Raises `LockedError`, `StorageError`.
        """
        self.path = path
        self._file: int | None = None
        while not self.stands:  # its last holder may have removed it
            self.release()
            self._file = _open_directory(path) if directory else _open(path)
            self._take(name, advice)
        self._signed = signed
        if signed:
            self._sign(b"%d\n" % os.getpid())
        _held[self._identity()] = self

    def _take(self, name: object, advice: str) -> None:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            here, pid = self._identity() in _held, self._signature()
            self._drop()
            if here:
                raise LockedError(f"{name} is open in this process: close it first") from None
            known = f" (pid {pid})" if pid else ""
            raise LockedError(f"{name} is in use by another process{known}: {advice}") from None
        except OSError as error:
            self._drop()
            raise StorageError(
                f"{self.path} cannot be locked ({error.strerror}): choose another file system"
            ) from error

    @property
    def stands(self) -> bool:
        """Whether it keeps anybody out: what is locked is what others find at the path."""
        if self._file is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def _identity(self) -> tuple[int, int]:
        assert self._file is not None
        found = os.fstat(self._file)
        return found.st_dev, found.st_ino

    def _sign(self, text: bytes) -> None:
        assert self._file is not None
        with suppress(OSError):  # a full disk: then others are told less
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text, 0)

    def _signature(self) -> int:
        """The process that signed, 0 where none did that is there."""
        assert self._file is not None
        try:
            pid = int(os.pread(self._file, _PID_BYTES, 0))
        except (OSError, ValueError):
            return 0
        try:
            os.kill(pid, 0)
        except PermissionError:
            return pid
        except (OSError, OverflowError):
            return 0
        return pid

    def release(self) -> None:
        """Let others in, though a child that is being forked may have the file open still."""
        if self._file is not None:
            if self._signed:
                self._sign(b"")
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._drop()

    def _drop(self) -> None:
        """Close the file, without a word to who shares the lock."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __del__(self) -> None:
        self.release()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be opened ({error.strerror}): run as the owner of the store"
        ) from error


def _open_directory(path: Path) -> int:
    while True:
        try:
            path.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:  # moved into its place or removed just now
            if not path.parent.is_dir():
                raise


_held: WeakValueDictionary[tuple[int, int], Lock] = WeakValueDictionary()


def _let_parent_keep() -> None:
    for lock in list(_held.values()):
        lock._drop()  # noqa: SLF001  one module


os.register_at_fork(after_in_child=_let_parent_keep)
