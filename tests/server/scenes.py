"""Clients of a service in one process, with sockets that are none: what is sent is counted, and
nothing depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from timeline.engine.engine import Engine
from timeline_server.config import config
from timeline_server.connection.connection import Connection
from timeline_server.logs.logger import configure
from timeline_server.service.service import Service

SECONDS = 20.0
PAUSE = 256 << 10  # output_pause_bytes


class Transport(asyncio.Transport):
    """A socket that keeps what is written and says when something was."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.written = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        self.written.set()

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Never full."""


def connect(service: Service) -> tuple[Connection, Transport]:
    transport = Transport()
    connection = Connection(service)
    connection.connection_made(transport)
    return connection, transport


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(each), each) for each in words
    )


class Socket(Transport):
    """One that takes all it is given, or nothing once it is `stuck`."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False
        self.aborted = False
        self.reading = True
        self.untaken = 0
        self.connection: Connection | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        if self.stuck:
            self.untaken += len(data)
            if self.untaken > PAUSE and self.connection is not None:
                self.connection.pause_writing()

    def take(self) -> None:
        self.stuck, self.untaken = False, 0
        assert self.connection is not None
        self.connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.untaken

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True
        assert self.connection is not None
        self.connection.connection_lost(None)

    def close(self) -> None:
        self.abort()


class Scene:
    """A service without a port."""

    def __init__(self, engine: Engine, *options: str) -> None:
        loop, (log, _) = asyncio.get_running_loop(), configure("error", "text")
        settings = config.load(list(options))
        self.service = Service(engine, settings, loop, log, lambda: None, 0)

    def connect(self) -> tuple[Connection, Socket]:
        socket = Socket()
        socket.connection = Connection(self.service)
        socket.connection.connection_made(socket)
        return socket.connection, socket

    async def fill(self, count: int) -> None:
        """Gives the timeline `t` so many entries of about a kilobyte."""
        connection, _ = self.connect()
        connection.data_received(encoded(b"XADD", b"t", b"*", b"f", b"x" * 1_000) * count)
        await until(lambda: self.service.engine.applied >= count)

    async def ask(self, *words: bytes) -> bytes:
        """What a client of its own is answered."""
        connection, socket = self.connect()
        connection.data_received(encoded(*words))
        await asyncio.wait_for(socket.written.wait(), SECONDS)
        connection.connection_lost(None)
        return socket.sent


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not done():  # noqa: ASYNC110  turns of the loop are what is waited for
            await asyncio.sleep(0)


Play = Callable[[Scene], Awaitable[None]]
