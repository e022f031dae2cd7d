"""The commit log: records in, in order and durably; records out, by LSN; files gone, when let go.

    append      one record behind the last one, by one write and one fsync
    sync        what was appended without one is durable
    heal        after a failure: what may have been lost is written again elsewhere
    read        records above an LSN
    let_go      files that hold nothing above an LSN

Rule: records are appended one at a time, and none before the fsync of the one before it returned,
unless `sync` is off (`interval` durability). What is not known to be durable stays in memory until
it is. A failed write or fsync is never tried again on the same file: the system may have dropped
the bytes and call the next fsync good. `heal` writes them to a new file.

How it fails: `StallError` when the next file is not ready, and `LogFullError` when it cannot be
made: nothing was written. `StorageError` when a write or fsync failed: it is not known what is on
the disk, and every call but `read`, `heal` and `close` is refused until `heal` returns.

Whoever appends, heals or lets go is one thread at a time. `read` is called beside it by many.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from timeline.errors import CorruptError, StallError, StorageError, TrimmedError
from timeline.formats.logfiles import HEADER_BYTES, UNSYNCED, FileHeader, framed_size
from timeline.log.file import LogFile, name_of
from timeline.log.opening import open_files
from timeline.log.spare import Spare
from timeline.storage.files import PRIVATE, sync_directory

FIRST_FILE_BYTES: Final = 1 << 20  # each file is twice as large as the one before, up to a bound


class LogFullError(StorageError):
    """There is no room for the next file of the log; nothing was written."""


class Kept(NamedTuple):
    """A file that holds only commits that are not the newest."""

    last: int  # LSN
    bytes: int
    time: int  # when the last commit in it was made, in ms, or a little later


class CommitLog:
    """The log in `directory`, which is made when it is not there.

    `after` is the sealed LSN, and `marked` the one that the durable mark tells. Raises what
    `open_files` does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        file_bytes: int,
        epoch: int,
        after: int,
        marked: int,
        interval: bool = False,
    ) -> None:
        self._directory = directory
        self._file_bytes = file_bytes
        self._epoch = epoch
        self._turning = False
        self._unsynced: list[tuple[int, int, bytes]] = []
        self._failed = False
        if not directory.exists():
            directory.mkdir(mode=PRIVATE)
            sync_directory(directory.parent)
        found = open_files(directory, after=after, marked=marked, interval=interval)
        self._files = found.files
        self.last = found.last
        if self._files:
            newest = self._files[-1]
            if found.torn:
                newest.cut(newest.end)
            newest.sync()  # a killed process may have left some of it to the system
        self._spare = Spare(directory)
        if not self._files:
            self._spare.want(self._next_size())
            self._spare.wait()

    # --- appending ----------------------------------------------------------------------------

    def append(self, first: int, last: int, body: bytes, now: int, *, sync: bool = True) -> None:
        """Append the record of commits `first` to `last`, made at time `now` (ms); with `sync`
        durably. A record may hold no commit: its `last` is one below its `first`.
        """
        self._check_sound()
        assert first == self.last + 1
        file = self._files[-1] if self._files and not self._turning else None
        if file is None or not file.has_room(len(body)):
            file = self._begin(first, len(body), now)
        flags = UNSYNCED if self._unsynced else 0
        self._unsynced.append((first, last, body))
        try:
            file.write(first, last, flags, body, sync=sync)
        except StorageError:
            self._failed = True
            raise
        if sync:
            self._unsynced.clear()
        self.last = last
        if 2 * file.end > file.size:
            self._spare.want(self._next_size())

    def sync(self) -> None:
        """Make everything appended durable."""
        self._check_sound()
        if not self._unsynced:
            return
        try:
            self._files[-1].sync()
        except StorageError:
            self._failed = True
            raise
        self._unsynced.clear()

    def turn(self) -> None:
        """Have the next record begin a new file, so that the present one can be let go soon."""
        if self._files and self._files[-1].end > HEADER_BYTES:
            self._turning = True
            self._spare.want(self._next_size())

    @property
    def failed(self) -> bool:
        """Whether it takes nothing more until `heal`."""
        return self._failed

    def heal(self, now: int) -> None:
        """Write what is not known to be durable to a new file, durably, and go on there. What was
        in doubt stands then. Raises as `append` does; it may be called again.
        """
        if not self._failed:
            return
        first = self._unsynced[0][0] if self._unsynced else self.last + 1
        size = sum(framed_size(len(body)) for _, _, body in self._unsynced)
        self._check_ready(size)
        try:
            file = self._make(first, now)
            for number, (each, last, body) in enumerate(self._unsynced):
                file.write(each, last, UNSYNCED if number else 0, body, sync=False)
            file.sync()
            target = self._directory / name_of(first)
            self._spare.name(target)
        except StorageError:
            self._spare.discard()
            raise
        file.path = target
        if self._files and self._files[-1].header.first == first:
            self._files.pop()  # it held nothing before, and the new one has its name
        self._files.append(file)
        if self._unsynced:
            self.last = self._unsynced[-1][1]
        self._unsynced.clear()
        self._failed = self._turning = False

    def _begin(self, first: int, size: int, now: int) -> LogFile:
        """Go on in a new file, with room for a record of `size` bytes."""
        self._check_ready(framed_size(size))
        self.sync()  # so that a gap between two files is always damage
        try:
            file = self._make(first, now)
            target = self._directory / name_of(first)
            self._spare.name(target)
        except StorageError:
            self._failed = True
            self._spare.discard()
            raise
        file.path = target
        self._files.append(file)
        self._turning = False
        return file

    def _make(self, first: int, now: int) -> LogFile:
        header = FileHeader(self._epoch, first, now, os.urandom(8))
        return LogFile.begin(self._spare.path, header)

    def _check_ready(self, size: int) -> None:
        try:
            ready = self._spare.is_ready(max(self._next_size(), HEADER_BYTES + size))
        except StorageError as error:
            raise LogFullError(str(error)) from error
        if not ready:
            raise StallError("the next file of the log is being made: try again soon")

    def _next_size(self) -> int:
        before = self._files[-1].size if self._files else 0
        return min(max(FIRST_FILE_BYTES, 2 * before), self._file_bytes)

    def _check_sound(self) -> None:
        if self._failed:
            raise StorageError("the log failed and has not been healed")

    # --- reading ------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The lowest LSN that is kept; one above the last when there is none."""
        files = self._files
        return files[0].header.first if files else self.last + 1

    def read(self, after: int, upto: int, most: int) -> list[tuple[int, int, bytes]]:
        """(first LSN, last LSN, record) of the records that hold a commit above LSN `after`, and
        none above `upto`: about `most` bytes of them, one at least. Raises `TrimmedError` when they
        are no longer kept, and `CorruptError`.
        """
        files = self._files
        if after >= upto:
            return []
        number = sum(file.header.first <= after + 1 for file in files) - 1
        if number < 0:
            raise TrimmedError(f"the log begins at LSN {self.first}")
        found: list[tuple[int, int, bytes]] = []
        for at, file in enumerate(files[number:], number + 1):
            below = min(files[at].header.first if at < len(files) else upto + 1, upto + 1)
            if not _read_file(file, after, below, most, found) or below > upto:
                break
        return found

    # --- letting go ---------------------------------------------------------------------------

    @property
    def kept(self) -> list[Kept]:
        """The files but the newest, the oldest first."""
        return [
            Kept(next_.header.first - 1, file.size, next_.header.time)
            for file, next_ in zip(self._files, self._files[1:], strict=False)
        ]

    def let_go(self, upto: int) -> None:
        """Remove the files that hold no commit above LSN `upto`; the newest stays always."""
        while len(self._files) > 1 and self._files[1].header.first - 1 <= upto:
            try:
                self._files[0].path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{self._files[0].path}: {error.strerror}") from error
            self._files = self._files[1:]  # readers may have the list

    def close(self) -> None:
        """Let go of the files. What was appended without `sync` is not made durable."""
        self._spare.close()
        self._files = []


def _read_file(
    file: LogFile, after: int, below: int, most: int, found: list[tuple[int, int, bytes]]
) -> bool:
    """Add to `found` the records of a file that hold a commit above LSN `after` and begin below
    `below`; whether the next file is to be read too.
    """
    size = sum(len(body) for _, _, body in found)
    place = file.locate(max(after + 1, file.header.first))
    reached = -1
    while reached + 1 < below:
        whole = file.read(place)
        if whole is None:
            raise CorruptError(
                f"{file.path} is damaged at byte {place}: restore a backup, or keep what can be "
                "kept with `timeline repair`"
            )
        frame, body = whole
        place, reached = frame.end, frame.last
        if reached >= below:
            break
        if reached > after:
            found.append((frame.first, frame.last, body))
            size += len(body)
            if size >= most:
                return False
    return True
