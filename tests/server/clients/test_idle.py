"""The promise: dead peers and idle clients do not hold places, and whoever waits is not idle."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.server.daemon import Daemon, Start
from timeline_server.sockets.listener import _keep_alive


def read_to_the_end(link: socket.socket) -> None:
    with suppress(ConnectionResetError):
        while link.recv(100):
            pass


@pytest.fixture
def impatient(start: Start) -> Daemon:
    return start("--timeout", "1")


def connect(daemon: Daemon, sent: bytes) -> socket.socket:
    link = socket.create_connection((daemon.host, daemon.port), 60)
    link.sendall(sent)
    return link


def test_who_does_nothing_is_closed_and_who_waits_is_not(impatient: Daemon) -> None:
    with impatient.client(protocol=3) as client:
        client.execute_command("CONV.CREATE", "c", "-", "MEMBERS", 1, "bob")
        listed = client.execute_command("USER.CONVERSATIONS", "bob")
    waiting = {
        "blocked": b"XREAD BLOCK 0 STREAMS t $\r\n",
        "sync": b"USER.SUBSCRIBE bob phone AFTER %b\r\n" % listed[b"position"],
        "channel": b"SUBSCRIBE news\r\n",
        "device": b"SUBSCRIBE sync:bob:phone\r\n",
    }
    with ExitStack() as stack, impatient.client() as client:
        links = {
            name: stack.enter_context(connect(impatient, b"HELLO 3\r\n" + sent))
            for name, sent in waiting.items()
        }
        idle = [
            stack.enter_context(connect(impatient, sent))
            for sent in (b"", b"PING\r\n", b"MULTI\r\n", b"*1\r\n$4\r\nPI")
        ]
        for link in idle:
            read_to_the_end(link)
        assert len(client.client_list()) == 1 + len(links)
        client.xadd("t", {"f": "v"})
        received = b""
        while b"1-0" not in received:
            received += links["blocked"].recv(1000)
    impatient.wait_for_log("idle_for=1")


def test_a_client_that_asks_now_and_then_stays(impatient: Daemon) -> None:
    with impatient.client() as client, connect(impatient, b"") as idle:
        number = client.client_id()
        idle.settimeout(0.1)
        closed = False
        while not closed:
            assert client.client_id() == number
            with suppress(TimeoutError):
                read_to_the_end(idle)
                closed = True
        assert client.client_id() == number


def test_nobody_is_closed_by_default_and_it_may_be_changed_while_it_runs(daemon: Daemon) -> None:
    with daemon.client() as client:
        assert client.config_get("timeout") == {"timeout": "0"}
        assert client.config_get("tcp-keepalive") == {"tcp-keepalive": "300"}
        client.config_set("timeout", 1)
        with connect(daemon, b"PING\r\n") as idle:
            read_to_the_end(idle)
        client.config_set("timeout", 0)


def timers(daemon: Daemon) -> set[str]:
    """What the system waits for on the daemon's connections; 02 is what is asked after silence."""
    own = f":{daemon.port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return {row[5][:2] for row in rows if row[1].endswith(own) and row[3] == "01"}


def test_every_connection_is_asked_for(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.ping()
        while "02" not in timers(daemon):  # once everything sent is acknowledged
            pass


def test_the_system_asks_whether_a_silent_peer_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for seconds, expected in ((300, (1, 300, 100, 3)), (1, (1, 1, 1, 3)), (10**6, None)):
            with socket.create_connection(server.getsockname()) as link:
                _keep_alive(link, seconds)
                found = (
                    link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                    link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                )
                assert found == (expected or (1, 32_767, 32_767, 3))
        with socket.create_connection(server.getsockname()) as link:
            _keep_alive(link, 0)
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
