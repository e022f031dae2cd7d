"""The promise: over HTTP the daemon says whether it lives and whether it is ready, from before it
opens its store until it stops, and nothing that is sent there hurts it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.ballast import fill
from tests.server.daemon import Client, Daemon, Start
from timeline.errors import UsageError
from timeline.options import MIB
from timeline_server.config import config
from timeline_server.logs.logger import configure
from timeline_server.monitoring.monitor import Monitor


@pytest.fixture
def watched(start: Start) -> Daemon:
    return start("--metrics-port", "0")


def port_of(daemon: Daemon) -> int:
    with daemon.client() as client:
        return int(client.info("server")["metrics_port"])


def exchange(port: int, request: bytes) -> bytes:
    """Everything that is answered to these bytes."""
    with socket.create_connection(("127.0.0.1", port), 20) as link:
        link.sendall(request)
        return received(link)


def received(link: socket.socket) -> bytes:
    found = b""
    while chunk := link.recv(1 << 16):
        found += chunk
    return found


def get(port: int, path: str) -> tuple[int, Any]:
    head, _, body = exchange(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(
        b"\r\n\r\n"
    )
    assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    status = int(head.split()[1])
    return status, json.loads(body) if b"application/json" in head else body


def test_there_is_no_such_port_unless_asked_for(daemon: Daemon) -> None:
    assert port_of(daemon) == -1
    with daemon.client() as client:
        assert client.config_get("metrics-port") == {"metrics-port": "-1"}


def test_a_daemon_that_serves_is_alive_and_ready(watched: Daemon) -> None:
    port = port_of(watched)
    status, body = get(port, "/healthz")
    assert (status, body["status"]) == (200, "alive")
    assert get(port, "/readyz") == (200, {"status": "ready"})
    assert get(port, "/readyz?verbose") == (200, {"status": "ready"})
    status, body = get(port, "/metrics")
    assert status == 200
    assert body.startswith(b"# HELP timeline_")


def use_up(client: Client) -> None:
    for _ in range(1_000):
        client.xadd("t", {"f": "v" * 100_000})


def test_a_full_disk_makes_it_unready_but_not_dead(
    start: Start, small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").symlink_to(small_disk)  # the daemon logs beside its directory
    words = ("--unsealed-bytes", "2m", "--write-buffer-bytes", "1m", "--search", "no")
    daemon = start("--metrics-port", "0", *words)
    port = port_of(daemon)
    ballast = fill(small_disk, 4 * MIB)
    with daemon.client(retry=None) as client:
        with pytest.raises(redis.ResponseError):
            use_up(client)
        status, body = get(port, "/readyz")
        assert status == 503
        assert (body["status"], body["code"]) == ("refusing", "READONLY")
        assert "free space" in body["reason"]
        assert get(port, "/healthz")[0] == 200
        text = get(port, "/metrics")[1].decode()
        assert "timeline_writing 0.0" in text
        assert 'timeline_write_refusal{code="READONLY"} 1.0' in text
        ballast.unlink()
        while get(port, "/readyz")[0] != 200:  # it looks at the disk once a second
            client.ping()
        client.xadd("t", {"f": "v"})
        assert "timeline_write_recoveries_total 1.0" in get(port, "/metrics")[1].decode()


def test_a_stop_on_a_full_disk_is_a_stop(start: Start, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(small_disk)
    words = ("--unsealed-bytes", "2m", "--write-buffer-bytes", "1m")
    daemon = start(*words)
    fill(small_disk, 4 * MIB)
    with daemon.client(retry=None) as client:
        with pytest.raises(redis.ResponseError):
            use_up(client)
        length = client.xlen("t")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log.read_text()
    (small_disk / "ballast").unlink()
    with start(*words).client() as client:
        assert client.xlen("t") >= length


def test_it_answers_while_the_store_is_opened_and_while_it_stops(loggers: None) -> None:
    async def look() -> None:
        monitor = Monitor(configure("error", "text")[0])
        place = socket.create_server(("127.0.0.1", 0))
        monitor.listen([place])
        port = place.getsockname()[1]
        try:
            assert await asyncio.to_thread(get, port, "/readyz") == (503, {"status": "opening"})
            assert (await asyncio.to_thread(get, port, "/metrics"))[0] == 503
            assert (await asyncio.to_thread(get, port, "/healthz"))[0] == 200
            monitor.stopping = True
            assert await asyncio.to_thread(get, port, "/readyz") == (503, {"status": "stopping"})
        finally:
            monitor.close()

    asyncio.run(look())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nosuch HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"*1\r\n$4\r\nPING\r\n\r\n", 400),
        (b"\0\xff\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", 400),
    ],
)
def test_what_is_no_request_of_ours_is_refused(
    watched: Daemon, request_: bytes, status: int
) -> None:
    port = port_of(watched)
    assert exchange(port, request_).startswith(b"HTTP/1.1 %d " % status)
    assert get(port, "/readyz")[0] == 200
    assert "Traceback" not in watched.log.read_text()


def test_head_has_no_body(watched: Daemon) -> None:
    answer = exchange(port_of(watched), b"HEAD /readyz HTTP/1.1\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Length: 20" in head
    assert body == b""


def test_who_sends_nothing_is_let_go_and_keeps_others_out_no_longer(
    loggers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline_server.monitoring.monitor._SECONDS", 0.5)

    async def look() -> None:
        monitor = Monitor(configure("error", "text")[0])
        place = socket.create_server(("127.0.0.1", 0))
        monitor.listen([place])
        port = place.getsockname()[1]
        try:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
            for reader, _ in idle:  # the last at once, the others when their time is over
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
            for _, writer in idle:
                writer.transport.abort()
            assert (await asyncio.to_thread(get, port, "/healthz"))[0] == 200
        finally:
            monitor.close()

    asyncio.run(look())


def test_a_mistake_of_ours_is_told_and_logged(
    loggers: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Monitor) -> None:
        raise RuntimeError("lost the way")

    monkeypatch.setattr(Monitor, "_readiness", fail)

    async def look() -> None:
        monitor = Monitor(configure("error", "text")[0])
        place = socket.create_server(("127.0.0.1", 0))
        monitor.listen([place])
        try:
            port = place.getsockname()[1]
            assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 500
        finally:
            monitor.close()

    asyncio.run(look())
    assert "lost the way" in capsys.readouterr().err


def test_its_port_is_not_that_of_the_clients() -> None:
    with pytest.raises(UsageError, match="port and metrics_port are the same"):
        config.load(["--port", "7000", "--metrics-port", "7000"], {})
