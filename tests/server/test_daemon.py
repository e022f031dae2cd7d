"""The promise: the daemon says when it serves, stops without losing anything, and is configured in
one way by file, environment and command line.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.server.daemon import Daemon, Start
from timeline.errors import UsageError
from timeline_server import config


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "timeline_server", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_ready_line_names_the_place(daemon: Daemon) -> None:
    assert re.fullmatch(r"ready on 127\.0\.0\.1:\d+", daemon.ready)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_a_stop_loses_nothing(start: Start, number: int, fsync: str) -> None:
    daemon = start("--fsync", fsync)
    with daemon.client() as client:
        for _ in range(10):
            client.xadd("t", {"f": "v"})
    assert daemon.stop(number) == 0
    again = start("--fsync", fsync)
    with again.client() as client:
        assert client.xlen("t") == 10
        assert client.xadd("t", {"f": "v"}) == b"11-0"


def test_what_was_received_before_the_stop_is_answered(start: Start) -> None:
    daemon = start()
    one = b"*5\r\n$4\r\nXADD\r\n$1\r\nt\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n"
    with socket.create_connection((daemon.host, daemon.port), 20) as link:
        link.sendall(one * 1000)
        assert link.recv(10, socket.MSG_PEEK)
        assert daemon.stop() == 0
        received = b""
        while chunk := link.recv(1 << 16):
            received += chunk
    answered = received.count(b"\r\n") // 2
    with start().client() as client:
        assert client.xlen("t") >= answered > 0


def test_stopping_lets_go_of_blocked_clients(start: Start) -> None:
    daemon = start()
    with socket.create_connection((daemon.host, daemon.port), 20) as link:
        link.sendall(b"PING\r\nXREAD BLOCK 0 STREAMS t $\r\n")
        assert link.recv(100) == b"+PONG\r\n"
        assert daemon.stop() == 0
        assert link.recv(100) == b""


def test_shutdown_stops_the_daemon(start: Start) -> None:
    daemon = start()
    with daemon.client() as client:
        client.xadd("t", {"f": "v"})
        client.shutdown(nosave=True)
    assert daemon.process.wait(30) == 0


def test_a_kill_loses_nothing_acknowledged(start: Start) -> None:
    daemon = start()
    acknowledged: list[list[bytes]] = [[] for _ in range(4)]

    def append(index: int) -> None:
        with daemon.client(retry=None) as client:
            try:
                while True:
                    acknowledged[index].append(client.xadd(f"t{index}", {"f": "v"}))
            except redis.ConnectionError:
                return

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(append, index) for index in range(4)]
        while min(map(len, acknowledged)) < 50:
            assert not all(each.done() for each in running)
        daemon.stop(signal.SIGKILL)
    with start().client() as client:
        for index, expected in enumerate(acknowledged):
            found = [entry[0] for entry in client.xrange(f"t{index}")]
            assert found[: len(expected)] == expected
            assert found == [b"%d-0" % number for number in range(1, len(found) + 1)]
            assert len(found) <= len(expected) + 1


def test_a_second_daemon_on_the_same_store_says_who_holds_it(start: Start, tmp_path: Path) -> None:
    start()
    found = run("--data", str(tmp_path / "data"), "--port", "0")
    assert found.returncode == 1
    assert str(tmp_path / "data") in found.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_other_addresses_are_refused(host: str, tmp_path: Path) -> None:
    found = run("--data", str(tmp_path / "data"), "--host", host, "--port", "0")
    assert found.returncode == 2
    assert "without authentication" in found.stderr
    assert not (tmp_path / "data").exists()


def test_help_shows_every_option() -> None:
    found = run("--help")
    assert found.returncode == 0
    for option in config.options():
        assert "--" + option.name.replace("_", "-") in found.stdout
        assert option.text


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "timelined.toml"
    file.write_text('port = 1\nhost = "::1"\nentry-bytes = "64k"\ncreate = false\ndata = "x"\n')
    environment = {"TIMELINED_CONFIG": str(file), "TIMELINED_PORT": "2", "TIMELINED_DATA": "y"}
    found = config.load(["--port", "3"], environment)
    assert (found.settings.port, found.settings.data, found.settings.host) == (3, "y", "::1")
    assert (found.engine.entry_bytes, found.engine.create) == (64 << 10, False)


@pytest.mark.parametrize(
    "text",
    ["nosuch = 1", "port = 'x'", "port = 70000", "create = 'maybe'", "fsync = 'never'", "= 3"],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "timelined.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        config.load(["--config", str(file)], {})


def test_logs_are_structured(start: Start) -> None:
    daemon = start("--log-format", "json")
    daemon.stop()
    lines = daemon.log.read_text().splitlines()
    assert lines
    assert all(line.startswith("{") and '"event"' in line for line in lines)
