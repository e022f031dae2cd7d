"""Tests can end the programs that they start, also where a shell runs the tests in the background.

The shell makes such a job ignore Ctrl-C, and whatever the job starts would ignore it too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import signal, subprocess
signal.signal(signal.{name}, signal.SIG_IGN)
import tests.conftest
child = subprocess.Popen(["sleep", "60"])
child.send_signal(signal.{name})
assert child.wait(10) == -signal.{name}
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM"])
def test_what_tests_start_heeds_signals_that_the_shell_ignores(name: str) -> None:
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", PROGRAM.format(name=name)], cwd=root, check=True)
