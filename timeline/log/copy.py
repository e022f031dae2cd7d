"""A part of the log, copied into a file of its own, as a backup holds it.

Rule: the copy is as large as what is in it. A store can be opened with it: what follows goes into
another file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from timeline.formats.logfiles import UNSYNCED, FileHeader
from timeline.log.file import LogFile, name_of
from timeline.storage.files import private

_SYNC_RECORDS: Final = 1_000  # written between two fsyncs


def write_records(
    directory: Path, records: Iterator[tuple[int, int, bytes]], *, last: int, epoch: int, now: int
) -> Path:
    """Write `records`, each a first LSN, a last LSN and its bytes, to a new file in `directory`,
    durably. They follow one another up to LSN `last`, and none is younger than `now` (ms). Returns
    the path. Raises `StorageError`, `OSError`.
    """
    oldest = next(records, None)
    first = last + 1 if oldest is None else oldest[0]
    path = directory / name_of(first)
    os.close(private(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    file = LogFile.begin(path, FileHeader(epoch, first, now, os.urandom(8)))
    found = records if oldest is None else chain([oldest], records)
    for number, (begins, ends, body) in enumerate(found):
        file.write(begins, ends, UNSYNCED if number else 0, body, sync=False)
        if number % _SYNC_RECORDS == 0:
            file.sync()
    file.sync()
    return path
