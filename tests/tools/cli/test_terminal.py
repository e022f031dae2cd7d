"""The promise: on a terminal, however narrow, nothing is cut off."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tools.installed import PROGRAM


def on_terminal(columns: int, *words: str) -> str:
    """What it shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [PROGRAM, *words], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # which is how it ends
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    return shown.decode()


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize(
    "words",
    [["user", "{}", "bob"], ["inspect", "{}"], ["stats", "{}"], ["conversation", "{}", "team"]],
)
def test_no_number_is_cut_off(stopped: Path, columns: int, words: list[str]) -> None:
    shown = on_terminal(columns, *(word.format(stopped) for word in words))
    assert "…" not in shown
    if words[0] == "user":
        assert "uncounted" in shown
