"""A lock on a file or directory: one holder at a time, of this process or another.

Rule: the lock belongs to one opening of the file (`flock`). RocksDB's own lock belongs to the
process: POSIX drops it as soon as the process closes any other descriptor of that file, and a copy
or a checksum of the directory does so. A forked child gives up its share immediately. So the lock
ends with its holder, however long the child lives.

A refusal names the holder, as far as it is known. Callers know what is locked, and why.
"""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final
from weakref import WeakValueDictionary

from timeline.errors import LockedError, StorageError, reason
from timeline.storage.descriptors import keep_standard

_PID_BYTES: Final = 20  # of the number of a process in a lock file, at most
_PATIENCE_SECONDS: Final = 60.0  # seconds for a holder of this process that is giving it up


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
        place: str = "",
    ) -> None:
        """Lock the file at `path`, or the directory, which is made if need be.

        `signed` writes the number of the process into the file. Errors say that `name` is in use,
        and end in `advice`. Within this process they name the `place` where it was opened. Waits
        for a holder that called `leave`. Raises `LockedError`, `StorageError`.
        """
        self.path = path
        self.place = place
        self._left: threading.Event | None = None
        self._signed = signed
        self._file: int | None = None
        while not self.stands:  # its last holder may have removed it
            self.release()
            self._file = _open_directory(path) if directory else _open(path)
            self._take(name, advice)
        if signed:
            self._sign(b"%d\n" % os.getpid())
        _held[self._identity()] = self

    def _take(self, name: object, advice: str) -> None:
        collected = again = False
        while not self._try():
            holder = _held.get(self._identity())
            if holder is None and not again:  # it may have let go since
                again = True
            elif holder is not None and not collected:  # it may wait for the collector only
                holder = None
                gc.collect()
                collected = True
            elif holder is None or not holder.gone():
                refusal = self._refusal(holder, name, advice)
                self._drop()
                raise refusal

    def _try(self) -> bool:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            self._drop()
            raise StorageError(
                f"{self.path} cannot be locked ({reason(error)}): choose another file system"
            ) from error
        return True

    def _refusal(self, holder: Lock | None, name: object, advice: str) -> LockedError:
        pid = self._signature()
        if holder is None and pid != os.getpid():
            known = f" (pid {pid})" if pid else ""
            return LockedError(f"{name} is in use by another process{known}: {advice}")
        if holder is not None and holder.place:
            return LockedError(
                f"{name} is open in this process, since {holder.place}: use what that gave, or "
                "close it first"
            )
        return LockedError(f"{name} is in use by this process: {advice}")

    def leave(self) -> None:
        """Say that `release` comes soon, so that others of this process wait for it."""
        self._left = threading.Event()

    def gone(self) -> bool:
        """Whether a holder that is leaving has left, for which this waits a while."""
        return self._left is not None and self._left.wait(_PATIENCE_SECONDS)

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
        with suppress(OSError):  # a full disk: then others learn less
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
        """Let others in, even if a child that is being forked still has the file open."""
        if self._file is not None:
            if self._signed:
                self._sign(b"")
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._drop()

    def _drop(self) -> None:
        """Close the file; what else shares the lock keeps it."""
        if self._file is None:
            return
        identity = self._identity()
        if _held.get(identity) is self:
            del _held[identity]
        os.close(self._file)
        self._file = None
        if self._left is not None:
            self._left.set()

    def __del__(self) -> None:
        self.release()


def _open(path: Path) -> int:
    keep_standard()
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {reason(error)}") from error


def _open_directory(path: Path) -> int:
    while True:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, FileExistsError):  # it came or went just now
            if path.is_file() or not path.parent.is_dir():
                raise


_held: WeakValueDictionary[tuple[int, int], Lock] = WeakValueDictionary()


def _let_parent_keep() -> None:
    for lock in list(_held.values()):
        lock._drop()  # noqa: SLF001  one module


os.register_at_fork(after_in_child=_let_parent_keep)


def place_of_call() -> str:
    """The file and line from which the engine was called into."""
    frame = sys._getframe()  # noqa: SLF001  as `warnings` finds who is to be warned
    while frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "timeline"
