"""A small disk for tests of full ones: a file system in memory, which takes root to mount."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from timeline.options import KIB, MIB

SIZE = 48 * MIB


@contextmanager
def mounted(path: Path) -> Iterator[Path]:
    """The disk at `path`, while it is there; the test is skipped where that is not allowed."""
    path.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here: run the tests as root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def free(path: Path) -> int:
    return shutil.disk_usage(path).free


def fill(path: Path, leave: int) -> Path:
    """Use up the disk but for `leave` bytes; the file that does."""
    ballast = path / "ballast"
    with ballast.open("ab") as file:  # cutting it first would give space to whoever is waiting
        while free(path) > leave:
            file.write(bytes(min(64 * KIB, free(path) - leave)))
            file.flush()
    return ballast
