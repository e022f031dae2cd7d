"""A real daemon for the tests: a process of its own, on a free port, stopped at the end."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.server.daemon import Client, Daemon, Start
from tests.server.scenes import Play, Scene
from timeline.engine.engine import Engine


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for a whole module of tests, with default options but for one: numbers begin at
    1 again after FLUSHALL.
    """
    running = Daemon(tmp_path_factory.mktemp("daemon") / "data", "--deleted-names", "0")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a redis-server."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    path = tmp_path_factory.mktemp("redis") / "s"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", path.parent],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "ready to accept connections" in line.lower():
            break
    yield path
    server.terminate()
    server.wait(20)
    server.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts daemons with options of the test's own."""
    running: list[Daemon] = []

    def begin(
        *options: str, name: str = "data", environment: dict[str, str] | None = None
    ) -> Daemon:
        running.append(Daemon(tmp_path / name, *options, environment=environment))
        return running[-1]

    yield begin
    for each in running:
        each.stop(signal.SIGKILL)


@pytest.fixture
def own() -> str:
    """A word that no other test uses."""
    return uuid4().hex[:8]


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A redis-py client of either protocol, on an empty store."""
    with daemon.client(protocol=request.param) as connected:
        connected.flushall()
        yield connected


@pytest.fixture
def loggers() -> Iterator[None]:
    """Gives logging back as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    def run(scene: Play, *options: str) -> None:
        async def begin() -> None:
            await scene(Scene(engine, *options))

        with Engine(tmp_path / "store") as engine:
            asyncio.run(begin())

    return run
