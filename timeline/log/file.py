"""One file of the log: made of written zeros, filled from the front, read from any place.

Responsibility: make a file ahead of its use, write frames into it, read frames back, and find where
they end.

Rule: a frame is written over zeros that are on the disk already, so a write changes no metadata of
the file and its fsync is one write. What was written is durable when `write` returns with `sync`,
or when `sync` returns. Nothing is written a second time: after a failed write or fsync the file is
only read, and the log goes on in another.

How it fails: `StorageError` from the system. A place where no whole frame is found is no failure
here: `frames` ends there, and whoever opens the log says what it means.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from timeline.errors import StorageError, reason
from timeline.formats.logfiles import (
    ALIGNMENT,
    FRAME_BYTES,
    HEADER_BYTES,
    FileHeader,
    Frame,
    decode_file_header,
    decode_frame,
    encode_file_header,
    encode_frame,
    framed_size,
    is_body,
    likely_frames,
    padding,
    salted,
)
from timeline.log.places import Places
from timeline.storage.descriptors import keep_standard

SUFFIX: Final = ".log"
_DIGITS: Final = 20  # as many as the highest LSN has
_PIECE_BYTES: Final = 1 << 20  # zeros that are written before the disk is given to others
_WINDOW_BYTES: Final = 64 << 10  # of the file, read at a time
_SYNCED: Final = getattr(os, "RWF_DSYNC", 0)  # Linux: a write and its fdatasync in one call


class Placed(NamedTuple):
    """A frame that was found whole, and where."""

    place: int
    first: int
    last: int
    flags: int
    size: int

    @classmethod
    def at(cls, place: int, frame: Frame) -> Self:
        return cls(place, frame.first, frame.last, frame.flags, frame.size)

    @property
    def end(self) -> int:
        """The place after it."""
        return self.place + framed_size(self.size)


def name_of(first: int) -> str:
    """The name of the file whose first LSN is `first`."""
    return f"{first:0{_DIGITS}}{SUFFIX}"


def first_of(path: Path) -> int | None:
    """The first LSN that the name of a file tells; None when it is no file of the log."""
    digits = path.name.removesuffix(SUFFIX)
    if path.suffix != SUFFIX or len(digits) != _DIGITS or not digits.isdecimal():
        return None
    return int(digits)


def make_file(path: Path, size: int, going_on: Callable[[], bool]) -> bool:
    """Make a file of `size` zeros that are on the disk; False when `going_on()` said no, and then
    there is no file. Who may read its directory may read it. Raises `StorageError`; what was made
    until then is removed.
    """
    size = -(-size // ALIGNMENT) * ALIGNMENT
    try:
        _check_room(path, size)
        keep_standard()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(handle, path.parent.stat().st_mode & 0o666)
            for at in range(0, size, _PIECE_BYTES):
                if not going_on():
                    path.unlink()
                    return False
                _write_all(handle, bytes(min(_PIECE_BYTES, size - at)), at)
                os.fdatasync(handle)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise refused(path, error) from error
    return True


class _Window:
    """A piece of a file in memory, so that many small frames cost one call of the system."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._place = 0
        self.content = b""

    def show(self, place: int, size: int) -> int:
        """Where in `content` the bytes from `place` on lie: `size` of them, or all there are."""
        at = place - self._place
        if at < 0 or at + size > len(self.content):
            self.content = os.pread(self._handle, max(size, _WINDOW_BYTES), place)
            self._place, at = place, 0
        return at


def _check_room(path: Path, size: int) -> None:
    """Raise before the last of a disk is used up that others write to as well."""
    disk = os.statvfs(path.parent)
    if disk.f_bavail * disk.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class LogFile:
    """An open file. Not thread-safe, except that `read` may be called by many while one writes."""

    def __init__(self, path: Path, handle: int, header: FileHeader) -> None:
        self.path = path
        self.header = header
        self.size = os.fstat(handle).st_size
        self.end = HEADER_BYTES  # the place after the last frame
        self.newest: Placed | None = None  # the last frame, once it was walked over or written
        self.failed = False
        self.places = Places()
        self._locating = threading.Lock()  # several readers may walk over an old file
        self._handle = handle
        self._seed = salted(header.salt)

    @classmethod
    def begin(cls, path: Path, header: FileHeader) -> Self:
        """Write the header of the log into a file of zeros, durably."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                _write_all(handle, encode_file_header(header), 0)
                os.fdatasync(handle)
            except OSError:
                os.close(handle)
                raise
        except OSError as error:
            raise refused(path, error) from error
        return cls(path, handle, header)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self | None:
        """Open a file that is there; None when it has no whole header. Raises `StorageError`."""
        try:
            handle = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
            try:
                header = decode_file_header(os.pread(handle, HEADER_BYTES, 0))
            except OSError:
                os.close(handle)
                raise
        except OSError as error:
            raise refused(path, error) from error
        if header is None:
            os.close(handle)
            return None
        return cls(path, handle, header)

    # --- writing ------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether a body of `size` bytes still goes into the file."""
        return self.end + framed_size(size) <= self.size

    @property
    def is_half_full(self) -> bool:
        """Whether it is time to make the next file."""
        return 2 * self.end > self.size

    def write(self, first: int, last: int, flags: int, body: bytes, *, sync: bool) -> int:
        """Write a frame after the last one, with `sync` durably. Returns its place.

        Raises `StorageError`: then it is not known what is on the disk, and the file takes no more.
        """
        assert not self.failed
        frame = encode_frame(self._seed, first, last, flags, body)
        place = self.end
        parts = [frame, body, bytes(padding(len(body)))]
        size = framed_size(len(body))
        try:
            if sync and _SYNCED:
                if os.pwritev(self._handle, parts, place, _SYNCED) != size:
                    _write_all(self._handle, b"".join(parts), place)
                    os.fdatasync(self._handle)
            else:
                if os.pwritev(self._handle, parts, place) != size:
                    _write_all(self._handle, b"".join(parts), place)
                if sync:
                    os.fdatasync(self._handle)
        except OSError as error:
            self.failed = True
            raise refused(self.path, error) from error
        self.end = place + size
        self.newest = Placed(place, first, last, flags, len(body))
        self.places.note(first, place)
        return place

    def take_back(self, place: int) -> None:
        """What was written from `place` on is to be written again."""
        self.end = place

    def sync(self) -> None:
        """Make what was written durable. Raises `StorageError`: the file then takes no more."""
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            self.failed = True
            raise refused(self.path, error) from error

    def write_again(self, place: int) -> None:
        """Make what lies from `place` on durable, whatever became of earlier fsyncs. The system may
        show what it failed to write, and takes the next fsync of that for done.
        """
        try:
            for at in range(place, self.end, _PIECE_BYTES):
                piece = os.pread(self._handle, min(_PIECE_BYTES, self.end - at), at)
                _write_all(self._handle, piece, at)
            os.fdatasync(self._handle)
        except OSError as error:
            raise refused(self.path, error) from error

    def cut(self, place: int) -> None:
        """Make zeros of everything from `place` on, durably: a power cut tore it."""
        try:
            with self._mapped() as bytes_:
                stop = _last_used(bytes_, place)
            for at in range(place, stop, _PIECE_BYTES):
                _write_all(self._handle, bytes(min(_PIECE_BYTES, stop - at)), at)
            os.fdatasync(self._handle)
        except OSError as error:
            raise refused(self.path, error) from error
        self.end = place

    # --- reading ------------------------------------------------------------------------------

    def read(self, place: int) -> tuple[Placed, bytes] | None:
        """The frame at `place` and its body; None when there is no whole one."""
        try:
            head = os.pread(self._handle, FRAME_BYTES, place)
            frame = decode_frame(self._seed, head)
            if frame is None:
                return None
            body = os.pread(self._handle, frame.size, place + FRAME_BYTES)
        except OSError as error:
            raise refused(self.path, error) from error
        if not is_body(self._seed, frame, body):
            return None
        return Placed.at(place, frame), body

    def is_used(self, place: int) -> bool:
        """Whether anything but zeros lies at `place` or after it."""
        with self._mapped() as bytes_:
            return _last_used(bytes_, place) > place

    def frames(self, place: int = HEADER_BYTES) -> Iterator[Placed]:
        """The frames from `place` on, one after another, up to where none is. Their bodies are not
        checked: `read` does that.
        """
        with self._mapped() as bytes_:
            while True:
                frame = decode_frame(self._seed, bytes_[place : place + FRAME_BYTES])
                if frame is None:
                    return
                found = Placed.at(place, frame)
                if found.end > len(bytes_):
                    return
                yield found
                place = found.end

    def records(self, place: int) -> Iterator[tuple[Placed, bytes]]:
        """The frames from `place` on with their bodies, up to where no whole one is."""
        window = _Window(self._handle)
        while True:
            frame = self._head(window, place)
            if frame is None:
                return
            body = self._body(window, place, frame)
            if not is_body(self._seed, frame, body):
                return
            found = Placed.at(place, frame)
            yield found, body
            place = found.end

    def locate(self, lsn: int) -> int:
        """A place at or before that of the frame with commit `lsn`, close to it."""
        window = _Window(self._handle)
        with self._locating:
            place = self.places.before(lsn)
            while True:
                while (frame := self._head(window, place)) is not None and frame.last < lsn:
                    self.places.note(frame.first, place)
                    place = Placed.at(place, frame).end
                behind = self.places.behind(place, lsn) if frame is None else None
                if behind is None:
                    return place
                place = behind  # what lies between is damaged, and sealed

    def locate_behind(self, lsn: int) -> int:
        """A place at or before that of what follows commit `lsn`, close to it, also where that
        commit, or what lies before it, is damaged.
        """
        place = self.locate(lsn)
        window = _Window(self._handle)
        while (frame := self._head(window, place)) is not None and (
            max(frame.first, frame.last) <= lsn
        ):
            place = Placed.at(place, frame).end
        behind = self.places.behind(place, lsn + 1) if frame is None else None
        return place if behind is None else behind

    def _head(self, window: _Window, place: int) -> Frame | None:
        at = self._show(window, place, FRAME_BYTES)
        return decode_frame(self._seed, window.content, at)

    def _body(self, window: _Window, place: int, frame: Frame) -> bytes:
        at = self._show(window, place, FRAME_BYTES + frame.size) + FRAME_BYTES
        return window.content[at : at + frame.size]

    def _show(self, window: _Window, place: int, size: int) -> int:
        try:
            return window.show(place, size)
        except OSError as error:
            raise refused(self.path, error) from error

    def find_beyond(self, place: int) -> Placed | None:
        """The first whole frame that begins at `place` or anywhere after it."""
        with self._mapped() as bytes_:
            stop = _last_used(bytes_, place)
            for begin in range(place, stop, _PIECE_BYTES):
                piece = bytes_[begin : begin + _PIECE_BYTES + FRAME_BYTES]
                for at in likely_frames(piece):
                    frame = decode_frame(self._seed, piece, at)
                    if frame is None:
                        continue
                    start = begin + at + FRAME_BYTES
                    if is_body(self._seed, frame, bytes_[start : start + frame.size]):
                        return Placed.at(begin + at, frame)
        return None

    def __del__(self) -> None:
        """Closes the file when nobody has it any more. There is no `close`: a reader on another
        thread may be about to read, and the system gives a free descriptor to somebody else.
        """
        os.close(self._handle)

    def _mapped(self) -> mmap.mmap:
        try:
            return mmap.mmap(self._handle, self.size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise refused(self.path, error) from error


def is_blank_file(path: Path) -> bool:
    """Whether nothing was written into a file that `make_file` made: where its header would be are
    zeros. Raises `StorageError`.
    """
    try:
        with path.open("rb") as file:
            return not file.read(HEADER_BYTES).strip(b"\0")
    except OSError as error:
        raise refused(path, error) from error


def _last_used(bytes_: mmap.mmap, place: int) -> int:
    """The place after the last byte that is not zero; `place` when all from there on are zero."""
    stop = len(bytes_)
    while stop > place:
        begin = max(place, stop - _PIECE_BYTES)
        piece = bytes_[begin:stop]
        if piece != bytes(len(piece)):  # which is told faster than where zeros begin
            return begin + len(piece.rstrip(b"\0"))
        stop = begin
    return place


def _write_all(handle: int, content: bytes, place: int) -> None:
    """Write all of it: the system may take less at a time, and says why when it takes nothing."""
    view = memoryview(content)
    while view:
        done = os.pwrite(handle, view, place)
        view, place = view[done:], place + done


def refused(path: Path, error: OSError) -> StorageError:
    """What to raise of an error of the system about a file of the log."""
    return StorageError(f"{path}: {reason(error)}")
