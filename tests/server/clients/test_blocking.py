"""The promise: a blocked read wakes when its timeline grows, once, and never for nothing."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server.daemon import Client, Daemon, Start
from tests.server.differential import Link


def blocked(client: Client) -> int:
    return int(client.info("clients")["blocked_clients"])


def wait_for_blocked(client: Client, count: int) -> None:
    """Returns once the daemon says that `count` reads wait. Each look is a round trip."""
    while blocked(client) != count:
        pass


def test_a_blocked_read_gets_what_is_appended(daemon: Daemon, client: Client) -> None:
    client.xadd("t", {"f": "old"})
    with ThreadPoolExecutor(1) as pool, daemon.client() as reader:
        answer = pool.submit(reader.xread, {"x": "$", "t": "$"}, block=10_000)
        wait_for_blocked(client, 1)
        client.xadd("other", {"f": "v"})
        assert client.xadd("t", {"f": "new"}) == b"2-0"
        assert answer.result(10) == [[b"t", [(b"2-0", {b"f": b"new"})]]]
    assert blocked(client) == 0


def test_what_is_there_already_is_answered_at_once(client: Client) -> None:
    client.xadd("t", {"f": "v"})
    assert client.xread({"t": "0"}, block=0)


def test_a_time_out_is_a_null_and_the_connection_goes_on(daemon: Daemon) -> None:
    with socket.create_connection((daemon.host, daemon.port), 10) as link:
        link.sendall(b"XREAD BLOCK 20 STREAMS none $\r\nPING\r\n")
        received = b""
        while not received.endswith(b"+PONG\r\n"):
            received += link.recv(100)
        assert received == b"*-1\r\n+PONG\r\n"


def test_append_and_delete_in_one_transaction_wake_nobody(daemon: Daemon, client: Client) -> None:
    with ThreadPoolExecutor(1) as pool, daemon.client() as reader:
        answer = pool.submit(reader.xread, {"t": "0"}, block=10_000)
        wait_for_blocked(client, 1)
        client.pipeline(transaction=True).xadd("t", {"f": "gone"}).delete("t").execute()
        assert blocked(client) == 1
        client.xadd("t", {"f": "stays"})
        assert answer.result(10) == [[b"t", [(b"1-0", {b"f": b"stays"})]]]


def test_reads_behind_own_writes_in_one_pipeline(client: Client) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.xadd("t", {"f": "1"}).xread({"t": "0"}, block=1000).xadd("t", {"f": "2"}).xlen("t")
    found = pipe.execute()
    assert found[0] == b"1-0"
    assert found[2:] == [b"2-0", 2]


def test_thousands_wait_and_all_are_answered(start: Start) -> None:
    daemon = start()
    count = 2_000
    links = [socket.create_connection((daemon.host, daemon.port), 30) for _ in range(count)]
    for index, link in enumerate(links):
        link.sendall(b"XREAD BLOCK 0 STREAMS t:%d $\r\n" % (index % 10))
    with daemon.client() as client:
        wait_for_blocked(client, count)
        pipe = client.pipeline(transaction=True)
        for index in range(10):
            pipe.xadd(f"t:{index}", {"f": "v"})
        pipe.execute()
        for index, link in enumerate(links):
            expected = (
                b"*1\r\n*2\r\n$3\r\nt:%d\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
                % (index % 10)
            )
            received = b""
            while len(received) < len(expected):
                received += link.recv(1000)
            assert received == expected
        wait_for_blocked(client, 0)
    for link in links:
        link.close()


def test_a_blocked_client_that_leaves_is_forgotten(daemon: Daemon, client: Client) -> None:
    link = socket.create_connection((daemon.host, daemon.port), 10)
    link.sendall(b"XREAD BLOCK 0 STREAMS t $\r\n")
    wait_for_blocked(client, 1)
    link.close()
    wait_for_blocked(client, 0)


def test_the_log_wakes_who_waits_for_it(daemon: Daemon, client: Client) -> None:
    with ThreadPoolExecutor(1) as pool, daemon.client() as reader:
        answer = pool.submit(reader.execute_command, "LOG.TAIL", "AFTER", "$", "BLOCK", "10000")
        wait_for_blocked(client, 1)
        client.xadd("t", {"f": "v"})
        commits = answer.result(10)
    assert [b"append", b"t", 1, 1] in [change for _, _, changes in commits for change in changes]


@pytest.mark.parametrize("command", [("DEL", "t"), ("UNLINK", "t"), ("FLUSHALL",)])
def test_who_follows_a_name_goes_on_when_it_is_deleted_and_made_anew(
    start: Start, command: tuple[str, ...]
) -> None:
    daemon = start()
    with daemon.client(protocol=2) as writer, daemon.client(protocol=2) as reader:
        for _ in range(3):
            writer.xadd("t", {"n": "old"})
        assert reader.xread({"t": "0"})[0][1][-1][0] == b"3-0"
        writer.execute_command(*command)
        assert writer.xread({"t": "3"}) == []
        writer.xadd("t", {"n": "new"})
        assert reader.xread({"t": "3"}, block=10_000)[0][1] == [(b"4-0", {b"n": b"new"})]
        information = writer.xinfo_stream("t")
        assert information["entries-added"] == information["length"] == 1


def test_who_waits_for_several_gets_all_that_is_durable(daemon: Daemon) -> None:
    """More than Redis gives, which answers with the stream written to first."""
    addresses = (daemon.host, daemon.port)
    with Link(addresses, 2) as writer, Link(addresses, 2) as reader:
        writer.ask([[b"FLUSHALL"]])
        reader.send([b"XREAD", b"BLOCK", b"10000", b"STREAMS", b"a", b"b", b"$", b"$"])
        with daemon.client() as client:
            while not blocked(client):
                pass
        adds = [[b"XADD", name, b"1-0", b"f", b"v"] for name in (b"b", b"a")]
        writer.ask([[b"MULTI"], *adds, [b"EXEC"]])
        assert [found.value[0].value for found in reader.reply().value] == [b"a", b"b"]


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_what_retention_takes_wakes_reads_although_nobody_writes(start: Start, fsync: str) -> None:
    options = ("--retention-check-ms", "10", "--sync-block-ms", "60000")
    daemon = start("--fsync", fsync, *options)
    with daemon.client() as client, ThreadPoolExecutor(1) as pool:
        client.execute_command("CONV.CREATE", "team", "ann", "MEMBERS", 1, "bob")
        for number in range(3):
            client.execute_command("CONV.SEND", "team", "ann", "*", "text", str(number))
        position = client.execute_command("USER.CONVERSATIONS", "bob")[b"position"]
        with daemon.client(socket_timeout=60) as phone:
            sync = ("USER.SYNC", "bob", "phone", "AFTER", position, "BLOCK", "30000")
            told = pool.submit(phone.execute_command, *sync)
            wait_for_blocked(client, 1)
            client.execute_command("TIMELINE.RETENTION", "@conv:team", "MAXLEN", "1")
            (entry,) = told.result(40)[b"entries"]
            assert entry[0] == b"clear"
