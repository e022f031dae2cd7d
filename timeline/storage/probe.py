"""Probes: what a disk does when it is asked, measured next to the files of the store.

Rule: a probe leaves nothing, whatever ends it: its file has no name.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from timeline.options import MIB

SLOW_FSYNC_SECONDS: Final = 0.001  # from here on a thread had better wait for an fsync

_TRIES: Final = 9  # fsyncs that are timed
_FULL_BYTES: Final = 4 * MIB  # room without which a disk counts as full


def fsync_seconds(directory: Path) -> float:
    """What an fsync of a few kilobytes takes in `directory`: the median of some.

    Raises `OSError`.
    """
    return statistics.median(_time_fsyncs(directory, _TRIES, 4096))


def disk_takes_bytes(directory: Path) -> bool:
    """Whether some megabytes can be written and fsynced in `directory`."""
    try:
        _time_fsyncs(directory, 1, _FULL_BYTES)
    except OSError:
        return False
    return True


def _time_fsyncs(directory: Path, times: int, size: int) -> list[float]:
    """Seconds that each fsync takes of a file which grows by `size` bytes as many times."""
    took = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(times):
            file.write(bytes(size))
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begin)
    return took
