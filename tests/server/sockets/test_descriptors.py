"""The promise: clients never take the descriptors that the store needs, however few there are."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvloop

from tests.server.daemon import Client, Daemon, Start
from timeline_server.logs.logger import configure
from timeline_server.sockets.listener import Listener

REFUSED = b"-ERR max number of clients reached\r\n"


@contextmanager
def at_most(daemon: Daemon, files: int) -> Iterator[None]:
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (files, before[1]))
    yield
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)


def opened(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def connect(daemon: Daemon, stack: ExitStack) -> socket.socket:
    link = stack.enter_context(socket.create_connection((daemon.host, daemon.port), 20))
    link.sendall(b"PING\r\n")
    return link


def write(client: Client) -> None:
    """What begins files: sealing, merging."""
    for _ in range(3):
        client.xadd("t", {"f": "v" * 1_000})
        client.execute_command("TIMELINE.COMPACT", "t")
    assert client.info("timeline")["writing"] == "on"


def test_a_crowd_leaves_the_last_descriptors_to_the_store(start: Start) -> None:
    daemon = start()
    with daemon.client() as client, ExitStack() as stack:
        write(client)
        with at_most(daemon, opened(daemon) + 70):
            answers = [connect(daemon, stack).recv(100) for _ in range(60)]
            assert answers[0] == b"+PONG\r\n"
            assert answers[-1] == REFUSED
            write(client)
        assert client.info("stats")["rejected_connections"] >= 1
        daemon.wait_for_log("the last open files are kept for the store")
        assert connect(daemon, stack).recv(100) == b"+PONG\r\n"


def test_without_one_to_accept_with_they_wait_and_nobody_else_does(start: Start) -> None:
    daemon = start()
    with daemon.client() as client, ExitStack() as stack:
        client.ping()
        with at_most(daemon, opened(daemon) - 10):
            waiting = connect(daemon, stack)
            while "connections are not accepted" not in daemon.log.read_text():
                client.ping()
        assert waiting.recv(100) == b"+PONG\r\n"
        assert daemon.log.read_text().count("connections are not accepted") == 1


class Full(socket.socket):
    """A socket to accept with for which there is no descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.bind(("127.0.0.1", 0))
        self.asked: list[float] = []
        self.enough = asyncio.Event()

    def accept(self) -> tuple[socket.socket, object]:
        self.asked.append(time.monotonic())
        if len(self.asked) == 3:
            self.enough.set()
        raise OSError(errno.EMFILE, "Too many open files")


def test_it_is_not_looked_at_without_an_end_whether_there_is_one(loggers: None) -> None:
    async def wait() -> list[float]:
        loop = asyncio.get_running_loop()
        log = configure("error", "text")[0]
        listener = Listener(loop, log, lambda: 1, lambda: b"")
        with Full() as full:
            listener.listen(full, 10, asyncio.Protocol)
            with socket.create_connection(full.getsockname()):
                await asyncio.wait_for(full.enough.wait(), 60)
            listener.close()
            return full.asked

    first, _, third = uvloop.run(wait())
    assert third - first > 0.15


def test_maxclients_may_not_exceed_the_open_files(start: Start) -> None:
    daemon = start()
    with daemon.client() as client:
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4_096, 4_096))
        with pytest.raises(Exception, match="not able to handle the specified number of clients"):
            client.config_set("maxclients", 5_000)
        client.config_set("maxclients", 3_000)
        assert client.config_get("maxclients") == {"maxclients": "3000"}
