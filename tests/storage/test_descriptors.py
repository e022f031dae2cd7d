"""The promise: no file of a store gets a descriptor that something prints to."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from timeline.storage.descriptors import keep_standard

# Closes standard streams, opens a file of a store, and prints.
PROGRAM = """
import os, sys
from timeline.storage.descriptors import keep_standard
path, *closed = sys.argv[1:]
for each in closed:
    os.close(int(each))
keep_standard()
file = os.open(path, os.O_RDWR | os.O_CREAT)
os.write(file, b"of the store; ")
for each in (1, 2):
    os.write(each, b"printed")
assert os.read(0, 100) == b"", "there is nothing to read"
os.write(file, b"descriptor %d" % file)
"""
CLOSED = [tuple(n for n in range(3) if bits[n]) for bits in product([0, 1], repeat=3)]


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_what_is_printed_never_goes_into_a_file(tmp_path: Path, closed: tuple[int, ...]) -> None:
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path, *map(str, closed)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert path.read_bytes() == b"of the store; descriptor 3"
    assert done.stdout == (b"" if 1 in closed else b"printed")
    assert done.stderr == (b"" if 2 in closed else b"printed")


def test_no_descriptor_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    keep_standard()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
