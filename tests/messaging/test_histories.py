"""Concurrent clients, kill -9 among them, and a checker of what they saw.

Senders send with keys and resend what was not answered; one moves a crowd in and out of a
conversation, so that its diffusion switches; devices sync, follow streams and acknowledge. The
daemon is killed at random moments and started again on the same directory. What everybody recorded
is checked afterwards:

- every acknowledged message is there, under the number acknowledged, once;
- each conversation is numbered without a gap, each sender's messages in the order he sent them;
- each device was told every message of its conversations, in order, none twice.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis

from tests.messaging.test_push import Raw
from tests.server.daemon import Client, Daemon

SENDERS = ["ann", "bob", "cat"]
ROOMS = ["one", "two", "three"]
CROWD = [f"crowd{number}" for number in range(6)]
LIMIT = 6
LOST = (redis.ConnectionError, redis.TimeoutError, OSError)


class Running:
    """The daemon that clients look for, whichever it is at the moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stopped = threading.Event()
        self.failures: list[BaseException] = []
        self.up = threading.Event()
        self.start()

    def start(self) -> None:
        self.daemon = Daemon(self.path, f"--diffusion-limit={LIMIT}")
        self.up.set()

    def kill(self) -> None:
        self.daemon.stop(9)
        self.up.clear()

    def client(self) -> Client:
        self.up.wait(30)
        return self.daemon.client(socket_timeout=10)

    def run(self, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as problem:
                self.failures.append(problem)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread


class Sender:
    """Sends numbered texts, each with a key; goes on resending until it is answered."""

    def __init__(self, running: Running, user: str) -> None:
        self.running = running
        self.user = user
        self.draw = random.Random(user)
        self.acknowledged: list[tuple[str, int, str]] = []  # (room, seq, text), in order

    def work(self) -> None:
        number = 0
        while not self.running.stopped.is_set():
            number += 1
            room = self.draw.choice(ROOMS)
            text = f"{self.user} {number}"
            words = ("CONV.SEND", room, self.user, "KEY", str(number), "*", "text", text)
            seq, _, _ = self.insist(words)
            self.acknowledged.append((room, seq, text))

    def insist(self, words: tuple[str, ...]) -> Any:  # noqa: ANN401  a reply
        while True:
            try:
                with self.running.client() as client:
                    return client.execute_command(*words)
            except LOST:
                continue


class Device:
    """Syncs from what it acknowledged, by pages or by a stream, and records what it is told."""

    def __init__(self, running: Running, user: str, name: str, *, stream: bool) -> None:
        self.running = running
        self.user = user
        self.name = name
        self.stream = stream
        self.cursor = ""
        self.told: list[tuple[str, int]] = []

    def work(self) -> None:
        while not self.running.stopped.is_set():
            try:
                if self.stream:
                    self.follow()
                else:
                    self.pull(100)
            except (*LOST, AssertionError) as problem:
                if isinstance(problem, AssertionError) and "closed" not in str(problem):
                    raise

    def pull(self, block: int) -> bool:
        """One page; whether there was anything."""
        with self.running.client() as client:
            words = ("AFTER", self.cursor) if self.cursor else ()
            found = client.execute_command(
                "USER.SYNC", self.user, self.name, *words, "COUNT", 7, "BLOCK", block
            )
            found = (
                dict(zip(found[::2], found[1::2], strict=True)) if type(found) is list else found
            )
            assert not found[b"resync"]
            for kind, room, entry_id, _ in found[b"entries"]:
                self.note(kind, room, entry_id)
            self.cursor = found[b"cursor"].decode()
            client.execute_command("USER.ACK", self.user, self.name, self.cursor)
            return bool(found[b"entries"]) or bool(found[b"more"])

    def follow(self) -> None:
        self.running.up.wait(30)
        raw = Raw(self.running.daemon.port)
        try:
            words = ("AFTER", self.cursor) if self.cursor else ()
            assert raw.do("USER.SUBSCRIBE", self.user, self.name, *words) == b"OK"
            raw.socket.settimeout(0.5)
            for _ in range(50):
                frame = raw.next()
                assert isinstance(frame, hiredis.PushNotification)
                _, _, cursor, kind, room, entry_id, _ = frame
                self.note(kind, room, entry_id)
                self.cursor = cursor.decode()
        finally:
            raw.close()

    def note(self, kind: bytes, room: bytes, entry_id: bytes) -> None:
        if kind == b"message":
            self.told.append((room.decode(), int(entry_id.split(b"-")[0])))


@pytest.mark.timeout(0)
def test_whatever_is_killed_the_history_holds(tmp_path: Path, kill_rounds: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201  shown when it fails
    draw = random.Random(seed)
    running = Running(tmp_path / "store")
    with running.client() as client:
        for room in ROOMS:
            client.execute_command("CONV.CREATE", room, "-", "MEMBERS", len(SENDERS), *SENDERS)
        devices = [
            Device(running, user, name, stream=name == "stream")
            for user in SENDERS
            for name in ("pages", "stream")
        ]
        for device in devices:
            found = client.execute_command("USER.CONVERSATIONS", device.user)
            found = (
                dict(zip(found[::2], found[1::2], strict=True)) if type(found) is list else found
            )
            device.cursor = found[b"position"].decode()
            client.execute_command("USER.ACK", device.user, device.name, device.cursor)
    senders = [Sender(running, user) for user in SENDERS]

    def move_the_crowd() -> None:
        mover = Sender(running, "-")
        while not running.stopped.is_set():
            for verb in ("CONV.JOIN", "CONV.LEAVE"):
                mover.insist((verb, "two", "-", *CROWD))
                running.stopped.wait(0.02)  # a device far behind knows 128 switches

    works = [sender.work for sender in senders] + [device.work for device in devices]
    threads = [running.run(work) for work in (*works, move_the_crowd)]
    try:
        for _ in range(max(3, kill_rounds // 3)):
            enough = sum(len(sender.acknowledged) for sender in senders) + draw.randint(20, 300)
            while (
                sum(len(sender.acknowledged) for sender in senders) < enough
                and not running.failures
            ):
                running.stopped.wait(0.001)
            running.kill()
            running.start()
    finally:
        running.stopped.set()
        for thread in threads:
            thread.join(30)
    assert running.failures == [], running.failures
    try:
        check(running, senders, devices)
    finally:
        running.daemon.stop()


def check(running: Running, senders: list[Sender], devices: list[Device]) -> None:
    stored: dict[str, list[str]] = {}
    with running.client() as client:
        for room in ROOMS:
            texts: list[str] = []
            while True:
                page = client.execute_command(
                    "CONV.HISTORY", room, "-", "FROM", len(texts) + 1, "COUNT", 500
                )
                for entry_id, fields in page:
                    assert entry_id == b"%d-0" % (len(texts) + 1), "numbers have no gap"
                    texts.append(fields[-1].decode())
                if not page:
                    break
            stored[room] = texts
    everything = [text for texts in stored.values() for text in texts]
    assert len(set(everything)) == len(everything), "a message was stored twice"
    for sender in senders:
        for room, seq, text in sender.acknowledged:
            assert stored[room][seq - 1] == text, "acknowledged, and not there"
        for texts in stored.values():
            numbers = [int(t.split()[1]) for t in texts if t.split()[0] == sender.user]
            assert numbers == sorted(numbers), "a sender's messages changed places"
    for device in devices:
        while device.pull(1):
            pass
        assert len(set(device.told)) == len(device.told), "a device was told something twice"
        for room, texts in stored.items():
            seen = [seq for where, seq in device.told if where == room]
            assert seen == list(range(1, len(texts) + 1)), f"{device.user} {device.name} {room}"
    with running.client() as client:
        for user in SENDERS:
            reply = client.execute_command("USER.UNREAD", user, "one")
            texts = stored["one"]
            own = [number for number, t in enumerate(texts, 1) if t.split()[0] == user]
            assert reply == len(texts) - max(own, default=0), "unread after kills"
