"""The promise: a service manager hears when the daemon serves, that its loop turns, and when it
stops; and a daemon without one does as well.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.daemon import Start
from timeline_server.monitoring.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which it listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(20)
        yield link


def test_it_hears_that_the_daemon_serves_lives_and_stops(
    manager: socket.socket, start: Start
) -> None:
    place = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
    daemon = start(environment=place)
    assert manager.recv(100) == b"READY=1"
    for _ in range(3):
        assert manager.recv(100) == b"WATCHDOG=1"
    assert daemon.stop() == 0
    heard = [manager.recv(100)]
    while heard[-1] == b"WATCHDOG=1":
        heard.append(manager.recv(100))
    assert heard[-1] == b"STOPPING=1"


def test_nothing_is_vouched_for_unless_that_is_asked_for(
    manager: socket.socket, start: Start
) -> None:
    daemon = start(environment={"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(100) == b"READY=1"
    assert daemon.stop() == 0
    assert manager.recv(100) == b"STOPPING=1"


def test_a_manager_that_is_gone_stops_nothing(start: Start, tmp_path: Path) -> None:
    daemon = start(environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with daemon.client() as client:
        assert client.ping()
    assert daemon.stop() == 0


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("")  # the system chooses an abstract one
        link.settimeout(20)
        address = link.getsockname()
        name = "@" + (address.decode() if isinstance(address, bytes) else address)[1:]

        async def tell() -> None:
            Notifier(asyncio.get_running_loop(), {"NOTIFY_SOCKET": name}).ready()

        asyncio.run(tell())
        assert link.recv(100) == b"READY=1"
