"""The promise: however a verb is ended, it says one word, its status says why, and it leaves no
temporary file behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools.installed import PROGRAM


@contextmanager
def following(
    stopped: Path, temporary: Path, *, below: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """One that shows an entry and then waits for more."""
    words = [PROGRAM, "tail", "-f", "-n", "1", str(stopped), "room:001"]
    process = subprocess.Popen(
        [*below, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("3000-0")
        assert list(temporary.iterdir()), "it has something to leave behind"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(stopped: Path, tmp_path: Path, number: signal.Signals) -> None:
    with following(stopped, tmp_path) as process:
        process.send_signal(number)
        _, problems = process.communicate(timeout=30)
        assert (process.returncode, problems) == (128 + number, "stopped\n")
    assert not list(tmp_path.iterdir())


def test_what_was_started_to_outlive_its_terminal_does(stopped: Path, tmp_path: Path) -> None:
    with following(stopped, tmp_path, below=["nohup"]) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_not_meant_for_what_a_script_runs_in_the_background(
    stopped: Path, tmp_path: Path
) -> None:
    ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "-"]
    with following(stopped, tmp_path, below=ignoring) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_a_verb_loads_ends_it_without_a_word() -> None:
    program = """
import os, signal, sys
from timeline_tools import __main__, main
main.import_module = lambda *_: os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["timeline", "ls"]
__main__.run()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, b"", b"")
