"""The promise: FLUSHALL deletes however many timelines there are, in commits of bounded size
between those of others, and is answered when all of it is durable. In a transaction it is part of
the one commit, or refused.
"""

from __future__ import annotations

import resource
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from tests.server.daemon import Client, Daemon, Start

MOST = 1_000  # timelines that one commit deletes at most
# Groups are small, and a burst waits for a slow disk however long that takes.
SMALL = ("--group-bytes", "64k", "--entry-bytes", "4k", "--busy-ms", "60000")


def fill(client: Client, count: int, prefix: str = "t") -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        pipe.xadd(f"{prefix}:{number}", {"f": "v"})
    pipe.execute()


def commits_since(client: Client, lsn: int) -> list[tuple[int, list[list[Any]]]]:
    """(LSN, changes) of the commits behind `lsn`."""
    found = client.execute_command("LOG.TAIL", "AFTER", lsn)
    return [(commit[0], commit[2]) for commit in found]


def drops(changes: list[list[Any]]) -> int:
    return sum(change[0] == b"drop" for change in changes)


def head(client: Client) -> int:
    return int(client.info("timeline")["lsn"])


@pytest.mark.parametrize("fsync", ["inline", "thread"])
@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_more_than_one_commit_may_hold_goes_in_several(
    start: Start, fsync: str, command: str
) -> None:
    daemon = start("--fsync", fsync, *SMALL)
    with daemon.client() as client:
        fill(client, 2 * MOST + 1)
        before = head(client)
        assert client.execute_command(command) in (True, b"OK")
        assert client.dbsize() == 0
        counts = [drops(changes) for _, changes in commits_since(client, before)]
        assert sum(counts) == 2 * MOST + 1
        assert max(counts) <= MOST
        assert len(counts) > 3  # bounded by bytes too
        assert client.xadd("t:1", {"f": "v"}) == b"2-0"


def test_what_was_answered_survives_a_kill(start: Start) -> None:
    daemon = start(*SMALL)
    with daemon.client() as client:
        fill(client, MOST)
        client.flushall()
    daemon.stop(signal.SIGKILL)
    with start(*SMALL).client() as client:
        assert client.dbsize() == 0
        assert client.keys() == []


def test_others_are_served_between_its_commits(start: Start) -> None:
    daemon = start(*SMALL)
    with daemon.client() as client, socket.create_connection((daemon.host, daemon.port)) as link:
        fill(client, 5 * MOST)
        before = head(client)
        link.sendall(b"FLUSHALL\r\n")
        while not drops(commits_since(client, before)[0][1] if head(client) > before else []):
            pass
        client.xadd("!between", {"f": "v"})  # in order of names before what is left
        assert link.recv(100) == b"+OK\r\n"
        changes = [changes for _, changes in commits_since(client, before)]
        appended = [each[0][0] == b"append" for each in changes].index(True)
        assert drops(changes[appended - 1])
        assert drops(changes[appended + 1])
        assert client.keys() == [b"!between"]


def test_own_commands_before_and_behind_it_keep_their_order(client: Client) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.xadd("a", {"f": "v"}).flushall().xadd("b", {"f": "v"}).dbsize()
    assert pipe.execute() == [b"1-0", True, b"1-0", 1]
    assert client.keys() == [b"b"]


def test_flushing_nothing_is_no_commit(client: Client) -> None:
    before = head(client)
    assert client.flushall()
    assert head(client) == before


def test_names_on_both_sides_of_those_of_the_store_go(client: Client) -> None:
    for name in ("!", "?", "A", "z", b"\xff" * 512):
        client.xadd(name, {"f": "v"})
    client.flushall()
    assert client.keys() == []


def test_in_a_transaction_it_is_part_of_the_one_commit(client: Client) -> None:
    fill(client, 10)
    before = head(client)
    pipe = client.pipeline(transaction=True)
    pipe.xadd("a", {"f": "v"}).flushall().xadd("b", {"f": "v"}).flushdb().xadd("b", {"f": "v"})
    assert pipe.execute() == [b"1-0", True, b"1-0", True, b"1-0"]
    assert head(client) == before + 1
    assert client.keys() == [b"b"]


def test_in_a_transaction_more_than_a_commit_may_hold_is_refused(client: Client) -> None:
    fill(client, MOST + 1)
    pipe = client.pipeline(transaction=True).xadd("a", {"f": "v"}).flushall()
    with pytest.raises(ResponseError, match="outside MULTI"):
        pipe.execute()
    assert client.dbsize() == MOST + 1
    client.delete("t:0")
    client.pipeline(transaction=True).flushall().execute()
    assert client.dbsize() == 0


def test_bad_use_deletes_nothing(client: Client) -> None:
    fill(client, 1)
    with pytest.raises(ResponseError, match="syntax error"):
        client.execute_command("FLUSHALL", "NOW")
    assert client.dbsize() == 1
    assert client.execute_command("FLUSHALL", "ASYNC")


def test_a_client_that_leaves_does_not_end_it(daemon: Daemon, client: Client) -> None:
    fill(client, 3 * MOST)
    with socket.create_connection((daemon.host, daemon.port)) as link:
        link.sendall(b"FLUSHALL\r\n")
    while client.dbsize():
        pass


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_a_failing_disk_ends_it_with_an_error(start: Start, fsync: str) -> None:
    daemon = start("--fsync", fsync)
    with daemon.client() as client, ThreadPoolExecutor(1) as pool, daemon.client() as other:
        fill(client, MOST)
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, hard))
        with pytest.raises(ResponseError, match=r"UNCERTAIN.*again"):
            pool.submit(other.flushall).result(20)
        with pytest.raises(redis.exceptions.ReadOnlyError):
            other.flushall()
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (soft, hard))
        while True:
            try:
                other.flushall()
                break
            except redis.exceptions.ReadOnlyError:
                pass
        assert client.dbsize() == 0
