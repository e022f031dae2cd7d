"""The commit log: records in, in order and durably; records out, by LSN; files gone, when let go.

    append      one record after the last one, by one write and one fsync
    sync        what was appended without one is durable
    heal        after a failure: what may have been lost is written again elsewhere
    turn        the next record begins a new file
    let_go      files that hold nothing above an LSN go

Rule: records are appended one at a time, and none before the fsync of the one before it returned,
unless `sync` is off. What is not known to be durable stays in memory until it is. A failed write or
fsync is never tried again on the same file: the system may have dropped the bytes and call the next
fsync good. `heal` writes them to a new file.

A record may hold no commit. It says all that such records said since the last commit, so that only
the newest of them counts. It is carried into a new file, and so lies with the commit that follows:

    file 1      … commit 9, commit 10, a moved checkpoint
    file 11     the same moved checkpoint, commit 11, …

How it fails: `StallError` when the next file is not ready, and `LogFullError` when it cannot be
made: nothing was written. `StorageError` when a write or fsync failed: it is not known what is on
the disk, and all but reading and closing is refused until `heal` returns.

One thread at a time appends, heals, turns and lets go; others read meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from timeline.errors import StallError, StorageError
from timeline.formats.logfiles import HEADER_BYTES, UNSYNCED, FileHeader, framed_size
from timeline.log.file import LogFile, name_of, refused
from timeline.log.ledger import LogFullError
from timeline.log.reader import LogReader
from timeline.log.spare import Spare
from timeline.storage.files import PRIVATE, sync_directory

FIRST_FILE_BYTES: Final = 1 << 20  # each file is twice as large as the one before, up to a bound


class CommitLog(LogReader):
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
    ) -> None:
        self._file_bytes = file_bytes
        self._epoch = epoch
        self._unsynced: list[tuple[int, int, bytes]] = []
        self._failed: StorageError | None = None
        self._full = False
        if not directory.exists():
            directory.mkdir(mode=PRIVATE)
            sync_directory(directory.parent)
        super().__init__(directory, after=after, marked=marked)
        self._bare = self._find_bare()  # the newest durable record, if it holds no commit
        if self._files:
            newest = self._files[-1]
            if self._torn:
                newest.cut(newest.end)
            # A killed process may have left some of it to the system, and the file's name too.
            newest.write_again(
                newest.locate(marked) if marked >= newest.header.first else HEADER_BYTES
            )
            sync_directory(directory)
        self._spare = Spare(directory)
        if not self._files:
            self._spare.want(self._next_size())
            self._spare.wait()
        elif self._files[-1].is_half_full:
            self._spare.want(self._next_size())

    # --- appending ----------------------------------------------------------------------------

    def append(self, first: int, last: int, body: bytes, now: int, *, sync: bool = True) -> None:
        """Append the record of commits `first` to `last`, made at time `now` (ms); with `sync`
        durably. A record may hold no commit: its `last` is one below its `first`.
        """
        self._check_sound()
        assert first == self.last + 1
        file = self._files[-1] if self._files else None
        if file is None or not file.has_room(len(body)):
            file = self._begin(len(body), now)
        earlier = bool(self._unsynced)
        self._unsynced.append((first, last, body))
        place = file.end
        try:
            # With `sync` the system makes durable what this call writes, and nothing before it.
            file.write(first, last, UNSYNCED if earlier else 0, body, sync=sync and not earlier)
            if sync and earlier:
                file.sync()
        except StorageError as error:
            self._fail(error)
            raise
        except BaseException:  # Ctrl-C, say: it is appended again, and must not be there twice
            self._unsynced.pop()
            file.take_back(place)
            raise
        if sync:
            self._settle()
        self.last = last
        if file.is_half_full:
            self._spare.want(self._next_size())

    def sync(self) -> None:
        """Make everything appended durable."""
        self._check_sound()
        if not self._unsynced:
            return
        try:
            self._files[-1].sync()
        except StorageError as error:
            self._fail(error)
            raise
        self._settle()

    def _fail(self, error: StorageError) -> None:
        self._failed = error
        self._spare.want(self._next_size())  # to go on in

    def _settle(self) -> None:
        """What was appended is durable."""
        first, last, body = self._unsynced[-1]
        self._bare = body if last < first else None
        self._unsynced.clear()

    def turn(self, upto: int, now: int) -> bool:
        """Go on in a new file, unless the present one holds only what lies above LSN `upto`, so
        that what lies below can be let go. False when that file has to be made first. Raises as
        `append`.
        """
        if not self._files or self._files[-1].header.first > min(upto, self.last):
            return True
        try:
            self._begin(0, now)
        except StallError:
            return False
        return True

    @property
    def failed(self) -> StorageError | None:
        """What it failed with: it takes nothing more until `heal`."""
        return self._failed

    def heal(self, now: int) -> None:
        """Write what is not known to be durable to a new file, durably, and go on there. What was
        in doubt stands then. Raises as `append` does; it may be called again.
        """
        if self._full:  # nothing is in doubt, and there was no room
            self._check_ready(0)
        if self._failed is None:
            return
        first = self._unsynced[0][0] if self._unsynced else self.last + 1
        size = sum(framed_size(len(body)) for _, _, body in self._unsynced)
        self._check_ready(self._carried_size + size)
        self._make(first, now, self._unsynced)
        if self._unsynced:
            self.last = self._unsynced[-1][1]
            self._settle()
        self._failed = None

    def _begin(self, size: int, now: int) -> LogFile:
        """Go on in a new file, with room for a record of `size` bytes."""
        self.sync()  # so that a gap between two files is always damage
        self._check_ready(self._carried_size + framed_size(size))
        return self._make(self.last + 1, now)

    def _make(
        self, first: int, now: int, records: Sequence[tuple[int, int, bytes]] = ()
    ) -> LogFile:
        """Go on in a file that begins at `first` and holds what is carried and `records`, all of it
        durable. It has its name only when it is whole: until then nothing was written.
        """
        if self._bare is not None:
            records = [(first, first - 1, self._bare), *records]
        target = self._directory / name_of(first)
        try:
            header = FileHeader(self._epoch, first, now, os.urandom(8))
            file = LogFile.begin(self._spare.path, header)
            for number, (begins, ends, body) in enumerate(records):
                file.write(begins, ends, UNSYNCED if number else 0, body, sync=False)
            if records:
                file.sync()
        except StorageError as error:
            self._spare.discard()
            self._full = True
            raise LogFullError(str(error)) from error
        try:
            self._spare.name(target)
        except StorageError as error:
            self._failed = error  # perhaps it has its name: no other file may go on from here
            raise
        file.path = target
        kept = self._files
        if kept and kept[-1].header.first == first:
            kept = kept[:-1]  # it held no commit, and the new one took its name
        self._files = [*kept, file]
        return file

    @property
    def _carried_size(self) -> int:
        return 0 if self._bare is None else framed_size(len(self._bare))

    def _find_bare(self) -> bytes | None:
        """The newest record, if it holds no commit."""
        newest = self._files[-1].newest if self._files else None
        if newest is None or newest.last >= newest.first:
            return None
        found = self._files[-1].read(newest.place)
        return None if found is None else found[1]

    def _check_ready(self, size: int) -> None:
        try:
            ready = self._spare.is_ready(max(self._next_size(), HEADER_BYTES + size))
        except StorageError as error:
            self._full = True
            raise LogFullError(str(error)) from error
        self._full = self._full and not ready
        if not ready:
            raise StallError("the next file of the log is being made: try again soon")

    def _next_size(self) -> int:
        """A file is twice as large as the one before where that was filled."""
        newest = self._files[-1] if self._files else None
        before = 0 if newest is None else newest.size
        size = 2 * before if newest is not None and newest.is_half_full else before
        return min(max(FIRST_FILE_BYTES, size), self._file_bytes)

    def _check_sound(self) -> None:
        if self._failed is not None:
            raise StorageError("the log failed and has not been healed") from self._failed

    # --- letting go ---------------------------------------------------------------------------

    def let_go(self, upto: int) -> None:
        """Remove the files that hold no commit above LSN `upto`; the newest stays always. Each has
        gone for good before the next one goes: a power cut that brought back only the older one
        would leave a gap, which followers take for damage.
        """
        while len(self._files) > 1 and self._files[1].header.first - 1 <= upto:
            try:
                self._files[0].path.unlink(missing_ok=True)
                sync_directory(self._directory)
            except OSError as error:
                raise refused(self._files[0].path, error) from error
            self._files = self._files[1:]  # readers may have the list

    def close(self) -> None:
        """Let go of the files. What was appended without `sync` is not made durable."""
        self._spare.close()
        super().close()
