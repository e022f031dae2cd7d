"""`timelined` as a process of its own, for tests that need a real one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.forked import CONTEXT, fork

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
        said, says = CONTEXT.Pipe(duplex=False)
        self.process = fork(
            "timelined",
            ["--data", data, "--port", "0", *options],
            stdout=says,
            stderr=self.log,
            environment=environment,
        )
        says.close()
        assert self.process.pid is not None, "it has begun"
        self.pid = self.process.pid
        self._said = open(os.dup(said.fileno()))  # noqa: PTH123, SIM115  open while it runs
        said.close()
        self.ready = self._said.readline().strip()
        if not self.ready.startswith("ready on "):
            self.stop()
            pytest.fail(f"no ready line, but {self.ready!r} and {self.log.read_text()}")
        self.host, _, port = self.ready.removeprefix("ready on ").rpartition(":")
        self.port = int(port) if port.isdigit() else 0  # of a Unix socket

    def client(self, **options: Any) -> Client:  # noqa: ANN401  redis-py's own
        return redis.Redis(host=self.host, port=self.port, **options)

    def wait_for_log(self, text: str) -> None:
        """Returns once its log says `text`: lines are written beside the loop. Each look is a round
        trip, and the test's own limit of time is how long this lasts.
        """
        with self.client() as client:
            while text not in self.log.read_text():
                client.ping()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to stop, and returns its exit status."""
        if self.process.exitcode is None:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(self.pid, number)
        return self.ended()

    def ended(self) -> int:
        """Waits for its end, and returns its exit status."""
        self.process.join(30)
        self._said.close()
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode

    def resident(self) -> int:
        """Bytes of memory in use."""
        pages = Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


Start = Callable[..., Daemon]
