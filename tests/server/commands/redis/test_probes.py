"""The promise: what tools and libraries ask before they go on is answered, with what it means here,
or refused with what to do instead.
"""

from __future__ import annotations

import select
import socket
import threading
import time

import pytest
import redis

from tests.server.daemon import Client, Daemon, Start


def test_what_is_asked_of_any_server_is_answered(client: Client) -> None:
    client.xadd("t", {"f": "v"})
    assert client.ttl("t") == client.pttl("t") == -1
    assert client.ttl("none") == client.pttl("none") == -2
    assert client.object("ENCODING", "t") == b"stream"
    assert client.role()[0] in ("master", b"master")
    assert client.role()[1] == client.info("timeline")["lsn"]
    assert client.wait(0, 100) == 0
    assert client.acl_whoami() in ("default", b"default")
    assert client.module_list() == []
    assert client.latency_latest() == client.latency_history("command") == []
    assert abs(client.time()[0] - time.time()) < 60
    assert "INFO memory" in str(client.execute_command("MEMORY DOCTOR"))
    assert client.memory_stats()["keys.count"] == 1


def test_the_memory_of_a_timeline_grows_with_it(client: Client) -> None:
    assert client.memory_usage("t") is None
    client.xadd("t", {"f": "v" * 1000})
    small = client.memory_usage("t")
    pipe = client.pipeline(transaction=False)
    for _ in range(99):
        pipe.xadd("t", {"f": "v" * 1000})
    pipe.execute()
    assert 1000 <= small <= 1100
    for samples in (0, 1, 5):
        assert 99 * small <= client.memory_usage("t", samples=samples) <= 102 * small


def test_a_random_key_is_a_raw_timeline(start: Start) -> None:
    with start().client(protocol=2) as client:
        client.execute_command("CONV.CREATE", "team", "ann", "MEMBERS", 2, "bob", "cem")
        assert client.randomkey() is None
        pipe = client.pipeline()
        for number in range(5):
            pipe.xadd(f"t{number}", {"f": "v"})
        pipe.execute()
        found = set()
        for _ in range(10_000):
            found.add(client.randomkey())
            if len(found) == 5:
                break
        assert found == {b"t%d" % number for number in range(5)}


@pytest.mark.parametrize(("word", "error"), [("TIMEOUT", None), ("ERROR", "UNBLOCKED")])
def test_a_blocked_read_is_ended(daemon: Daemon, own: str, word: str, error: str | None) -> None:
    outcome: list[object] = []

    def wait(client: Client) -> None:
        try:
            outcome.append(client.xread({own: "$"}, block=0))
        except redis.ResponseError as problem:
            outcome.append(str(problem))

    with daemon.client(protocol=2, single_connection_client=True) as blocked:
        number = blocked.client_id()
        waiting = threading.Thread(target=wait, args=[blocked])
        waiting.start()
        with daemon.client(protocol=2) as client:
            while not client.execute_command("CLIENT UNBLOCK", number, word):
                pass
            assert client.execute_command("CLIENT UNBLOCK", number) == 0
        waiting.join()
        assert blocked.ping()
    assert outcome == [[]] if error is None else error in str(outcome)


def test_who_is_killed_is_gone_before_the_killer_hears_of_it(daemon: Daemon) -> None:
    with daemon.client(protocol=2) as client:
        for _ in range(20):
            victim = socket.create_connection((daemon.host, daemon.port), 10)
            victim.sendall(b"CLIENT ID\r\n")
            number = int(victim.recv(100).strip(b":\r\n"))
            assert client.client_kill_filter(_id=str(number)) == 1
            assert select.select([victim], [], [], 0)[0]
            assert victim.recv(100) == b""
            victim.close()


def test_tracking_is_refused_where_a_client_would_not_be_told(client: Client) -> None:
    protocol = client.connection_pool.connection_kwargs["protocol"]
    for words in ("ON BCAST", "ON REDIRECT 1", "ON PREFIX a", *(["ON"] if protocol == 2 else [])):
        with pytest.raises(redis.ResponseError, match="HELLO 3, and no BCAST"):
            client.execute_command("CLIENT TRACKING", *words.split())


def test_counting_begins_anew_when_asked_to(start: Start) -> None:
    with start().client(protocol=2, single_connection_client=True) as client:
        for _ in range(5):
            client.xadd("t", {"f": "v"})
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCH")
        assert client.config_resetstat()
        assert list(client.info("commandstats")) == ["cmdstat_config|resetstat"]
        assert client.info("errorstats") == {}
        found = client.info("stats")
        assert found["total_connections_received"] == 0
        assert found["total_commands_processed"] <= 4
        sent = client.echo("x" * 1_000)
        assert client.info("stats")["total_net_output_bytes"] > len(sent)
        with pytest.raises(redis.ResponseError, match="edit it"):
            client.config_rewrite()
