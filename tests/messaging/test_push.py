"""Online push and blocked syncs, over real sockets: from backlog to live without a gap.

Nothing here sleeps: a client waits for what it is owed, and fails when it does not come.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis

from tests.messaging.doors.raw import WAIT, Raw
from tests.messaging.doors.wire import WireDoor, wire_page
from tests.server.daemon import Client


@pytest.fixture(scope="module", params=["inline", "thread"])
def door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WireDoor]:
    opened = WireDoor(
        tmp_path_factory.mktemp("push") / "store",
        diffusion_limit=5,
        sync_block_ms=60_000,
        fsync=request.param,
        output_pause_bytes=16_384,
    )
    yield opened
    opened.close()


@pytest.fixture
def raw(door: WireDoor) -> Iterator[Raw]:
    connection = Raw(door.daemon.port)
    yield connection
    connection.close()


@pytest.fixture(params=["written to all", "read by all"])
def room(door: WireDoor, request: pytest.FixtureRequest) -> str:
    """A conversation of ann and bob, small or large, all of whose devices have seen everything."""
    name = f"room{time.monotonic_ns()}"
    crowd = [f"crowd{number}" for number in range(9)] if request.param != "written to all" else []
    door.create(name, "ann", ["bob", *crowd])
    for user in ("ann", "bob"):
        door.ack(user, "phone", door.conversations(user).position)
    return name


def test_who_comes_back_is_pushed_what_changed(door: WireDoor, room: str, raw: Raw) -> None:
    for text in ("1", "2"):
        door.send(room, "ann", text)
    assert raw.do("USER.SUBSCRIBE", "bob", "phone") == b"OK"
    pushed = [raw.pushed() for _ in range(2)]
    door.leave(room, ["bob"], "bob")
    door.edit(room, 1, "one", "ann")
    door.recall(room, 2, "ann")
    door.join(room, ["bob"], "ann")
    pushed += [raw.pushed() for _ in range(4)]
    told = [each for _, each in pushed]
    assert [(each.kind, each.seq) for each in told[2:]] == [
        *(("leave", 0), ("join", 0), ("edit", 1), ("recall", 2)),
    ]
    assert told[4].own() == {"text": "one"}
    for at, (cursor, _) in enumerate(pushed):
        rest = door.sync("bob", "phone", cursor).entries
        assert [(each.kind, each.seq) for each in rest] == [
            (each.kind, each.seq) for each in told[at + 1 :]
        ], "whole from any frame"
    assert raw.do("USER.UNSUBSCRIBE", "bob", "phone") == b"OK"


def test_a_blocked_sync_is_answered_by_the_next_message(
    door: WireDoor, room: str, raw: Raw
) -> None:
    raw.send("USER.SYNC", "bob", "phone", "BLOCK", 60_000)
    while not door.online("bob"):
        pass
    assert door.devices("bob")["phone"]["online"] == 1
    door.send(room, "ann", "hi")
    page = wire_page(raw.next())
    assert [(told.kind, told.seq) for told in page.entries] == [("message", 1)]
    assert not door.online("bob")


def test_a_blocked_sync_ends_empty_when_its_time_is_over(
    door: WireDoor, room: str, raw: Raw
) -> None:
    page = wire_page(raw.do("USER.SYNC", "bob", "phone", "BLOCK", 20))
    assert page.entries == []
    assert not page.more
    assert not page.resync
    assert page.cursor == door.conversations("bob").position


def test_another_conversation_wakes_nobody(door: WireDoor, room: str, raw: Raw) -> None:
    door.create(f"{room}-other", "ann")
    raw.send("USER.SYNC", "bob", "phone", "BLOCK", 60_000)
    while not door.online("bob"):
        pass
    door.send(f"{room}-other", "ann", "not for bob")
    assert door.online("bob")
    door.send(room, "ann", "for bob")
    (told,) = wire_page(raw.next()).entries
    assert told.own() == {"text": "for bob"}


def test_a_note_carries_the_newest_cursor(door: WireDoor, room: str) -> None:
    for protocol in (2, 3):
        client = door.daemon.client(protocol=protocol)
        listener = client.pubsub()
        listener.subscribe("sync:bob:phone")
        assert listener.get_message(timeout=WAIT)["type"] == "subscribe"
        first = listener.get_message(timeout=WAIT)["data"].decode()
        assert first == door.conversations("bob").position, "so that nothing was missed before"
        assert door.online("bob")
        sent = door.send(room, "ann", "hi")
        note = listener.get_message(timeout=WAIT)
        assert note["channel"] == b"sync:bob:phone"
        page = door.sync("bob", "phone")
        assert page.cursor == note["data"].decode()
        assert page.entries[-1].seq == sent.seq
        door.ack("bob", "phone", page.cursor)
        listener.unsubscribe()
        listener.close()
        client.close()


def test_a_stream_gives_what_was_missed_and_then_what_comes(
    door: WireDoor, room: str, raw: Raw
) -> None:
    for number in range(1, 301):
        door.send(room, "ann", str(number))
    raw.send("USER.SUBSCRIBE", "bob", "phone")
    assert raw.next() == b"OK"
    found: list[int] = []
    for number in range(301, 401):
        door.send(room, "ann", str(number))
    cursors = []
    while len(found) < 400:
        cursor, told = raw.pushed()
        found.append(told.seq)
        cursors.append(tuple(map(int, cursor.split("-"))))
    assert found == list(range(1, 401))
    assert cursors == sorted(set(cursors))
    raw.do("USER.UNSUBSCRIBE", "bob", "phone")
    door.send(room, "ann", "unheard")
    assert raw.do("PING") == b"PONG"
    assert not door.online("bob")


def test_reconnecting_under_traffic_misses_and_repeats_nothing(door: WireDoor, room: str) -> None:
    total = 1_500
    failures: list[BaseException] = []

    def traffic() -> None:
        try:
            client: Client = door.daemon.client()
            for number in range(1, total + 1):
                client.execute_command("CONV.SEND", room, "ann", "*", "text", number)
                if number % 10 == 0:  # the way of diffusion changes all the time
                    verb = "CONV.JOIN" if number % 20 else "CONV.LEAVE"
                    guests = [f"guest{each}" for each in range(5)]
                    client.execute_command(verb, room, "-", *guests)
            client.close()
        except BaseException as problem:
            failures.append(problem)

    sender = threading.Thread(target=traffic)
    sender.start()
    found: list[int] = []
    cursor: str | None = None
    try:
        while len(found) < total:
            connection = Raw(door.daemon.port)
            words = ("AFTER", cursor) if cursor else ()
            connection.send("USER.SUBSCRIBE", "bob", "phone", *words)
            assert connection.next() == b"OK"
            for _ in range(97):
                cursor, told = connection.pushed()
                if told.kind == "message":
                    found.append(told.seq)
                if len(found) == total:
                    break
            connection.close()
    finally:
        sender.join(WAIT)
    assert failures == []
    assert found == list(range(1, total + 1))


def test_a_stream_keeps_the_order_of_commits_over_both_ways(door: WireDoor, raw: Raw) -> None:
    """One group of commits holds messages that are delivered and messages that are come for."""
    small, large = f"small{time.monotonic_ns()}", f"large{time.monotonic_ns()}"
    door.create(small, "ann", ["bob"])
    door.create(large, "ann", ["bob", *(f"crowd{number}" for number in range(9))])
    position = door.conversations("bob").position
    assert raw.do("USER.SUBSCRIBE", "bob", "phone", "AFTER", position) == b"OK"
    rooms = [(large, small)[number % 2] for number in range(600)]  # more than wait to be given
    for _ in range(5):
        with door.daemon.client().pipeline(transaction=False) as pipe:
            for room in rooms:
                pipe.execute_command("CONV.SEND", room, "ann", "*", "text", "x")
            pipe.execute()
        assert [raw.pushed()[1].conversation for _ in rooms] == rooms


def test_who_does_not_read_delays_nobody_and_is_gone_on_with(
    door: WireDoor, room: str, request: pytest.FixtureRequest
) -> None:
    slow = Raw(door.daemon.port, buffer=4_096)
    request.addfinalizer(slow.close)
    slow.send("USER.SUBSCRIBE", "bob", "phone")
    assert slow.next() == b"OK"
    text = "x" * 5_000
    before = door.daemon.resident()
    total = 3_000
    with door.daemon.client().pipeline(transaction=False) as pipe:
        for _ in range(total):
            pipe.execute_command("CONV.SEND", room, "ann", "*", "text", text)
        pipe.execute()
    info = door.client.info()
    assert info["connected_clients"] >= 2
    (line,) = [
        each
        for each in door.client.client_list()
        if each["omem"] != "0" and each["id"] != door.client.client_id()
    ] or [{"omem": "0"}]
    assert int(line["omem"]) < 4 << 20, "what waits for a slow reader is bounded"
    assert door.daemon.resident() - before < 200 << 20
    found = [slow.pushed()[1].seq for _ in range(total)]
    assert found == list(range(1, total + 1))


def test_a_client_that_resends_by_itself_stores_one_message(
    tmp_path: Path, door: WireDoor, room: str
) -> None:
    """redis-py loses the reply, connects again and sends the same command again."""
    listener = socket.create_server(("127.0.0.1", 0))
    cut = threading.Event()

    def proxy() -> None:
        lost = False
        while not cut.is_set():
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            outer = socket.create_connection(("127.0.0.1", door.daemon.port))
            inner.settimeout(WAIT)
            while True:
                data = inner.recv(1 << 16)
                if not data:
                    break
                outer.sendall(data)
                answer = outer.recv(1 << 16)
                if b"CONV.SEND" in data and not lost:
                    lost = True  # stored, and the reply never arrives
                    break
                inner.sendall(answer)
            inner.close()
            outer.close()

    thread = threading.Thread(target=proxy, daemon=True)
    thread.start()
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 3)
    client: Any = redis.Redis(
        port=listener.getsockname()[1],
        retry=retry,
        retry_on_error=[redis.ConnectionError],
        protocol=2,
    )
    reply = client.execute_command("CONV.SEND", room, "ann", "KEY", "k", "*", "text", "once")
    assert reply[0] == 1
    assert reply[2] == b"duplicate"
    client.close()
    cut.set()
    with suppress(OSError):  # it may have ended already
        listener.shutdown(socket.SHUT_RDWR)  # which, unlike a close, wakes whoever accepts
    thread.join(WAIT)
    assert not thread.is_alive()
    listener.close()
    assert [message.seq for message in door.history(room, "bob")] == [1]


def test_a_stream_needs_resp3_and_a_known_position(door: WireDoor, room: str) -> None:
    client: Any = door.daemon.client(protocol=2)
    with pytest.raises(redis.ResponseError, match="RESP3"):
        client.execute_command("USER.SUBSCRIBE", "bob", "phone")
    client.close()
    raw = Raw(door.daemon.port)
    refusal = raw.do("USER.SUBSCRIBE", "bob", "unheard-of")
    assert isinstance(refusal, hiredis.ReplyError)
    assert str(refusal).startswith("TRIMMED ")
    refusal = raw.do("SUBSCRIBE", "sync:nobody:phone")
    assert str(refusal).startswith("NOTFOUND ")
    refusal = raw.do("SUBSCRIBE", "sync:bob")
    assert str(refusal).startswith("ERR ")
    raw.close()


def test_sends_in_a_transaction_are_one_commit(door: WireDoor, room: str) -> None:
    pipe = door.client.pipeline(transaction=True)
    for number in range(1, 6):
        pipe.execute_command("CONV.SEND", room, "ann", "*", "text", number)
    pipe.execute_command("CONV.HISTORY", room, "bob")
    replies = pipe.execute()
    assert [reply[0] for reply in replies[:5]] == [1, 2, 3, 4, 5]
    assert len(replies[5]) == 5, "reads inside see what was staged"
    page = door.sync("bob", "phone", limit=1)
    found = [told.seq for told in page.entries]
    while page.more:  # a page may end in the middle of a commit
        page = door.sync("bob", "phone", after=page.cursor, limit=1)
        found += [told.seq for told in page.entries]
    assert found == [1, 2, 3, 4, 5]
    pipe = door.client.pipeline(transaction=True)
    pipe.execute_command("CONV.SEND", room, "ann", "*", "text", "6")
    pipe.execute_command("CONV.SEND", room, "nobody", "*", "text", "7")
    with pytest.raises(redis.ResponseError):
        pipe.execute()
    assert door.info(room)["head"] == 5


def test_raw_commands_read_messages_and_write_nothing(door: WireDoor, room: str) -> None:
    door.send(room, "ann", "hi")
    client = door.client
    assert client.xlen(f"@conv:{room}") == 1
    before = door.lsn()
    refused: list[tuple[str, ...]] = [
        ("XADD", f"@conv:{room}", "*", "text", "forged"),
        ("XADD", "@user:bob", "*", "text", "forged"),
        ("DEL", f"@conv:{room}"),
        ("XTRIM", f"@event:{room}", "MAXLEN", "0"),
        ("TIMELINE.META", f"@conv:{room}", "*", "title", "forged"),
    ]
    for each in refused:
        with pytest.raises(redis.ResponseError):
            client.execute_command(*each)
    assert door.lsn() == before


def test_one_command_subscribes_to_many(door: WireDoor, room: str, raw: Raw) -> None:
    door.send(room, "ann", "before")
    position = door.conversations("bob").position
    door.send(room, "bob", "missed")
    found = raw.do(
        "USER.SUBSCRIBE",
        *("ann", "phone", "bob", "phone", "AFTER", position, "bob", "unheard-of"),
        *("nobody", "phone"),
    )
    assert found == [b"OK", b"OK", b"TRIMMED", b"NOTFOUND"]
    door.send(room, "ann", "now")
    frames = [raw.next() for _ in range(5)]
    told = [(user, entry_id) for _, user, _, _, _, entry_id, _ in frames]
    assert [entry for user, entry in told if user == b"ann"] == [b"1-0", b"2-0", b"3-0"]
    assert [entry for user, entry in told if user == b"bob"] == [b"2-0", b"3-0"]
    assert raw.do("USER.UNSUBSCRIBE", "bob", "phone", "bob", "desk") == b"OK"
    assert str(raw.do("USER.UNSUBSCRIBE", "ann", "phone", "bob")).startswith("ERR ")
    assert (door.online("ann"), door.online("bob")) == (True, False)
    refused = (
        ("ann", "phone", "bob"),
        ("ann", "phone", "AFTER"),
        ("ann", "phone", "bob", "phone", "AFTER", "rubbish"),
        ("ann", "phone") * 1_001,
    )
    for words in refused:
        assert str(raw.do("USER.SUBSCRIBE", *words)).startswith("ERR ")
    raw.close()
    while door.online("ann"):
        pass


def test_a_connection_is_told_of_a_bounded_number_of_devices(tmp_path: Path) -> None:
    door = WireDoor(tmp_path / "store", subscriptions=200)
    try:
        users = [f"u{number}" for number in range(201)]
        door.create("team", "-", users)
        position = door.conversations("u0").position
        raw = Raw(door.daemon.port)
        words = [word for user in users for word in (user, "d", "AFTER", position)]
        refused = str(raw.do("USER.SUBSCRIBE", *words))
        assert refused == "ERR a client may subscribe to 200 devices (option subscriptions)"
        assert raw.do("USER.SUBSCRIBE", *words[:-4]) == [b"OK"] * 200
        assert raw.do("USER.SUBSCRIBE", *words[:4]) == b"OK", "again is none more"
        assert str(raw.do("USER.SUBSCRIBE", *words[-4:])).startswith("ERR ")
        door.send("team", "@system", "to all")
        told = {raw.next()[1].decode() for _ in range(200)}
        assert told == set(users[:-1])
        assert raw.do("RESET") == b"RESET"
        door.send("team", "@system", "to nobody")
        assert raw.do("PING") == b"PONG"
        while any(door.online(user) for user in users):
            pass
        assert raw.do("PING") == b"PONG", "and nothing was pushed between"
        raw.close()
    finally:
        door.close()
