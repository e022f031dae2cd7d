"""`timelined` and `timeline` as processes of their own that cost a fork instead of their imports,
which take a third of a second of a core.

Rule: one that is forked gets the words, the environment, the directory and the streams that it
would have been started with, and ends with the same status. What it does while it loads, and that
it can be started at all, is for tests that start it themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

import click

from timeline_server import daemon
from timeline_tools import __main__ as tool

# Cheap, and without threads to fork. All that tests fork is loaded by one server.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.forked", "tests.engine.killed", "tests.engine.others"])

for _verb in tool.main.list_commands(click.Context(tool.main)):
    tool.main.get_command(click.Context(tool.main), _verb)  # else each that is forked imports it

PROGRAMS = {"timelined": lambda: sys.exit(daemon.main()), "timeline": tool.run}


def fork(
    program: str,
    words: Sequence[str | Path],
    *,
    stdout: Path | Connection,
    stderr: Path,
    stdin: Path = Path(os.devnull),
    environment: Mapping[str, str] | None = None,
    largest: int | None = None,
) -> ForkServerProcess:
    """Begin a program of `PROGRAMS`. What it says is added to files, or goes into a pipe. No file
    that it writes may be larger than `largest` bytes.
    """
    process = CONTEXT.Process(
        target=_become,
        args=([program, *map(str, words)], stdin, stdout, stderr, largest),
        kwargs={**os.environ, **(environment or {})},
        daemon=True,  # a test that fails may leave it behind
    )
    process.start()
    return process


def run(
    program: str, *words: str | Path, stdin: bytes = b"", largest: int | None = None
) -> CompletedProcess[bytes]:
    """What `subprocess.run` would give."""
    with TemporaryDirectory() as scratch:
        given, said, problems = (Path(scratch, name) for name in ("in", "out", "err"))
        given.write_bytes(stdin)
        process = fork(program, words, stdin=given, stdout=said, stderr=problems, largest=largest)
        process.join(100)
        assert process.exitcode is not None, f"{program} {words} does not end"
        return CompletedProcess(words, process.exitcode, said.read_bytes(), problems.read_bytes())


def _become(
    words: list[str],
    stdin: Path,
    stdout: Path | Connection,
    stderr: Path,
    largest: int | None,
    /,
    **environment: str,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    if isinstance(stdout, Path):
        os.dup2(_appending(stdout), 1)
    else:
        os.dup2(stdout.fileno(), 1)
        stdout.close()
    os.dup2(_appending(stderr), 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  the server closed its own
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    sys.argv = words
    PROGRAMS[words[0]]()


def _appending(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
