"""The promise: standard streams that are closed, full or nobody's, and signals that mean nothing to
it, neither end the daemon nor stop it.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import timeline
from tests.forked import CONTEXT
from tests.server.daemon import Daemon, Start
from timeline_server.logs.outlet import Outlet

NOISE = b"*1\r\n$-5\r\n"  # a line of the log


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_it_serves_with_standard_streams_closed(tmp_path: Path, closed: str) -> None:
    place = tmp_path / "socket"
    words = f"--data data --port -1 --socket {place} {closed}"
    with subprocess.Popen(
        ["bash", "-c", f"exec {sys.executable} -m timeline_server {words}"],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        with connected(place, process) as link:
            for _ in range(3):
                link.sendall(b"XADD t * f v\r\nTIMELINE.COMPACT\r\n")
                assert link.recv(100)
            link.sendall(b"SHUTDOWN\r\n")
            while link.recv(100):
                pass
        process.communicate()
    assert process.returncode == 0


def connected(place: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    while process.poll() is None:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(str(place))
        except (FileNotFoundError, ConnectionRefusedError):
            link.close()
            os.sched_yield()
        else:
            link.settimeout(60)
            return link
    said, problem = process.communicate()
    pytest.fail(f"it ended with {process.returncode}: {said!r} {problem!r}")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_signals_that_ask_for_nothing_are_ignored(start: Start, number: signal.Signals) -> None:
    daemon = start()
    os.kill(daemon.pid, number)
    with daemon.client() as client:
        assert client.ping()
        while number != signal.SIGPIPE and f"signal='{number.name}'" not in daemon.log.read_text():
            assert client.ping()
    assert daemon.stop() == 0


def test_a_log_that_nobody_reads_stops_nothing(start: Start, tmp_path: Path) -> None:
    pipe = tmp_path / "data.log"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    daemon = start("--log-level", "debug")
    for _ in range(60):
        answer(daemon, NOISE)
    with daemon.client() as client:
        assert client.ping()
    assert daemon.stop() == 0
    os.close(end)


def answer(daemon: Daemon, sent: bytes) -> bytes:
    with socket.create_connection((daemon.host, daemon.port), 60) as link:
        link.sendall(sent)
        received = b""
        while piece := link.recv(1 << 16):
            received += piece
        return received


def test_lines_that_were_dropped_are_counted_and_told() -> None:
    end, start = os.pipe()
    told: list[int] = []
    outlet: Outlet

    def tell(lines: int) -> None:
        told.append(lines)
        outlet.write(f"dropped {lines}\n")

    with os.fdopen(end, "rb") as read, os.fdopen(start, "w") as stream:
        outlet = Outlet(stream, tell)
        line = "x" * 999 + "\n"
        for _ in range(3_000):
            outlet.write(line)
        outlet.drain(0.0)
        received = b""
        while written(received) + sum(reported(received)) < 3_000:
            received += os.read(end, 1 << 20)
        assert read.fileno() == end
    assert 0 < written(received) < 1_200
    assert written(received) + sum(reported(received)) == 3_000
    # More than one report where the thread could write a few lines before the pipe was full.
    assert told == reported(received)


def written(received: bytes) -> int:
    return received.count(b"x\n")


def reported(received: bytes) -> list[int]:
    return [int(lines) for lines in re.findall(rb"dropped (\d+)\n", received)]


def test_what_waits_is_written_at_the_end() -> None:
    end, start = os.pipe()
    with os.fdopen(start, "w") as stream:
        outlet = Outlet(stream)
        outlet.write("a\n")
        outlet.drain(60)
    with os.fdopen(end) as read:
        assert read.read() == "a\n"


def test_no_file_of_a_store_gets_a_standard_descriptor(tmp_path: Path) -> None:
    process = CONTEXT.Process(target=_open_without_streams, args=(tmp_path / "store",), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == 0


def _open_without_streams(path: Path) -> None:
    for closed in ((0, 1, 2), (2,), (1,)):
        for descriptor in closed:
            os.close(descriptor)
        with timeline.open(path) as db:
            db.timeline("a").append({"n": "1"})
            db.compact()
            db.backup(path.with_name(f"backup{len(closed)}{closed[0]}"))
            for descriptor in closed:
                assert Path(f"/proc/self/fd/{descriptor}").readlink() == Path(os.devnull)
                os.write(descriptor, b"what is printed")
