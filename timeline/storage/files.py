"""Files and directories that appear whole or not at all.

Rule: what is made has a temporary name next to its own until everything in it is on the disk. A
failure or Ctrl-C on the way removes it. What a killed process left under that name goes when the
same thing is made again.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from crc32c import crc32c

from timeline.errors import ExistsError, LockedError, StorageError, TimelineError, reason
from timeline.options import anchored
from timeline.storage.descriptors import keep_standard
from timeline.storage.lock import Lock

OTHERS: Final = 0o077  # the rights of everybody but the owner
PRIVATE: Final = 0o700  # a directory of its owner's alone

_PIECE_BYTES: Final = 1 << 20  # read and written at a time

_WAIT: Final = "wait until it has made that, or name another"

Moved = Callable[[int], None]  # is given how many more bytes were read


@contextmanager
def new_directory(target: Path, *, resume: bool = False) -> Iterator[Path]:
    """A directory that becomes `target`, which must not be there or be empty, when the block ends.

    With `resume`, Ctrl-C leaves it, and the next call finds what it held. Raises `ExistsError`,
    `LockedError` while another makes it too, and `StorageError` for what the system refuses within
    the block.
    """
    target = anchored(target)
    partial = partial_of(target)
    try:
        _check_free(target)
        with sole(partial, target, keep=resume):
            _check_free(target)  # another may just have made it
            yield partial
            seclude(partial)
            sync_directory(partial)
            partial.rename(target)
            sync_directory(target.parent)
    except TimelineError:
        raise
    except OSError as error:
        raise StorageError(
            f"{target} cannot be made, and nothing of it was left: {reason(error)}"
        ) from error


def _check_free(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExistsError(f"{target} is there and not empty: name a new directory")


@contextmanager
def sole(partial: Path, target: Path, *, keep: bool = False) -> Iterator[None]:
    """Be the only one, in this process and all others, that makes `target` in the directory
    `partial`. It is empty at first; at the end it is gone, or moved. With `keep` it has what was in
    it, and Ctrl-C leaves it. Raises `LockedError`.
    """
    lock: Lock | None = None
    kept = False
    try:
        try:
            lock = Lock(partial, target, _WAIT, directory=True)
        except LockedError:
            kept = True  # another holds it
            raise
        if not keep:
            _empty(partial)
        yield
    except KeyboardInterrupt:
        kept = kept or keep
        raise
    finally:
        if not kept and (lock is None or lock.stands):
            shutil.rmtree(partial, ignore_errors=True)
        if lock is not None:
            lock.release()


def _empty(directory: Path) -> None:
    """Remove what is in it, and keep the directory, which is locked."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def partial_of(target: Path) -> Path:
    """What `target` is called until it is whole."""
    return target.parent / f".{target.name}.partial"


def checksum(path: Path, moved: Moved | None = None) -> int:
    """The CRC-32C of a file."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            crc = crc32c(piece, crc)
            if moved is not None:
                moved(len(piece))
    return crc


def copy(source: Path, target: Path, moved: Moved | None = None) -> int:
    """Copy a file durably; the CRC-32C of what was copied."""
    crc = 0
    with source.open("rb") as read, open(target, "xb", opener=private) as write:
        while piece := read.read(_PIECE_BYTES):
            crc = crc32c(piece, crc)
            write.write(piece)
            if moved is not None:
                moved(len(piece))
        write.flush()
        os.fsync(write.fileno())
    return crc


def write_durably(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def seclude(directory: Path) -> None:
    """Take away the rights of others to what is in a directory that only its owner may enter.
    RocksDB and tantivy make their files with the rights that the umask of the process leaves.
    """
    try:
        if directory.stat().st_mode & OTHERS:
            return
        entries = list(directory.iterdir())
    except OSError:  # it belongs to another user, whose own process does this
        return
    for entry in entries:
        with suppress(OSError):  # RocksDB removed it meanwhile
            mode = entry.lstat().st_mode
            if mode & OTHERS and not stat.S_ISLNK(mode):
                entry.chmod(stat.S_IMODE(mode) & ~OTHERS)
            if stat.S_ISDIR(mode):
                seclude(entry)


def private(path: str, flags: int) -> int:
    """An opener of files that are their owner's alone."""
    keep_standard()
    return os.open(path, flags, 0o600)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(source: Path, target: Path) -> bool:
    """Give a file a second name; False where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
