"""The promise: a burst is slowed and not refused, a failing disk is told, nothing is lost."""

from __future__ import annotations

import resource
import socket

import pytest
import redis

from tests.server.daemon import Client, Start


def pipelined(client: Client, key: str, count: int, size: int) -> list[bytes]:
    pipe = client.pipeline(transaction=False)
    for _ in range(count):
        pipe.xadd(key, {"f": b"x" * size})
    found: list[bytes] = pipe.execute()
    return found


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_a_burst_above_a_group_is_slowed_and_not_refused(start: Start, fsync: str) -> None:
    daemon = start("--fsync", fsync, "--group-bytes", "256k", "--entry-bytes", "64k")
    with daemon.client() as client:
        found = pipelined(client, "t", 2_000, 20_000)
        assert found == [b"%d-0" % number for number in range(1, 2_001)]
        assert client.xlen("t") == 2_000


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_a_failing_disk_is_told_reads_go_on_and_writing_resumes(start: Start, fsync: str) -> None:
    daemon = start("--fsync", fsync)
    with daemon.client() as client:
        pipelined(client, "t", 10, 100)
        # From here no file may grow, as on a full disk.
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(redis.ResponseError, match="UNCERTAIN"):
            client.xadd("t", {"f": "v"})
        with pytest.raises(redis.exceptions.ReadOnlyError):
            client.xadd("t", {"f": "v"})
        assert len(client.xrange("t")) == 10
        connection = client.connection_pool.get_connection()
        connection.send_command("PING")
        assert connection.read_response() == b"PONG"
        connection.disconnect()
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (soft, hard))
        while True:
            try:
                client.xadd("t", {"f": "after"})
                break
            except redis.exceptions.ReadOnlyError:
                pass
        found = [entry[0] for entry in client.xrange("t")]
        assert found == [b"%d-0" % number for number in range(1, len(found) + 1)]
        assert len(found) in (11, 12)


def test_a_disk_that_fails_under_a_consumer_is_told(start: Start) -> None:
    daemon = start()
    with daemon.client() as client:
        pipelined(client, "t", 10, 100)
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(redis.ResponseError, match=r"UNCERTAIN.*may or may not.*again"):
            client.execute_command("LOG.CONSUMER", "reader", 5)
        with pytest.raises(redis.exceptions.ReadOnlyError):
            client.execute_command("LOG.CONSUMER", "reader", 5)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (soft, hard))
        while True:
            try:
                client.execute_command("LOG.CONSUMER", "reader", 5)
                break
            except redis.exceptions.ReadOnlyError:
                pass
        assert client.execute_command("LOG.CONSUMER", "reader") == 5


def test_ten_thousand_connections_are_served(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard - 200 if hard != resource.RLIM_INFINITY else 10_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    daemon = start("--maxclients", "20000")
    links = []
    try:
        for _ in range(count):
            link = socket.socket()
            link.settimeout(30)
            link.connect((daemon.host, daemon.port))
            links.append(link)
        for link in links:
            link.sendall(b"PING\r\n")
        for link in links:
            assert link.recv(10) == b"+PONG\r\n"
        assert daemon.resident() < 500 << 20
    finally:
        for link in links:
            link.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
