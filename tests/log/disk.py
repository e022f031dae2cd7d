"""A disk that loses power: what the system was asked to write is kept apart from what is durable.

Rule: a write is *pending* until an fsync of its file. A power cut keeps any mix of old and new in
the sectors that pending writes cover, and leaves other bytes alone. A rename or a removal is
pending until an fsync of its directory, and a power cut may take it back, whatever becomes of
others. The moment of the cut is the n-th call to the system: that call and all later ones raise
`PowerCut`.

It stands for the calls of `os` that files of the log make, on whichever thread.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

_SECTOR_BYTES: Final = 512


class PowerCut(BaseException):
    """The machine is off."""


class Write(NamedTuple):
    inode: int
    place: int
    before: bytes
    after: bytes
    dropped: bool = False  # the system shows it, and will never write it


class Rename(NamedTuple):
    source: Path
    target: Path
    replaced: bytes | None


class Removal(NamedTuple):
    path: Path
    content: bytes


class Disk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls_left: int | None = None  # until the power cut; None: there is none
        self.fail_next_write = False
        self.fail_next_fsync = False  # of a file of the log, not of the one made ahead
        self.shows_what_it_dropped = False  # as some systems do after an fsync that failed
        self._lock = threading.Lock()
        self._writes: list[Write] = []
        self._names: list[Rename | Removal] = []
        self._pwrite, self._pwritev = os.pwrite, os.pwritev
        self._fdatasync, self._fsync = os.fdatasync, os.fsync
        self._rename, self._unlink = Path.rename, Path.unlink
        for name in ("pwrite", "pwritev", "fdatasync", "fsync"):
            monkeypatch.setattr(os, name, getattr(self, name))
        disk = self

        def rename(path: Path, target: Path) -> Path:
            return disk.rename(path, target)

        def unlink(path: Path, *, missing_ok: bool = False) -> None:
            disk.unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "rename", rename)
        monkeypatch.setattr(Path, "unlink", unlink)

    # --- calls of the system ------------------------------------------------------------------

    def pwrite(self, handle: int, content: bytes, place: int) -> int:
        self._count()
        self._note(handle, bytes(content), place)
        return self._pwrite(handle, content, place)

    def pwritev(self, handle: int, parts: Sequence[bytes], place: int, flags: int = 0) -> int:
        self._count()
        content = b"".join(parts)
        self._note(handle, content, place)
        done = self._pwrite(handle, content, place)
        if self.fail_next_write:
            self.fail_next_write = False
            self._lose(handle)
            raise OSError(5, "Input/output error")
        if flags:
            self._count()  # the power may go between the write and its fsync
            self._settle(handle, place)
        return done

    def fdatasync(self, handle: int) -> None:
        self._count()
        if self.fail_next_fsync and self._is_named(handle):
            self.fail_next_fsync = False
            self._lose(handle)
            raise OSError(5, "Input/output error")
        self._settle(handle)

    def fsync(self, handle: int) -> None:
        self._count()
        self._settle(handle)
        if stat.S_ISDIR(os.fstat(handle).st_mode):  # its names are durable
            with self._lock:
                self._names.clear()

    def rename(self, source: Path, target: Path) -> Path:
        self._count()
        if source.parent != self._directory:
            return self._rename(source, target)
        with self._lock:  # no copy is made meanwhile
            replaced = target.read_bytes() if target.exists() else None
            found = self._rename(source, target)
            self._names.append(Rename(source, target, replaced))
        return found

    def unlink(self, path: Path, *, missing_ok: bool) -> None:
        self._count()
        with self._lock:  # no copy is made meanwhile
            removed = path.suffix == ".log" and path.parent == self._directory and path.exists()
            content = path.read_bytes() if removed else b""
            self._unlink(path, missing_ok=missing_ok)
            if removed:
                self._names.append(Removal(path, content))

    # --- power --------------------------------------------------------------------------------

    def restore_power(self, choice: random.Random) -> None:
        """The machine is on again, with what was durable and some of what was pending.

        No thread of the process that lost it goes on.
        """
        with self._lock:
            self.calls_left = 0
        for thread in threading.enumerate():
            if thread.name == "timeline-log":  # it makes the next file of a log
                thread.join()
        self.calls_left = None
        self._mix(self._directory, choice)
        self._writes.clear()
        self._names.clear()

    def copy_without_power(self, target: Path, choice: random.Random) -> None:
        """Copy the directory to `target` as it would be if the power went now."""
        with self._lock:
            shutil.copytree(self._directory, target, dirs_exist_ok=True)
            self._mix(target, choice)

    def _mix(self, directory: Path, choice: random.Random) -> None:
        """Take back some of what is pending, in `directory`, where the same names are."""
        for write in reversed(self._writes):
            found = self._path(write.inode)
            if found is None:
                continue
            mixed = bytearray(write.after)
            for at in range(0, len(mixed), _SECTOR_BYTES):
                stop = min(at + _SECTOR_BYTES - (write.place + at) % _SECTOR_BYTES, len(mixed))
                if write.dropped or choice.random() < 0.5:
                    mixed[at:stop] = write.before[at:stop]
            with (directory / found.name).open("r+b") as file:
                file.seek(write.place)
                file.write(mixed)
        for each in reversed(self._names):
            if isinstance(each, Removal):
                if choice.random() < 0.5:
                    (directory / each.path.name).write_bytes(each.content)
                continue
            source, target = directory / each.source.name, directory / each.target.name
            if choice.random() < 0.5 and target.exists():
                self._rename(target, source)
                if each.replaced is not None:
                    target.write_bytes(each.replaced)

    def check(self) -> None:
        """Raise `PowerCut` when the power has gone."""
        with self._lock:
            if self.calls_left == 0:
                raise PowerCut

    def watch(self, directory: Path) -> None:
        """The directory in which files are found again by what they are."""
        self._directory = directory

    def _count(self) -> None:
        with self._lock:
            if self.calls_left is not None:
                if self.calls_left <= 0:
                    raise PowerCut
                self.calls_left -= 1

    def _note(self, handle: int, content: bytes, place: int) -> None:
        before = os.pread(handle, len(content), place).ljust(len(content), b"\0")
        inode, stop = os.fstat(handle).st_ino, place + len(content)
        with self._lock:
            for number, each in enumerate(self._writes):
                end = each.place + len(each.after)
                if each.inode == inode and place <= each.place and end <= stop:
                    self._writes[number] = each._replace(dropped=False)  # it is written again
            self._writes.append(Write(inode, place, before, content))

    def _settle(self, handle: int, place: int | None = None) -> None:
        """What was written to a file is durable; with `place`, the last write there alone."""
        inode = os.fstat(handle).st_ino
        with self._lock:
            self._writes = [
                write
                for write in self._writes
                if write.inode != inode or write.dropped or place not in (None, write.place)
            ]

    def _lose(self, handle: int) -> None:
        """What was pending of a file is gone, as after an fsync that failed."""
        inode = os.fstat(handle).st_ino
        with self._lock:
            lost = [write for write in self._writes if write.inode == inode]
            if self.shows_what_it_dropped:
                for each in lost:
                    self._writes[self._writes.index(each)] = each._replace(dropped=True)
                return
            self._writes = [write for write in self._writes if write.inode != inode]
        for write in reversed(lost):
            self._pwrite(handle, write.before, write.place)

    def _is_named(self, handle: int) -> bool:
        path = self._path(os.fstat(handle).st_ino)
        return path is not None and path.suffix == ".log"

    def _path(self, inode: int) -> Path | None:
        for path in self._directory.iterdir():
            if path.stat().st_ino == inode:
                return path
        return None
