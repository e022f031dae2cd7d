"""The promise: the daemon may be reached by a Unix socket, whose rights say by whom."""

from __future__ import annotations

import signal
import socket
import stat
from pathlib import Path

import pytest
import redis

from tests.server.daemon import Start
from tests.tools.installed import done


def test_clients_and_tools_reach_it_by_its_path(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "timeline.sock"
    daemon = start("--socket", str(place), "--socket-mode", "770")
    assert stat.S_IMODE(place.stat().st_mode) == 0o770
    with redis.Redis(unix_socket_path=str(place), protocol=3) as client, daemon.client() as other:
        assert client.xadd("t", {"f": "v"}) == b"1-0"
        assert other.xlen("t") == 1
        assert client.info("server")["unix_socket"] == str(place)
        assert client.config_get("unixsocket*") == {
            "unixsocket": str(place),
            "unixsocketperm": "770",
        }
        facts = client.client_info()
        assert (facts["addr"], facts["laddr"]) == (f"{place}:0", f"{place}:0")
        assert "U" in facts["flags"]
        assert {each["addr"] for each in other.client_list()} >= {f"{place}:0"}
        assert "U" not in other.client_info()["flags"]
    for address in (place, f"unix:{place}"):
        assert done("ls", "--connect", str(address)).split()[-1] == "t"
    assert daemon.stop() == 0
    assert [each.name for each in tmp_path.iterdir() if "sock" in each.name] == []


def test_it_may_be_all_there_is(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "timeline.sock"
    daemon = start("--socket", str(place), "--port", "-1")
    assert daemon.ready == f"ready on {place}"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    with redis.Redis(unix_socket_path=str(place)) as client:
        assert client.info("server")["tcp_port"] == 0


def test_what_a_killed_daemon_left_is_replaced(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "timeline.sock"
    start("--socket", str(place), name="first").stop(signal.SIGKILL)
    assert place.is_socket()
    start("--socket", str(place), name="second")
    with redis.Redis(unix_socket_path=str(place)) as client:
        assert client.ping()


def log_of(start: Start, place: Path) -> str:
    with pytest.raises(pytest.fail.Exception) as refused:
        start("--socket", str(place), name="refused")
    return str(refused.value)


def test_what_is_there_is_left_alone(start: Start, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("dear")
    assert f"cannot listen on {letter} (what is there is no socket)" in log_of(start, letter)
    assert letter.read_text() == "dear"

    place = tmp_path / "timeline.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place))
        other.listen()
        assert f"cannot listen on {place} (something listens there)" in log_of(start, place)
        place.unlink()

    daemon = start("--socket", str(place))
    assert f"{place} is in use by another process (pid {daemon.pid})" in log_of(start, place)
    with redis.Redis(unix_socket_path=str(place)) as client:
        assert client.ping()

    assert "is no directory for a socket" in log_of(start, tmp_path / "none" / "socket")
    assert "path too long" in log_of(start, tmp_path / ("x" * 120))


def test_a_path_that_is_another_s_by_now_is_not_removed(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "timeline.sock"
    daemon = start("--socket", str(place))
    place.replace(tmp_path / "moved")
    place.write_text("another's")
    assert daemon.stop() == 0
    assert place.read_text() == "another's"
