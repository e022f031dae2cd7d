"""The promise: INFO has Redis's sections with Redis's names, and answers in whatever state the
store is; SLOWLOG and the counts of errors say what happened.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

import timeline
from tests.ballast import fill
from tests.server.daemon import Client, Daemon, Start
from timeline.errors import ReadOnlyError
from timeline.options import MIB

SECTIONS = (
    "Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules",
    "Errorstats", "Cluster", "Keyspace",
)  # fmt: skip


def test_it_has_every_section_of_redis(daemon: Daemon) -> None:
    with daemon.client() as client:
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCH")
        client.set_response_callback("INFO", bytes.decode)
        text = client.execute_command("INFO", "everything")
    found = [line[2:].lower() for line in text.splitlines() if line.startswith("# ")]
    assert {section.lower() for section in (*SECTIONS, "Commandstats", "Timeline", "Jobs")} == set(
        found
    )


def test_the_sections_asked_for_are_those_given(daemon: Daemon) -> None:
    with daemon.client() as client:
        assert set(client.info("cpu")) == {"used_cpu_sys", "used_cpu_user"}
        assert "cmdstat_ping" not in client.info()
        client.ping()
        assert client.info("commandstats")["cmdstat_ping"]["calls"] >= 1
        assert client.info("nosuch") == {}


def test_what_dashboards_ask_for_is_there(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.xadd("t", {"f": "v"})
        found = client.info("everything")
    wanted = """
        redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds
        connected_clients maxclients blocked_clients used_memory used_memory_human
        used_memory_rss used_memory_peak used_memory_peak_human total_system_memory maxmemory
        loading aof_enabled aof_last_write_status rdb_last_bgsave_status
        total_connections_received total_commands_processed total_net_input_bytes
        total_net_output_bytes rejected_connections total_error_replies pubsub_channels
        pubsub_patterns role connected_slaves used_cpu_sys used_cpu_user cluster_enabled db0
    """
    assert not set(wanted.split()) - set(found)
    assert found["aof_last_write_status"] == "ok"
    assert found["used_memory_human"].endswith("M")


def test_errors_are_counted_by_their_first_word(start: Start) -> None:
    with start().client() as client:
        before = client.info("errorstats").get("errorstat_ERR", {"count": 0})["count"]
        for _ in range(3):
            with pytest.raises(redis.ResponseError):
                client.execute_command("NOSUCH")
        with pytest.raises(redis.ResponseError):
            client.execute_command("TIMELINE.COMPACT", "nowhere")
        with pytest.raises(redis.ResponseError):
            client.execute_command("USER.SEARCH", "bob", "x", "WAIT", "0", "COUNT", "-1")
        found = client.info("errorstats")
        assert found["errorstat_ERR"]["count"] == before + 4
        assert found["errorstat_NOTFOUND"]["count"] == 1
        assert client.info("stats")["total_error_replies"] == before + 5


def test_the_pipeline_is_counted(start: Start) -> None:
    with start().client() as client:
        client.execute_command("CONV.CREATE", "team", "ann", "MEMBERS", 2, "bob", "cem")
        before = client.info("timeline")
        client.execute_command("CONV.SEND", "team", "ann", "*", "text", "hi")
        client.xadd("t", {"f": "v"})
        found = client.info("timeline")
    grown = {name: found[name] - before[name] for name in ("commits", "appends", "deliveries")}
    assert grown == {"commits": 2, "appends": 2, "deliveries": 3}
    assert found["groups"] <= found["commits"]
    assert found["fsyncs"] >= found["groups"]


def test_slow_commands_are_kept_as_many_as_asked_for(start: Start) -> None:
    daemon = start("--slowlog-log-slower-than", "0", "--slowlog-max-len", "2")
    with daemon.client() as client:
        for number in range(4):
            client.execute_command("ECHO", str(number))
        assert client.slowlog_len() == 2
        newest = client.slowlog_get(1)[0]
        assert newest["command"] == b"SLOWLOG LEN"
        assert newest["client_address"].startswith(b"127.0.0.1:")
        client.config_set("slowlog-log-slower-than", -1)
        client.slowlog_reset()
        assert client.slowlog_get() == []


def test_a_store_whose_storage_is_closed_still_tells_its_state(tmp_path: Path) -> None:
    """As after a failure, until the disk takes bytes again."""
    with timeline.open(tmp_path / "data", search=False, fsync="inline") as db:
        db.timeline("t").append({"f": "v"})
        engine = db.engine
        engine.seal()
        assert engine.figures().shown()["timelines"] == 1
        engine.pipeline.poison(OSError("no space left"))
        engine.store.close()
        found = engine.figures().shown()
        assert found["writing"] == "off"
        assert found["writing_turned_off"] == 1
        assert "timelines" not in found
        with pytest.raises(ReadOnlyError):
            db.timeline("t").append({"f": "v"})


def test_it_says_why_writes_are_refused(start: Start, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(small_disk)  # the daemon logs beside its directory
    daemon = start("--unsealed-bytes", "2m", "--write-buffer-bytes", "1m", "--search", "no")
    fill(small_disk, 4 * MIB)
    with daemon.client(retry=None) as client:
        write_until_refused(client)
        found = client.info("everything")
        assert found["writing"] == "off"
        assert found["refusing"] == "READONLY"
        assert "space" in str(found["refusing_because"])
        assert found["aof_last_write_status"] == "err"
        assert found["errorstat_READONLY"]["count"] >= 1


def write_until_refused(client: Client) -> None:
    for _ in range(10_000):
        try:
            client.xadd("t", {"f": "v" * 100_000})
        except redis.exceptions.ReadOnlyError:
            return
        except redis.ResponseError as problem:  # of the write that met the full disk
            if not str(problem).startswith("UNCERTAIN"):
                raise
    pytest.fail("a full disk was not noticed")
