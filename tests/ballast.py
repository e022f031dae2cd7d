"""Filling a disk, for tests of what happens then."""

from __future__ import annotations

import shutil
from pathlib import Path

from timeline.options import KIB


def fill(path: Path, leave: int) -> Path:
    """Use up the disk of `path` but for `leave` bytes; the file that does."""
    ballast = path / "ballast"
    with ballast.open("ab") as file:
        while (free := shutil.disk_usage(path).free) > leave:
            file.write(bytes(min(64 * KIB, free - leave)))
            file.flush()
    return ballast
