"""The promise: if something else than a daemon is behind `--connect`, or if the daemon stops
answering, one clear line says so.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.server.daemon import Daemon
from tests.tools.looks import printed, refused, run
from timeline_tools.sources.wire import socket_of, split_address

HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html></html>"
REDIS = b"*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n"
GREETING = b"*2\r\n$6\r\nserver\r\n$8\r\ntimeline\r\n"


@contextmanager
def server(*answers: bytes) -> Iterator[str]:
    """The address of one that gives these answers, one to whatever it receives, and then closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            for answer in answers:
                connection.recv(1 << 16)
                connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()


@pytest.mark.parametrize("answer", [HTTP, bytes(range(256)), b"+OK\r\n", b"$-1\r\n", b"%0\r\n"])
@pytest.mark.parametrize(
    "verb", [["ls"], ["stats"], ["export", "-"], ["trim", "a", "--length", "1"]]
)
def test_what_is_no_daemon_is_told_so(answer: bytes, verb: list[str]) -> None:
    with server(answer) as address:
        assert f"{address} is no Timeline daemon" in refused(
            verb[0], "--connect", address, *verb[1:]
        )


def test_what_closes_without_a_word_may_be_the_port_of_its_metrics() -> None:
    with server(b"") as address:
        assert "is no Timeline daemon" in refused("inspect", "--connect", address)


def test_a_redis_is_called_by_its_name_and_not_written_to() -> None:
    with server(REDIS) as address:
        line = refused("import", "--connect", address, "nothing.jsonl")
    assert f"{address} is no Timeline daemon but redis" in line


def test_a_daemon_that_does_not_let_one_in_says_why() -> None:
    with server(b"-ERR max number of clients reached\r\n") as address:
        assert "max number of clients reached" in refused("ls", "--connect", address)


@pytest.mark.parametrize("answer", [b"", b"*3\r\n$5\r\nab", HTTP])
def test_a_daemon_that_ends_before_it_answered_is_named(answer: bytes) -> None:
    with server(GREETING, answer) as address:
        assert address in refused("compact", "--connect", address)


def test_names_may_be_any_bytes_over_the_wire_too(daemon: Daemon) -> None:
    there = ["--connect", f"127.0.0.1:{daemon.port}"]
    name = b"no\xff".decode("utf-8", "surrogateescape")
    for verb, *rest in (["compact"], ["trim", "--length", "1"], ["retention"]):
        assert "no timeline" in refused(verb, *there, name, *rest)
    assert printed("retention", *there, b"bin\xff".decode("utf-8", "surrogateescape"))
    assert run("backup", *there, name).exit_code == 1


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("1.2.3.4:5", ("1.2.3.4", 5)),
        (":5", ("127.0.0.1", 5)),
        ("5", ("127.0.0.1", 5)),
        ("there", ("there", 7420)),
        ("[::1]:5", ("::1", 5)),
    ],
)
def test_host_or_port_may_be_left_out(address: str, place: tuple[str, int]) -> None:
    assert split_address(address) == place


def test_a_unix_socket_may_be_named_without_a_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "localhost").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("here.sock")
        assert [socket_of(each) for each in ("here.sock", "./nope", "nope.sock", "localhost")] == [
            "here.sock",
            "./nope",
            None,
            None,
        ]
