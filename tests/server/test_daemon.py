"""The promise: the daemon says when it serves, stops without losing anything, and is configured in
one way by file, environment and command line.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
import redis

import timeline
from tests import forked
from tests.server.daemon import Daemon, Start
from timeline.errors import StorageError, UsageError
from timeline_server.config import config


def run(*words: str) -> subprocess.CompletedProcess[str]:
    ran = forked.run("timelined", *words)
    return subprocess.CompletedProcess(
        ran.args, ran.returncode, ran.stdout.decode(), ran.stderr.decode()
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
    with daemon.client(retry=None) as client:
        client.xadd("t", {"f": "v"})
        client.shutdown(nosave=True)
    assert daemon.ended() == 0


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
    assert (found.settings.port, found.settings.host) == (3, "::1")
    assert found.settings.data == str(Path("y").absolute())
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


# --- refusals at the start: one line that says what to do -----------------------------------------


def one_line(found: subprocess.CompletedProcess[str]) -> str:
    """The sentence, behind what was logged."""
    assert found.stdout == ""
    *logged, line = found.stderr.splitlines()
    assert all(each.startswith("timestamp=") for each in logged)
    assert line.startswith("timelined: ")
    return line.removeprefix("timelined: ")


def test_a_taken_port_is_noticed_before_the_store_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = run("--data", str(tmp_path / "data"), "--port", str(port))
    assert found.returncode == 1
    assert one_line(found).startswith(f"port {port} of 127.0.0.1 is taken: stop what listens there")
    assert not (tmp_path / "data").exists()


def test_a_port_that_was_just_left_is_no_obstacle(start: Start) -> None:
    daemon = start()
    with socket.create_connection((daemon.host, daemon.port), 20) as link:
        link.sendall(b"QUIT\r\n")  # the daemon closes first, so its side of the link lingers
        assert link.recv(100) == b"+OK\r\n"
        assert link.recv(100) == b""
    assert daemon.stop() == 0
    assert start("--port", str(daemon.port)).port == daemon.port


def test_every_address_of_the_host_answers_on_one_port(start: Start) -> None:
    daemon = start("--host", "localhost")
    for *_, address in socket.getaddrinfo("localhost", daemon.port, type=socket.SOCK_STREAM):
        host = str(address[0])
        try:
            link = socket.create_connection((host, daemon.port), 20)
        except OSError:
            assert host == "::1", "which is where IPv6 may be switched off"
            continue
        with link:
            link.sendall(b"PING\r\n")
            assert link.recv(100) == b"+PONG\r\n"


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        found = run("--data", str(path), "--port", "0")
        assert found.returncode == 1
        assert one_line(found) == f"{path} is no directory: name one for the store"


def test_a_directory_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without permission to make it, or to write to it: root, who may be running this, has both."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for owner, name, stub in (
        (Path, "mkdir", refuse),
        (os, "access", lambda *_: False),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, stub)
            with pytest.raises(
                StorageError, match=r"^no permission to write to .*: run as its owner"
            ):
                timeline.open(tmp_path / name)


def test_a_store_that_was_not_to_be_made_is_not_made(tmp_path: Path) -> None:
    found = run("--data", str(tmp_path / "data"), "--create", "no", "--port", "0")
    assert found.returncode == 1
    assert "is no Timeline store" in one_line(found)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("TIMELINED_PROT", "there is no variable TIMELINED_PROT: did you mean TIMELINED_PORT?"),
        ("TIMELINED_CONFG", "there is no variable TIMELINED_CONFG: did you mean TIMELINED_CONFIG?"),
        ("TIMELINED_ZZZ", "there is no variable TIMELINED_ZZZ; see timelined --help"),
    ],
)
def test_a_misspelt_variable_is_refused(variable: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        config.load([], {variable: "1", "OTHER_PROT": "1"})
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--prot 1", "there is no argument --prot: did you mean --port?"),
        ("--max-clients=5", "there is no argument --max-clients: did you mean --maxclients?"),
        ("data", "there is no argument data: did you mean --data?"),
        ("--port", "argument --port: expected one argument; see timelined --help"),
        ("--port x", "--port: port takes a number, not 'x'"),
    ],
)
def test_a_misspelt_argument_is_refused_in_one_line(words: str, sentence: str) -> None:
    found = run(*words.split())
    assert found.returncode == 2
    assert one_line(found) == sentence


def test_the_version_is_that_of_the_package() -> None:
    found = run("--version")
    form = "compiled" if timeline.compiled else "interpreted"
    expected = f"timelined {version('timeline-engine')} ({form})\n"
    assert (found.returncode, found.stdout) == (0, expected)
