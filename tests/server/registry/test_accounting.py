"""The promise: every command that is carried out is counted and timed once, whichever way it came,
with the numbers that Redis has for the same calls: INFO commandstats, SLOWLOG, the metrics.
"""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.server.daemon import Client, Daemon, Start

COUNTS = ("calls", "rejected_calls", "failed_calls")


@pytest.fixture(scope="module")
def counting(daemon: Daemon) -> Any:  # noqa: ANN401  redis-py's own
    with daemon.client(protocol=2) as client:
        yield client.connection_pool.get_connection()


def ask(connection: Any, *lines: str) -> list[Any]:  # noqa: ANN401
    """Sends commands together; the replies, errors among them."""
    connection.send_packed_command(connection.pack_commands([line.split() for line in lines]))
    found = []
    for _ in lines:
        try:
            found.append(connection.read_response())
        except redis.RedisError as problem:
            found.append(problem)
    return found


def statistics(connection: Any) -> dict[str, dict[str, float]]:  # noqa: ANN401
    (text,) = ask(connection, "INFO commandstats")
    lines = [line.split(":") for line in text.decode().splitlines() if ":" in line]
    return {
        name.removeprefix("cmdstat_"): {
            part.split("=")[0]: float(part.split("=")[1]) for part in rest.split(",")
        }
        for name, rest in lines
    }


def counted(connection: Any, *lines: str) -> dict[str, tuple[float, ...]]:  # noqa: ANN401
    """Calls, rejected and failed calls that `lines` made, of each command that has any."""
    before = statistics(connection)
    ask(connection, *lines)
    after = statistics(connection)
    grown = {
        name: tuple(found[each] - before.get(name, {}).get(each, 0) for each in COUNTS)
        for name, found in after.items()
        if name != "info"
    }
    return {name: each for name, each in grown.items() if any(each)}


def test_a_transaction_counts_its_members_and_itself(counting: Any) -> None:  # noqa: ANN401
    found = counted(
        counting, "MULTI", "XADD a * f v", "XADD a * f v", "XLEN a", "XADD a", "EXEC",
        "MULTI", "XADD a * f v", "XADD a * f v", "XLEN a", "EXEC",
        "MULTI", "XADD a * f v", "XADD a 1-0 f v", "XLEN a", "EXEC", "MULTI", "XLEN a", "DISCARD",
    )  # fmt: skip
    assert found == {
        "multi": (4, 0, 0),
        "xadd": (4, 1, 1),  # two, then one that stood and one that was refused
        "xlen": (1, 0, 0),
        "exec": (3, 0, 2),
        "discard": (1, 0, 0),
    }


def test_calls_that_are_not_begun_are_rejected(counting: Any) -> None:  # noqa: ANN401
    found = counted(
        counting, "XADD b", "XLEN", "XINFO", "XINFO NOSUCH b", "NOSUCH", "CLIENT SETNAME",
        "XADD b 0-0 f v", "MULTI", "SHUTDOWN", "DISCARD",
    )  # fmt: skip
    assert found == {
        "xadd": (1, 1, 1),
        "xlen": (0, 1, 0),
        "xinfo": (0, 1, 0),
        "client|setname": (0, 1, 0),
        "multi": (1, 0, 0),
        "shutdown": (0, 1, 0),
        "discard": (1, 0, 0),
    }


@pytest.mark.parametrize("together", [1, 3, 4, 50])
def test_appends_and_short_reads_are_timed_however_many_come_together(
    counting: Any,  # noqa: ANN401
    together: int,
) -> None:
    before = statistics(counting)
    ask(counting, *["XADD c * f v"] * together)
    ask(counting, *["XRANGE c - + COUNT 1"] * together)
    after = statistics(counting)
    for name in ("xadd", "xrange"):
        at_first = before.get(name, {"calls": 0, "usec": 0})
        assert after[name]["calls"] - at_first["calls"] == together
        assert after[name]["usec"] > at_first["usec"]


def test_what_fails_after_it_has_waited_has_failed(counting: Any) -> None:  # noqa: ANN401
    found = counted(counting, "TIMELINE.COMPACT nowhere", "LOG.CONSUMER mine 99999999")
    assert found["log.consumer"] == (1, 0, 1)


def test_all_that_is_processed_is_counted_as_redis_counts(counting: Any) -> None:  # noqa: ANN401
    def processed() -> int:
        (text,) = ask(counting, "INFO stats")
        return int(text.decode().partition("total_commands_processed:")[2].split()[0])

    before = processed()
    ask(counting, "MULTI", "XADD d * f v", "PING", "EXEC", "XADD d", "NOSUCH")
    ask(counting, *["XADD d * f v"] * 10)
    assert processed() - before == 1 + 4 + 10


def test_slow_commands_are_told_of_wherever_they_came(start: Start) -> None:
    daemon = start("--slowlog-log-slower-than", "0")
    with daemon.client(protocol=2) as client:
        connection = client.connection_pool.get_connection()
        ask(connection, "MULTI", "XADD e * f v", "XLEN e", "EXEC")
        ask(connection, *["XADD e * f v"] * 8)
        ask(connection, "XRANGE e - + COUNT 2")
        listed = [each["command"].decode() for each in client.slowlog_get(-1)]
    noted = [each for each in listed if not each.startswith(("CLIENT", "HELLO"))]
    assert noted[:4] == ["XRANGE e - + COUNT 2", "XADD e * f v", "XLEN e", "XADD e * f v"]
    assert "EXEC" not in noted


def test_shutdown_is_no_part_of_a_transaction(client: Client) -> None:
    connection = client.connection_pool.get_connection()
    found = ask(connection, "MULTI", "XADD f * f v", "SHUTDOWN", "XLEN f", "EXEC", "PING")
    assert [str(each) for each in found[2:]] == [
        "Command not allowed inside a transaction",
        "b'QUEUED'",
        "Transaction discarded because of previous errors.",
        "b'PONG'",
    ]
    assert not client.exists("f")
    connection.disconnect()
