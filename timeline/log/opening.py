"""Opening the log: where it ends, and whether that is its true end.

Responsibility: list the files, walk the frames above an LSN, and tell a write that a power cut tore
from damage.

Rule: where the next frame above the sealed LSN is not whole, what comes after it decides.

    a whole frame lies further on               damage in the middle: `CorruptError`
    none does, and the durable mark is reached  a torn write: the log ends before it
    none does, and the mark is not reached      the end is lost: `CorruptError`

Where no frame is written before the fsync of the one before it returned, nothing whole follows a
torn one. Where several are written between two fsyncs, a power cut may keep any of them. Each of
those but the first says so (`UNSYNCED`). Where such a frame follows the gap, and the mark is
reached, the log ends at the gap.

A file holds the LSNs below the first one of the next file. What it holds above was copied forward
to that one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from timeline.errors import CorruptError, FormatVersionError
from timeline.formats.logfiles import HEADER_BYTES, UNSYNCED, VERSION, file_version
from timeline.log.file import LogFile, first_of, refused

_ADVICE: Final = "restore a backup, or keep the whole prefix with `timeline repair`"


class Found(NamedTuple):
    files: list[LogFile]  # in order; the last is the one to write to
    last: int  # the last LSN
    torn: bool  # whether the last file holds a torn write after its end


def open_files(
    directory: Path,
    *,
    after: int,
    marked: int,
    read_only: bool = False,
    known: dict[Path, LogFile] | None = None,
) -> Found:
    """Open the files and check every frame above LSN `after`, which is sealed. `marked` is the LSN
    known to be durable. Of the files in `known`, which are open, that is done above what was seen
    of them.

    Raises `CorruptError`, `FormatVersionError`, `StorageError`.
    """
    files = _list_files(directory, read_only=read_only, known=known or {})
    if not files:
        if marked > after:
            raise CorruptError(f"{directory}: the log has gone above LSN {after}: {_ADVICE}")
        return Found([], after, torn=False)
    last, torn = after, False
    needed = max(0, sum(file.header.first <= after + 1 for file in files) - 1)
    if files[needed].header.first > after + 1:
        raise CorruptError(
            f"{files[needed].path}: the log begins at LSN {files[needed].header.first}, and what "
            f"follows LSN {after} is lost: {_ADVICE}"
        )
    for number, file in enumerate(files[needed:], needed):
        below = files[number + 1].header.first if number + 1 < len(files) else None
        last = _walk(file, after, below)
        if below is not None:
            if last + 1 != below:
                _refuse(file, last, below)
        elif file.is_used(file.end):
            beyond = file.find_beyond(file.end)
            lost = beyond is not None and beyond.flags & UNSYNCED and last >= marked
            if beyond is not None and not lost:
                _refuse(file, last, beyond.first)
            torn = True
    if last < max(marked, after):
        raise CorruptError(
            f"{files[-1].path}: the log ends at LSN {last}, but commits up to "
            f"{max(marked, after)} were acknowledged: restore a backup, or accept the loss with "
            "`timeline repair`"
        )
    return Found(files, last, torn)


def _list_files(directory: Path, *, read_only: bool, known: dict[Path, LogFile]) -> list[LogFile]:
    try:
        paths = sorted(path for path in directory.iterdir() if first_of(path) is not None)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise refused(directory, error) from error
    files: list[LogFile] = []
    for path in paths:
        file = known.get(path) or LogFile.open(path, read_only=read_only)
        if file is None:
            _refuse_header(path)
        if file.header.first != first_of(path):
            raise CorruptError(f"{path} begins at LSN {file.header.first}: it was renamed")
        files.append(file)
    return files


def _walk(file: LogFile, after: int, below: int | None) -> int:
    """The last LSN that `file` holds below `below`, without a gap above LSN `after`. Sets its
    end.
    """
    place = file.places.before(after + 1)
    reached = _walk_on(file, place, file.header.first - 1, after, below)
    while reached < after:  # what is damaged here is sealed: only followers may miss it
        beyond = file.find_beyond(file.end)
        if beyond is None or beyond.first > after + 1:
            break
        file.places.note_resumed(beyond.first, beyond.place)
        reached = _walk_on(file, beyond.place, beyond.first - 1, after, below)
    return reached


def _walk_on(file: LogFile, place: int, reached: int, after: int, below: int | None) -> int:
    """The same from `place` on, up to the first gap. The LSN before it is `reached`."""
    for frame in file.frames(place):
        if frame.place == place > HEADER_BYTES:  # what lies before it was walked over earlier
            reached = frame.first - 1
        if frame.first != reached + 1 or (below is not None and frame.first >= below):
            break
        if frame.first > after and file.read(frame.place) is None:
            break
        file.places.note(frame.first, frame.place)
        file.newest, file.end = frame, frame.end
        reached = frame.last
    return reached


def _refuse(file: LogFile, last: int, beyond: int) -> NoReturn:
    raise CorruptError(
        f"{file.path} is damaged at byte {file.end}: the commits from LSN {last + 1} up to "
        f"{beyond - 1} are lost there, and others follow: {_ADVICE}"
    )


def _refuse_header(path: Path) -> NoReturn:
    try:
        with path.open("rb") as read:
            version = file_version(read.read(HEADER_BYTES))
    except OSError as error:
        raise refused(path, error) from error
    if version is not None and version != VERSION:
        raise FormatVersionError(
            f"{path} has version {version}, this version of Timeline reads {VERSION}: use the one "
            "that wrote it"
        )
    raise CorruptError(f"{path} is damaged at byte 0, where its header is: {_ADVICE}")
