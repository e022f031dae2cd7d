"""Online push when devices do their worst: come and go in the middle, read nothing, ask for much.

Whatever they do, each is owed the same: every message once and in order, and a daemon that keeps a
bounded number of bytes for it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import hiredis
import pytest

from tests.messaging.doors.raw import WAIT, Raw
from tests.messaging.doors.wire import WireDoor

USERS = [f"user{number}" for number in range(24)]
MIB = 1_000_000


@pytest.fixture(params=["inline", "thread"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WireDoor]:
    # Without an index: it takes memory of its own, and memory is measured here.
    opened = WireDoor(
        tmp_path / "store",
        diffusion_limit=5,
        fsync=request.param,
        output_bytes=4 * MIB,
        search=False,
    )
    yield opened
    opened.close()


class Device:
    """A device that keeps its cursor, and misbehaves when told to."""

    def __init__(self, door: WireDoor, user: str, cursor: str, *, slow: bool) -> None:
        self.door = door
        self.user = user
        self.cursor = cursor
        self.found: list[int] = []
        self._buffer = 4_096 if slow else None
        self.raw = Raw(door.daemon.port, buffer=self._buffer)
        self.subscribe()

    def subscribe(self) -> None:
        """Again or anew; what is still under way counts until the reply."""
        self.raw.send("USER.SUBSCRIBE", self.user, "phone", "AFTER", self.cursor)
        while not isinstance(reply := self.raw.next(), bytes):
            assert isinstance(reply, hiredis.PushNotification)
        assert reply == b"OK"

    def take(self, most: int) -> None:
        for _ in range(most):
            self.cursor, told = self.raw.pushed()
            if told.kind == "message":
                self.found.append(told.seq)

    def go_on(self) -> None:
        """Nothing out of the way."""

    def reconnect(self) -> None:
        self.raw.close()
        self.raw = Raw(self.door.daemon.port, buffer=self._buffer)
        self.subscribe()

    def be_killed(self) -> None:
        identity = self.raw.do("CLIENT", "ID")
        assert self.door.client.execute_command("CLIENT", "KILL", "ID", identity) == 1
        self.reconnect()

    def leave_and_come_back(self) -> None:
        assert self.raw.do("USER.UNSUBSCRIBE", self.user, "phone") == b"OK"
        assert self.raw.do("PING") == b"PONG"
        self.subscribe()

    def speak_the_old_protocol(self) -> None:
        self.raw.do("HELLO", "2")
        self.raw.send("PING")
        assert self.raw.next() == b"PONG", "no frame behind the change to RESP2"
        self.raw.do("HELLO", "3")
        self.subscribe()

    def close(self) -> None:
        self.raw.close()

    def reset(self) -> None:
        self.raw.do("RESET")
        self.raw.do("HELLO", "3")
        self.subscribe()


def test_whatever_devices_do_in_the_middle_each_gets_everything_once_and_in_order(
    door: WireDoor,
) -> None:
    choose = random.Random(7)
    door.create("town", "mayor", USERS)
    position = door.conversations(USERS[0]).position
    total, batch = 1_500, 50
    failures: list[BaseException] = []

    def traffic() -> None:
        try:
            with door.daemon.client() as client:
                for _ in range(total // batch):
                    with client.pipeline(transaction=False) as pipe:
                        for _ in range(batch):
                            pipe.execute_command(
                                "CONV.SEND", "town", "mayor", "*", "text", "x" * 400
                            )
                        pipe.execute()
                    guests = [f"guest{each}" for each in range(3)]
                    client.execute_command("CONV.JOIN", "town", "-", *guests)
                    client.execute_command("CONV.LEAVE", "town", "-", *guests)
        except BaseException as problem:
            failures.append(problem)

    with ExitStack() as stack:
        devices = [
            stack.enter_context(closing(Device(door, user, position, slow=number % 4 == 0)))
            for number, user in enumerate(USERS)
        ]
        sender = threading.Thread(target=traffic)
        sender.start()
        stack.callback(sender.join, WAIT)
        owed = [device for device in devices if len(device.found) < total]
        while owed:
            for device in owed:
                device.take(min(choose.randint(1, 60), total - len(device.found)))
                action = choose.choice(
                    [
                        Device.go_on, Device.go_on, Device.go_on, Device.subscribe,
                        Device.reconnect, Device.be_killed, Device.reset,
                        Device.leave_and_come_back, Device.speak_the_old_protocol,
                    ]
                )  # fmt: skip
                action(device)
            owed = [device for device in devices if len(device.found) < total]
    assert failures == []
    for device in devices:
        assert device.found == list(range(1, total + 1)), device.user


def test_a_backlog_of_large_messages_is_pushed_in_parts(door: WireDoor) -> None:
    """All at once it would be more than may wait for a client, who would be closed each time."""
    door.create("two", "ann", ["bob"])
    position = door.conversations("bob").position
    total = 70
    for _ in range(total):
        door.send("two", "ann", "x" * MIB)
    raw = Raw(door.daemon.port)
    try:
        assert raw.do("USER.SUBSCRIBE", "bob", "phone", "AFTER", position) == b"OK"
        assert [raw.pushed()[1].seq for _ in range(total)] == list(range(1, total + 1))
    finally:
        raw.close()


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "from a backlog"])
def test_many_who_do_not_read_share_what_waits_for_them(door: WireDoor, *, backlog: bool) -> None:
    door.create("town", "mayor", USERS)
    position = door.conversations(USERS[0]).position
    total = 12

    def send() -> None:
        with door.daemon.client().pipeline(transaction=False) as pipe:
            for _ in range(total):
                pipe.execute_command("CONV.SEND", "town", "mayor", "*", "text", "x" * MIB)
            pipe.execute()

    with ExitStack() as stack:
        if backlog:
            send()
        before = door.daemon.resident()
        slow = []
        for user in USERS * 4:
            slow.append(Raw(door.daemon.port, buffer=4_096))
            stack.callback(slow[-1].close)
            slow[-1].send("USER.SUBSCRIBE", user, "phone", "AFTER", position)
            assert slow[-1].next() == b"OK"
        keen = Raw(door.daemon.port)
        stack.callback(keen.close)
        assert keen.do("USER.SUBSCRIBE", "mayor", "phone", "AFTER", position) == b"OK"
        if not backlog:
            send()
        assert [keen.pushed()[1].seq for _ in range(total)] == list(range(1, total + 1))
        assert door.daemon.resident() - before < 85 << 20, "not 96 devices, a megabyte each"
        assert [slow[0].pushed()[1].seq for _ in range(3)] == [1, 2, 3]


def test_a_subscription_sees_the_writes_sent_before_it(door: WireDoor) -> None:
    door.create("two", "ann", ["bob"])
    door.ack("bob", "phone", door.conversations("bob").position)
    door.send("two", "ann", "1")
    cursor = door.sync("bob", "phone").cursor
    raw = Raw(door.daemon.port)
    try:
        raw.send_together(("USER.ACK", "bob", "phone", cursor), ("USER.SUBSCRIBE", "bob", "phone"))
        assert [raw.next(), raw.next()] == [b"OK", b"OK"]
        door.send("two", "ann", "2")
        assert raw.pushed()[1].seq == 2
    finally:
        raw.close()


def test_notes_are_told_to_a_user_made_by_the_command_before(door: WireDoor) -> None:
    raw = Raw(door.daemon.port)
    try:
        raw.send_together(("CONV.DIRECT", "ann", "bob"), ("SUBSCRIBE", "sync:bob:phone"))
        assert isinstance(raw.next(), bytes)
        assert raw.next()[0] == b"subscribe"
        assert raw.next()[:2] == [b"message", b"sync:bob:phone"]
    finally:
        raw.close()


def test_an_acknowledgement_is_answered_by_no_note(door: WireDoor) -> None:
    """Or a client that syncs and acknowledges at each note would never come to rest."""
    door.create("two", "ann", ["bob"])
    raw = Raw(door.daemon.port)
    try:
        raw.send("SUBSCRIBE", "sync:bob:phone")
        assert raw.next()[0] == b"subscribe"
        for _ in range(3):
            note = raw.next()
            assert note[:2] == [b"message", b"sync:bob:phone"]
            for _ in range(3):
                raw.send("USER.ACK", "bob", "phone", note[2].decode())
                assert raw.next() == b"OK"
            raw.send("PING")
            assert raw.next() == b"PONG"
            door.send("two", "ann", "hi")
    finally:
        raw.close()


def test_notes_of_a_burst_are_few_and_the_last_is_the_newest(door: WireDoor) -> None:
    door.create("town", "mayor", USERS)
    total = 400
    with ExitStack() as stack:
        listeners = []
        for user in [USERS[0], USERS[0], *USERS]:  # one has three devices
            listeners.append(Raw(door.daemon.port))
            stack.callback(listeners[-1].close)
            channel = f"sync:{user}:device{len(listeners)}"
            for _ in range(2):  # again changes nothing
                listeners[-1].send("SUBSCRIBE", channel)
                while (frame := listeners[-1].next())[0] != b"subscribe":
                    assert frame[0] == b"message"
        with door.daemon.client().pipeline(transaction=False) as pipe:
            for _ in range(total):
                pipe.execute_command("CONV.SEND", "town", "mayor", "*", "text", "x")
            pipe.execute()
        newest = door.conversations(USERS[0]).position.encode()
        for listener in listeners:
            notes = [listener.next()[2]]
            while notes[-1] != newest:
                notes.append(listener.next()[2])
            assert len(notes) < total // 2
            assert len(set(notes)) == len(notes)
        quiet = listeners[0]
        quiet.send("UNSUBSCRIBE")
        assert quiet.next()[0] == b"unsubscribe"
        door.send("town", "mayor", "unheard")
        assert quiet.do("PING") == b"PONG"
        assert [each.next()[0] for each in listeners[1:]] == [b"message"] * (len(listeners) - 1)
