"""The promise: clients made for Redis work unmodified: redis-cli, redis-benchmark, redis-py."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import shutil
import subprocess
import termios

import pytest
import redis
import redis.asyncio

from tests.server.daemon import Client, Daemon

needs_tools = pytest.mark.skipif(
    shutil.which("redis-cli") is None, reason="redis-cli is not installed (Debian: redis-tools)"
)


def cli(daemon: Daemon, *words: str, input_: str | None = None) -> str:
    found = subprocess.run(
        ["redis-cli", "-p", str(daemon.port), *words],
        input=input_,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return found.stdout.strip()


@needs_tools
def test_redis_cli_appends_and_reads(daemon: Daemon) -> None:
    cli(daemon, "DEL", "cli")
    assert cli(daemon, "XADD", "cli", "*", "text", "hello world") == "1-0"
    assert cli(daemon, "-3", "XRANGE", "cli", "-", "+").split() == ["1-0", "text", "hello", "world"]
    assert "loading:0" in cli(daemon, "INFO")
    assert cli(daemon, "--scan").split().count("cli") == 1
    assert cli(daemon, input_="PING\nECHO 'a b'\nXLEN cli\n").split("\n") == ["PONG", "a b", "1"]


@needs_tools
def test_redis_cli_is_interactive_with_hints(daemon: Daemon) -> None:
    terminal, far = pty.openpty()
    termios.tcsetwinsize(far, (24, 200))
    running = subprocess.Popen(
        ["redis-cli", "-p", str(daemon.port)],
        stdin=far,
        stdout=far,
        stderr=far,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(far)

    prompt = f"{daemon.host}:{daemon.port}> ".encode()

    def read_until(ending: bytes) -> bytes:
        seen = b""
        while not seen.endswith(ending):
            ready, _, _ = select.select([terminal], [], [], 20)
            assert ready, f"no {ending!r} at the end of {seen!r}"
            seen += os.read(terminal, 4096)
        return seen

    def enter(line: bytes) -> bytes:
        """Types a line and returns what the terminal shows up to the next prompt, and that."""
        os.write(terminal, line + b"\r")
        return read_until(prompt)

    read_until(prompt)
    assert b"NOMKSTREAM" in enter(b"XADD hints * f v")  # hinted while it was typed
    assert b"head" in enter(b"TIMELINE.INFO hints")
    assert b"NOTFOUND" in enter(b"TIMELINE.INFO missing")
    os.write(terminal, b"quit\r")
    assert running.wait(20) == 0
    os.close(terminal)


@needs_tools
@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark_runs(daemon: Daemon, pipeline: int) -> None:
    found = subprocess.run(
        [
            "redis-benchmark", "-p", str(daemon.port), "-n", "2000", "-c", "10",
            "-P", str(pipeline), "--csv", "XADD", "benchmark", "*", "f", "v",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    assert "WARN" not in found.stdout + found.stderr
    assert found.stdout.strip().split("\n")[-1].startswith('"XADD')
    inline = subprocess.run(
        ["redis-benchmark", "-p", str(daemon.port), "-n", "100", "-t", "ping", "-q"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "PING_INLINE" in inline.stdout


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_with_asyncio(daemon: Daemon, protocol: int) -> None:
    async def talk() -> None:
        client: Client = redis.asyncio.Redis(
            host=daemon.host, port=daemon.port, protocol=protocol, decode_responses=True
        )
        await client.delete("aio")
        assert await client.xadd("aio", {"f": "v"}) == "1-0"
        waiting = asyncio.create_task(client.xread({"aio": "$"}, block=5_000))
        other: Client = redis.asyncio.Redis(host=daemon.host, port=daemon.port, protocol=protocol)
        while int((await other.info("clients"))["blocked_clients"]) != 1:
            pass
        await other.xadd("aio", {"f": "w"})
        assert "2-0" in str(await waiting)
        async with client.pipeline(transaction=True) as pipe:
            assert await pipe.xadd("aio", {"f": "x"}).xlen("aio").execute() == ["3-0", 3]
        found = await asyncio.gather(*(client.xadd("aio", {"n": n}) for n in range(50)))
        assert sorted(found, key=lambda each: int(each[:-2])) == [f"{n}-0" for n in range(4, 54)]
        subscriber = client.pubsub()
        await client.execute_command("USER.META", "u", "*", "name", "U")
        await subscriber.subscribe("sync:u:phone")
        assert (await subscriber.get_message(timeout=5))["type"] == "subscribe"
        await subscriber.aclose()
        await other.aclose()
        await client.aclose()

    asyncio.run(talk())


def test_what_connections_say_of_themselves(client: Client, daemon: Daemon) -> None:
    assert client.client_setname("tester")
    assert client.client_getname() in ("tester", b"tester")
    found = client.client_info()
    assert found["name"] == "tester"
    assert found["lib-name"].startswith("redis-py")
    assert client.client_id() == int(found["id"])
    with daemon.client() as other:
        number = other.client_id()
        assert str(number) in [each["id"] for each in client.client_list()]
        assert client.client_kill_filter(_id=str(number)) == 1
    assert client.client_no_evict("ON")
    with pytest.raises(redis.ResponseError):
        client.client_setname("two words")


def test_introspection(client: Client) -> None:
    assert client.command_count() == len(client.command_list())
    table = client.command()
    assert table["xadd"]["arity"] == -5
    assert client.execute_command("COMMAND", "INFO", "xlen")
    connection = client.connection_pool.get_connection()
    connection.send_command("COMMAND", "DOCS")  # redis-py would take it for COMMAND
    docs = connection.read_response()
    connection.disconnect()
    names = list(docs)[::2] if isinstance(docs, list) else list(docs)
    assert len(names) == client.command_count()
    for options in ("save", "appendonly", "max*", "entry_bytes"):
        assert client.config_get(options)
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert client.config_set("slowlog-max-len", 10)
    with pytest.raises(redis.ResponseError):
        client.config_set("entry-bytes", 10)
    with pytest.raises(redis.ResponseError):
        client.config_set("nosuch", 10)
    assert client.config_set("slowlog-log-slower-than", 0)
    client.xlen("t")
    assert client.slowlog_len() > 0
    assert client.slowlog_get(1)[0]["command"]
    assert client.slowlog_reset()
    assert client.config_set("slowlog-log-slower-than", 10_000)
    info = client.info("everything")
    assert info["loading"] == 0
    assert info["role"] == "master"
    assert info["cmdstat_xlen"]["calls"] > 0


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ("HELLO 4", "NOPROTO"),
        ("HELLO x", "ERR"),
        ("HELLO 3 AUTH nobody secret", "WRONGPASS"),
        ("AUTH secret", "ERR"),
        ("AUTH nobody secret", "WRONGPASS"),
        ("SELECT 1", "ERR"),
        ("SELECT x", "ERR"),
        ("CLIENT MAINT_NOTIFICATIONS ON", "ERR"),
        ("SCAN x", "ERR"),
        ("CONFIG SET a", "ERR"),
    ],
)
def test_refusals_begin_with_their_word(daemon: Daemon, words: str, word: str) -> None:
    with daemon.client(protocol=2) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command(*words.split())
        with pytest.raises(redis.RedisError) as caught:
            connection.read_response()
        if word != "ERR":
            assert type(caught.value).__name__ == "AuthenticationError" or word in str(caught.value)
        connection.send_command("PING")
        assert connection.read_response() == b"PONG"
        connection.disconnect()


def test_the_default_user_needs_no_password(daemon: Daemon) -> None:
    with daemon.client(username="default", password="anything", protocol=3) as client:
        assert client.ping()
