"""The promise: who waits for long work can see how far it is, and it ends when he goes, with
nothing half-done left behind.

A backup looks at what lies beside its target. A pipe in the place of a manifest holds it there
until the test lets it go.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.server.daemon import Client, Daemon, Start
from tests.server.scenes import SECONDS, connect
from timeline.admin.progress import Progress
from timeline.engine.engine import Engine
from timeline.errors import UsageError
from timeline_server.config import config
from timeline_server.logs.logger import configure
from timeline_server.service.service import Service
from timeline_tools.sources.wire import Wire


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline


class Held:
    """A daemon whose backups stop in the middle of their work, below `directory`."""

    def __init__(self, start: Start, directory: Path) -> None:
        self.directory = directory
        (directory / "earlier").mkdir(parents=True)
        self._pipe = directory / "earlier" / "manifest.json"
        os.mkfifo(self._pipe)
        self.daemon: Daemon = start("--backup-directory", str(directory))
        self._watching: Client = self.daemon.client(decode_responses=True)
        self._watching.xadd("a", {"f": "1"})

    def ask(self, name: str) -> Client:
        """A client that waits for a backup."""
        client = self.daemon.client(single_connection_client=True)
        client.connection.send_command("BACKUP", name)
        until(self.reached)
        return client

    def reached(self) -> bool:
        """Whether the backup reads from the pipe, which then has an end here."""
        try:
            self._end = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return False
        return True

    def jobs(self) -> list[dict[str, str]]:
        return [dict(job) for job in self._watching.info("jobs").values()]

    def alone(self) -> bool:
        """Whether the daemon knows that all others have gone."""
        return len(self._watching.client_list()) == 1

    def let_go(self) -> None:
        os.write(self._end, b"{}")
        os.close(self._end)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture
def held(start: Start, tmp_path: Path) -> Held:
    return Held(start, tmp_path / "backups")


def test_work_under_way_is_shown(held: Held) -> None:
    client = held.ask("monday")
    (job,) = held.jobs()
    assert job.keys() == {"command", "client", "seconds", "done", "total"}
    assert job["command"] == "BACKUP"
    held.let_go()
    assert client.connection.read_response()
    assert held.jobs() == []
    assert held.left() == ["earlier", "monday"]


def test_the_tools_follow_work(held: Held) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        if not told:
            until(held.reached)
            held.let_go()
        told.append((done, total))

    with Wire(f":{held.daemon.port}") as wire:
        assert wire.follow("BACKUP", "monday", progress=progress)
    assert told
    assert held.left() == ["earlier", "monday"]


def test_work_ends_when_its_client_goes(held: Held) -> None:
    held.ask("monday").close()
    until(held.alone)
    held.let_go()
    until(lambda: not held.jobs())
    assert held.left() == ["earlier"]


def test_a_daemon_that_stops_ends_its_work(held: Held) -> None:
    client = held.ask("monday")
    held.daemon.process.terminate()
    with pytest.raises(redis.ConnectionError):
        client.connection.read_response()
    held.let_go()
    assert held.daemon.stop() == 0
    assert held.left() == ["earlier"]


def test_jobs_keep_nobody_from_searching(tmp_path: Path) -> None:
    """Nor does one that waits for its turn outlive its client."""
    free = threading.Event()

    def work(tell: object) -> bytes:
        assert free.wait(SECONDS)
        return b"+OK\r\n"

    async def scene() -> None:
        loop, log = asyncio.get_running_loop(), configure("error", "text")[0]
        service = Service(engine, config.load([]), loop, log, lambda: None, 0)
        busy = [connect(service)[0] for _ in range(20)]
        for connection in busy:
            service.threads.detach_job(connection, "TIMELINE.COMPACT", work)
        for detach in (service.threads.detach_search, service.threads.detach):
            client, transport = connect(service)
            detach(client, lambda: b"+PONG\r\n")
            await asyncio.wait_for(transport.written.wait(), SECONDS)
            assert transport.sent == b"+PONG\r\n"
        for connection in busy:
            connection.connection_lost(None)
        for _ in range(5):  # turns of the loop, in which those hear of it
            await asyncio.sleep(0)
        assert len(service.threads.jobs) <= 2, "those that have begun"
        free.set()

    with Engine(tmp_path / "store") as engine:
        try:
            asyncio.run(scene())
        finally:
            free.set()


def test_a_job_that_fails_is_told_to_its_client_and_is_no_error_of_the_loop(tmp_path: Path) -> None:
    problems: list[dict[str, Any]] = []

    async def scene(engine: Engine) -> bytes:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, problem: problems.append(problem))
        log, _ = configure("error", "text")
        service = Service(engine, config.load([]), loop, log, lambda: None, 0)
        connection, transport = connect(service)

        def fail(_: Progress) -> bytes:
            raise UsageError("nowhere")

        connection.data_received(b"PING\r\n")
        transport.written.clear()
        service.threads.detach_job(connection, "BACKUP", fail)
        await asyncio.wait_for(transport.written.wait(), SECONDS)
        assert not service.threads.jobs
        connection.connection_lost(None)
        return transport.sent

    with Engine(tmp_path / "store") as engine:
        assert asyncio.run(scene(engine)) == b"+PONG\r\n-ERR nowhere\r\n"
    gc.collect()
    assert problems == []
