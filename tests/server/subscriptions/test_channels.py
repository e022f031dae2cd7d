"""The promise: what is published on a channel comes to everybody who listens, in order, as in
Redis; who does not read costs a bounded amount, and nobody waits for many listeners to be served.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
import redis

from tests.server.daemon import Client, Daemon, Start
from timeline.errors import BusyError
from timeline_server.subscriptions.channels import Channels


def told(listener: Client, count: int) -> list[tuple[Any, ...]]:
    """The next messages that a subscriber of redis-py is given."""
    found: list[tuple[Any, ...]] = []
    while len(found) < count:
        message = listener.get_message(ignore_subscribe_messages=True, timeout=10)
        if message is not None:
            found.append((message["type"], message["pattern"], message["channel"], message["data"]))
    return found


def listening(client: Client, *channels: str, patterns: tuple[str, ...] = ()) -> Client:
    listener = client.pubsub()
    if channels:
        listener.subscribe(*channels)
    if patterns:
        listener.psubscribe(*patterns)
    for _ in range(len(channels) + len(patterns)):
        assert listener.get_message(timeout=10)["type"] in ("subscribe", "psubscribe")
    return listener


def test_channels_and_patterns_hear_what_is_published(client: Client) -> None:
    listener = listening(client, "news", "other", patterns=("n*s", "no"))
    assert client.publish("news", "one") == 2
    assert client.publish("nests", b"\x00two\r\n") == 1
    assert client.publish("silence", "three") == 0
    assert client.publish("other", "four") == 1
    assert told(listener, 4) == [
        ("message", None, b"news", b"one"),
        ("pmessage", b"n*s", b"news", b"one"),
        ("pmessage", b"n*s", b"nests", b"\x00two\r\n"),
        ("message", None, b"other", b"four"),
    ]
    assert sorted(client.pubsub_channels()) == [b"news", b"other"]
    assert client.pubsub_channels("o*") == [b"other"]
    assert client.pubsub_numsub("news", "no") == [(b"news", 1), (b"no", 0)]
    assert client.pubsub_numpat() == 2
    assert client.info("stats")["pubsub_channels"] == 2
    listener.unsubscribe("news")
    listener.punsubscribe()
    assert [listener.get_message(timeout=10)["type"] for _ in range(3)] == [
        "unsubscribe", "punsubscribe", "punsubscribe",
    ]  # fmt: skip
    assert client.publish("news", "five") == 0
    listener.close()


def test_who_is_gone_listens_no_more(client: Client) -> None:
    listener = listening(client, "gone", patterns=("g*",))
    assert client.publish("gone", "x") == 2
    listener.close()
    while client.publish("gone", "x"):
        pass
    assert client.pubsub_numpat() == 0


def test_many_hear_everything_in_order(daemon: Daemon, own: str) -> None:
    async def scene() -> None:
        listeners = []
        for _ in range(150):
            reader, writer = await asyncio.open_connection(daemon.host, daemon.port)
            writer.write(b"SUBSCRIBE %b\r\n" % own.encode())
            listeners.append((reader, writer))
        publisher: Client = redis.asyncio.Redis(host=daemon.host, port=daemon.port)
        while await publisher.publish(own, "begin") < len(listeners):
            pass
        for number in range(30):
            assert await publisher.publish(own, f"{number:03}") == len(listeners)
        for reader, writer in listeners:
            heard = await reader.readuntil(b"\r\n029\r\n")
            numbers = [
                int(line) for line in heard.split(b"\r\n") if len(line) == 3 and line.isdigit()
            ]
            assert numbers == list(range(30))
            writer.close()
        await publisher.aclose()

    asyncio.run(scene())


def test_who_is_told_of_a_write_can_read_it(daemon: Daemon, own: str) -> None:
    with daemon.client(protocol=2) as client, daemon.client(protocol=2) as other:
        listener = listening(other, own)
        for number in range(1, 30):
            pipe = client.pipeline(transaction=bool(number % 2))
            pipe.xadd(own, {"f": "v"}).publish(own, number)
            pipe.execute()
            assert told(listener, 1)[0][3] == b"%d" % number
            assert other.xlen(own) == number
        listener.close()


def test_a_transaction_that_fails_tells_nobody(client: Client, own: str) -> None:
    listener = listening(client, own)
    pipe = client.pipeline(transaction=True)
    pipe.publish(own, "too early").xadd(own, {"f": "v"}).xadd(own, {"f": "v"}, id="1-0")
    with pytest.raises(redis.RedisError):
        pipe.execute()
    pipe.publish(own, "one").xlen(own).publish(own, "two")
    assert pipe.execute() == [1, 0, 1]
    assert [message[3] for message in told(listener, 2)] == [b"one", b"two"]
    listener.close()


def test_the_channels_of_devices_are_not_for_everybody(client: Client) -> None:
    client.execute_command("USER.META", "u", "*", "name", "U")
    for words, sentence in {
        ("PUBLISH", "sync:u:phone", "x"): "only the store publishes",
        ("PUBLISH", "sync:u", "x"): "the channel of a device is",
        ("SUBSCRIBE", "news", "sync:u"): "the channel of a device is",
        ("SUBSCRIBE", "news", "sync:nobody:phone"): "there is no such user",
        ("PSUBSCRIBE", "n*", "sync:u:*"): "patterns do not match",
        ("SUBSCRIBE", "c" * 5000): "4096 bytes at most",
    }.items():
        with pytest.raises(redis.ResponseError, match=sentence):
            client.execute_command(*words)
    assert client.pubsub_numpat() == 0
    assert b"news" not in client.pubsub_channels()
    listener = listening(client, patterns=("*",))
    listener.subscribe("sync:u:phone")
    assert told(listener, 1)[0][:3] == ("message", None, b"sync:u:phone")
    client.publish("news", "x")
    assert told(listener, 1)[0] == ("pmessage", b"*", b"news", b"x")
    listener.close()


def test_who_listens_and_does_not_read_is_closed(start: Start) -> None:
    daemon = start("--output-bytes", "100000")
    deaf = socket.create_connection((daemon.host, daemon.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.sendall(b"SUBSCRIBE news\r\n")
    with daemon.client(protocol=2) as client:
        listener = listening(client, "news")
        while client.publish("news", "x" * 10_000) != 2:
            pass
        sent = 1
        while client.publish("news", "x" * 10_000) == 2:
            sent += 1
            assert sent < 5_000
        assert len(told(listener, sent)) == sent
        assert client.info("stats")["closed_connections"] == 1
        listener.close()
    deaf.close()


# --- the same without sockets -----------------------------------------------------------------


class Turns:
    """A loop whose turns are taken one by one."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.due.append(call)

    def turn(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class Hearer:
    def __init__(self) -> None:
        self.session = self
        self.resp = 2
        self.heard: list[bytes] = []

    def push(self, data: bytes) -> None:
        self.heard.append(data[-3:-2])


def scene(count: int) -> tuple[Turns, Channels, list[Any]]:
    turns = Turns()
    channels = Channels(cast(asyncio.AbstractEventLoop, turns))
    hearers: list[Any] = [Hearer() for _ in range(count)]
    for hearer in hearers:
        channels.subscribe(hearer, b"c")
    return turns, channels, hearers


def has_room(channels: Channels) -> bool:
    try:
        channels.check_room()
    except BusyError:
        return False
    return True


def test_a_turn_serves_a_bounded_number_of_listeners() -> None:
    turns, channels, hearers = scene(1000)
    for number in range(5):
        channels.publish(b"c", b"%d" % number)
    seen = sum(len(hearer.heard) for hearer in hearers)
    turned = 0
    while turns.due:
        before = seen
        turns.turn()
        seen = sum(len(hearer.heard) for hearer in hearers)
        assert seen - before <= 64
        turned += 1
    assert turned >= 5000 // 64
    assert all(hearer.heard == [b"0", b"1", b"2", b"3", b"4"] for hearer in hearers)


def test_who_comes_later_hears_nothing_older_and_who_left_nothing_more() -> None:
    turns, channels, hearers = scene(200)
    channels.publish(b"c", b"1")
    late: Any = Hearer()
    channels.subscribe(late, b"c")
    channels.unsubscribe(hearers[-1], b"c")
    channels.unsubscribe(hearers[-2], b"c")
    channels.subscribe(hearers[-2], b"c")
    channels.publish(b"c", b"2")
    while turns.due:
        turns.turn()
    assert hearers[0].heard == [b"1", b"2"]
    assert hearers[-1].heard == []
    assert hearers[-2].heard == late.heard == [b"2"]


def test_what_waits_is_bounded() -> None:
    turns, channels, hearers = scene(100)
    published = 0
    while has_room(channels):
        channels.publish(b"c", bytes(1 << 20))
        published += 1
    assert 8 <= published <= 9
    while turns.due:
        turns.turn()
    assert has_room(channels)
    assert [len(hearer.heard) for hearer in hearers] == [published] * 100
