"""Reading the log: the records above an LSN, from any place, by many threads.

Responsibility: hold the files of the log in order, say what is kept, and read records back.

Rule: a list of files is never changed, another takes its place, so a reader goes on with the one
that it has. A reader is told by its caller up to which LSN it may see; what is being written lies
above that. `refresh` is for a log that another process writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from timeline.errors import ClosedError, CorruptError, TrimmedError
from timeline.formats.logfiles import HEADER_BYTES
from timeline.log.file import LogFile
from timeline.log.ledger import Part
from timeline.log.opening import open_files


class LogReader:
    """The log in `directory`, from its files. `after` is the sealed LSN, and `marked` the one that
    the durable mark tells. Raises what `open_files` does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        after: int,
        marked: int,
        read_only: bool = False,
    ) -> None:
        self._directory = directory
        found = open_files(directory, after=after, marked=marked, read_only=read_only)
        self._files = found.files
        self._closed = False
        self._torn = found.torn
        self.last = found.last  # the last LSN

    def refresh(self, marked: int) -> None:
        """Move on to what its owner has written by now. Raises what `open_files` does."""
        known = {file.path: file for file in self._files}
        found = open_files(
            self._directory,
            after=self.last,
            marked=marked,
            read_only=True,
            known=known,
        )
        self._files, self.last = found.files, found.last

    @property
    def first(self) -> int:
        """The lowest LSN that is kept; one above the last when there is none."""
        files = self._open_files()
        return files[0].header.first if files else self.last + 1

    def _open_files(self) -> list[LogFile]:
        files = self._files
        if self._closed:
            raise ClosedError(
                "the store is not open: it was closed, or is to be opened again after a failure"
            )
        return files

    def read(self, after: int, upto: int, most: int) -> list[tuple[int, int, bytes]]:
        """(first LSN, last LSN, record) of the records that hold a commit above LSN `after`, and
        none above `upto`: about `most` bytes of them, one at least. Raises `TrimmedError` when they
        are no longer kept, and `CorruptError`.
        """
        files = self._open_files()
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

    def replay(self, after: int) -> Iterator[tuple[int, int, bytes]]:
        """(first LSN, last LSN, record) of all that was written after commit `after`, up to the
        end, also of records without a commit. Raises `TrimmedError` and `CorruptError` as `read`.
        """
        return self._replay(self._open_files(), after, self.last)

    @staticmethod
    def _replay(files: list[LogFile], after: int, upto: int) -> Iterator[tuple[int, int, bytes]]:
        number = max(0, sum(file.header.first <= after + 1 for file in files) - 1)
        reached = after
        for at, file in enumerate(files[number:], number + 1):
            begins = file.header.first
            if begins > reached + 1:
                raise TrimmedError(f"the log begins at LSN {begins}")
            below = files[at].header.first if at < len(files) else upto + 1
            place = file.locate_behind(after) if begins <= after else HEADER_BYTES
            for frame, body in file.records(place):
                place = frame.end
                # What another file goes on with, or what is being written, is not of this one.
                if frame.first >= below and (at < len(files) or frame.last > upto):
                    break
                reached = max(reached, frame.last)
                if frame.last > after or frame.first > after:
                    yield frame.first, frame.last, body
            if reached + 1 < below:
                raise _damaged(file, place)

    def close(self) -> None:
        """Let go of the files. Those who are reading one go on."""
        self._closed = True
        self._files = []

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self._open_files())

    @property
    def parts(self) -> list[Part]:
        """The files but the newest, the oldest first."""
        return [
            Part(next_.header.first - 1, file.size, next_.header.time)
            for file, next_ in pairwise(self._open_files())
        ]


def _damaged(file: LogFile, place: int) -> CorruptError:
    return CorruptError(
        f"{file.path} is damaged at byte {place}: restore a backup, or keep what can be kept with "
        "`timeline repair`"
    )


def _read_file(
    file: LogFile, after: int, below: int, most: int, found: list[tuple[int, int, bytes]]
) -> bool:
    """Add to `found` the records of a file that hold a commit above LSN `after` and begin below
    `below`; whether the next file is to be read too.
    """
    size = sum(len(body) for _, _, body in found)
    place = file.locate(max(after + 1, file.header.first))
    reached = -1
    for frame, body in file.records(place):
        place, reached = frame.end, frame.last
        if reached >= below:
            return True
        if reached > after:
            found.append((frame.first, reached, body))
            size += len(body)
            if size >= most:
                return False
        if reached + 1 >= below:
            return True
    raise _damaged(file, place)
