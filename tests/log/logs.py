"""Logs of small files, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from timeline.errors import StallError
from timeline.log.log import CommitLog

SMALL: Final = 4096  # bytes of a file here, so that there are several
NOW: Final = 1_700_000_000_000


def open_log(path: Path, *, marked: int = 0, after: int = 0) -> CommitLog:
    return CommitLog(path, file_bytes=SMALL, epoch=7, after=after, marked=marked)


def append(log: CommitLog, body: bytes, *, commits: int = 1, sync: bool = True) -> None:
    """As the engine does: where the next file is not ready, it tries again."""
    while True:
        try:
            log.append(log.last + 1, log.last + commits, body, NOW, sync=sync)
        except StallError:
            log._spare.wait()
        else:
            return


def bodies(log: CommitLog, after: int = 0) -> list[bytes]:
    return [body for _, _, body in log.read(after, log.last, 1 << 30)]


def numbered(count: int, size: int = 300) -> list[bytes]:
    return [f"{number}:".encode().ljust(size, b"x") for number in range(count)]
