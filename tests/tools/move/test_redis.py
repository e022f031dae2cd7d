"""The promise: `timeline import --redis` brings streams of a Redis over, once, with their ids."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import timeline
from tests.server.daemon import Client, Daemon
from tests.tools.installed import done, names, refused

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)
PASSWORD = "s3cret/word"
BYTES = bytes(range(256))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real Redis on a free port, with a password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
    process = subprocess.Popen(
        ["redis-server", *words],
        cwd=tmp_path_factory.mktemp("redis"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while "eady to accept connections" not in (line := process.stdout.readline()):
            assert line, "it did not start"
        yield port
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture
def peer(port: int) -> Iterator[Client]:
    with redis.Redis(port=port, db=3, password=PASSWORD) as client:
        client.flushall()
        for number in range(2_500):
            client.xadd("orders", {"n": str(number)}, id=f"1700000000000-{number}")
        client.xadd(b"odd\xff", {BYTES: BYTES, b"": b""})
        client.xadd("odd", {b"n": BYTES}, id="5-0")
        client.xdel("orders", "1700000000000-7")
        yield client


@pytest.fixture
def url(port: int) -> str:
    return f"redis://:s3cret%2Fword@127.0.0.1:{port}/3"


def test_into_a_directory_and_again(peer: Client, url: str, tmp_path: Path) -> None:
    words = ("import", tmp_path / "data", "--redis", url, "orders", "odd", "--json")
    assert json.loads(done(*words)) == {"timelines": 2, "entries": 2_500, "skipped": 0}
    assert json.loads(done(*words))["entries"] == 0, "nothing twice"
    peer.xadd("orders", {"n": "later"}, id="1800000000000-1")
    assert json.loads(done(*words))["entries"] == 1, "it goes on"
    with timeline.open(tmp_path / "data") as db:
        entries = list(db.timeline("orders"))
        assert [entry.seq for entry in entries] == list(range(1, 2_501)), "numbers have no gap"
        expected = [
            [(b"redis-id", identity), *fields.items()] for identity, fields in peer.xrange("orders")
        ]
        assert [list(entry.fields) for entry in entries] == expected
        (odd,) = db.timeline("odd")
        assert list(odd.fields) == [(b"redis-id", b"5-0"), (b"n", BYTES)]


def test_into_a_daemon(peer: Client, url: str, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        at = ("--connect", f"{daemon.host}:{daemon.port}")
        words = ("import", *at, "--redis", url, "orders", "--id-field", "old", "--json")
        assert json.loads(done(*words))["entries"] == 2_499
        assert json.loads(done(*words))["entries"] == 0
        with daemon.client() as client:
            assert client.xrange("orders", count=1) == [
                (b"1-0", {b"old": b"1700000000000-0", b"n": b"0"})
            ]
    finally:
        assert daemon.stop() == 0


def test_a_name_that_is_the_stores_own_is_refused_before_anything_is_imported(
    peer: Client, url: str, tmp_path: Path
) -> None:
    peer.xadd("@cart", {"n": "1"}, id="5-0")
    words = ("import", tmp_path / "data", "--redis", url)
    problem = refused(*words, "odd", "@cart")
    assert "'@cart'" in problem
    assert "--prefix" in problem
    assert names(tmp_path) == []
    for entries in (1, 0):  # the second call finds nothing new
        found = json.loads(done(*words, "@cart", "--prefix", "shop:", "--json"))
        assert found == {"timelines": 1, "entries": entries, "skipped": 0}
    with timeline.open(tmp_path / "data") as db:
        assert [list(entry.fields) for entry in db.timeline("shop:@cart")] == [
            [(b"redis-id", b"5-0"), (b"n", b"1")]
        ]


def test_without_their_ids(peer: Client, url: str, tmp_path: Path) -> None:
    done("import", tmp_path / "data", "--redis", url, "odd", "--id-field", "")
    with timeline.open(tmp_path / "data") as db:
        (odd,) = db.timeline("odd")
        assert list(odd.fields) == [(b"n", BYTES)]


def test_what_is_said_of_mistakes(peer: Client, url: str, port: int, tmp_path: Path) -> None:
    peer.set("text", "no stream")
    with timeline.open(tmp_path / "data") as db:
        db.timeline("orders").append({"n": "own"})
    words = ("import", tmp_path / "data", "--redis")
    assert "'text' is a string, no stream" in refused(*words, url, "text")
    assert "'none' does not exist" in refused(*words, url, "none")
    assert "was not imported from a Redis" in refused(*words, url, "orders")
    assert "NOAUTH" in refused(*words, f"redis://127.0.0.1:{port}", "odd")
    assert "WRONGPASS" in refused(*words, f"redis://:x@127.0.0.1:{port}", "odd")
    assert "answers at 127.0.0.1:1 " in refused(*words, "redis://127.0.0.1:1", "odd")
    assert "is no redis://" in refused(*words, "127.0.0.1:6379", "odd", status=2)
    assert names(tmp_path) == ["data"]
