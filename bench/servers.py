"""The two sides of a measurement, each started on a directory of its own and a free loopback port.

Rule: both acknowledge only what is fsynced, and neither is tuned beyond that. A server knows its
process, so that the CPU it takes can be read; it says nothing about how it is driven.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis

REDIS: Final = "redis"
TIMELINED: Final = "timelined"
BARE: Final = "a bare loop"

_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def missing_programs() -> list[str]:
    """What of the peer is not installed."""
    return [name for name in ("redis-server", "redis-benchmark") if shutil.which(name) is None]


class Server:
    """A process that speaks the Redis protocol on 127.0.0.1, for as long as the `with` lasts."""

    def __init__(self, name: str, command: Sequence[str], port: int, directory: Path) -> None:
        self.name = name
        self.port = port
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def connect(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=120)

    def cpu_seconds(self) -> float:
        """CPU time of all threads so far, user and system; in steps of a clock tick (10 ms)."""
        stat = Path(f"/proc/{self.pid}/stat").read_text("ascii")
        fields = stat.rpartition(")")[2].split()  # behind the name, which may hold anything
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self.connect() as client:
                    client.ping()
            except redis.ConnectionError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    tail = self._log.read_text("utf-8", "replace")[-2000:]
                    raise RuntimeError(f"{self.name} does not answer:\n{tail}") from error
                time.sleep(0.02)
            else:
                return

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()


def start_redis(directory: Path) -> Server:
    """Redis as durable as we are: append-only file, fsynced before each acknowledgement."""
    port = _free_port()
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        # A rewrite in the background would fall into the other side's turn.
        "auto-aof-rewrite-percentage": "0",
    }
    command = ["redis-server"]
    for option, value in options.items():
        command += [f"--{option}", value]
    return Server(REDIS, command, port, directory)


def start_timelined(directory: Path, *options: str) -> Server:
    """Our daemon with the options it has by default, but for `options`."""
    port = _free_port()
    program = Path(sys.executable).with_name(TIMELINED)
    command = [str(program), "--data", str(directory / "data"), "--port", str(port), *options]
    return Server(TIMELINED, command, port, directory)


def start_bare(directory: Path) -> Server:
    """A loop that stores nothing: see `bench.bare`."""
    port = _free_port()
    program = Path(__file__).with_name("bare.py")
    return Server(BARE, [sys.executable, str(program), "--port", str(port)], port, directory)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
