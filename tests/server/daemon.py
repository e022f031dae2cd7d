"""`timelined` as a process of its own, for tests that need a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

# A client of redis-py. Its own types leave open for each reply whether it has yet to be awaited and
# in which protocol it came; no test here does.
Client = Any


class Daemon:
    """`timelined` as a process. `options` are command line words."""

    def __init__(
        self, data: Path, *options: str, environment: dict[str, str] | None = None
    ) -> None:
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "timeline_server", "--data", data, "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().strip()
        if not self.ready.startswith("ready on "):
            self.stop()
            pytest.fail(f"no ready line, but {self.ready!r} and {self.log.read_text()}")
        self.host, _, port = self.ready.removeprefix("ready on ").rpartition(":")
        self.port = int(port)

    def client(self, **options: Any) -> Client:  # noqa: ANN401  redis-py's own
        return redis.Redis(host=self.host, port=self.port, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to stop, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    def resident(self) -> int:
        """Bytes of memory in use."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


Start = Callable[..., Daemon]
