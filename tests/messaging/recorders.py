"""Clients of a daemon that is killed now and then: each records what it was answered.

A sender sends with keys and resends what was not answered. A wanderer comes and goes, newcomers are
made by joining. A device syncs, follows streams and acknowledges.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
import redis

from tests.messaging.doors.raw import Raw
from tests.server.daemon import Client, Daemon

SENDERS = ["ann", "bob", "cat"]
ROOMS = ["one", "two", "three"]
CROWD = [f"crowd{number}" for number in range(6)]
LIMIT = 6
WANDERERS = [f"wanderer{number}" for number in range(4)]
MOST_NEW = 40
MOVES = 200  # of one user in one conversation: 256 memberships are kept
LOST = (redis.ConnectionError, redis.TimeoutError, OSError)


class Running:
    """The daemon that clients look for, whichever it is at the moment."""

    def __init__(self, path: Path, *words: str) -> None:
        self.path = path
        self.words = words
        self.stopped = threading.Event()
        self.failures: list[BaseException] = []
        self.up = threading.Event()
        self.start()

    def start(self) -> None:
        self.daemon = Daemon(self.path, f"--diffusion-limit={LIMIT}", *self.words)
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


class Span(NamedTuple):
    """When something was asked for and when it was answered."""

    begin: float
    end: float


ALWAYS, NEVER = Span(float("-inf"), float("-inf")), Span(float("inf"), float("inf"))


def shown_to(client: Client, room: str, user: str) -> list[int]:
    """The numbers of the messages of a conversation that a user is shown."""
    shown: list[int] = []
    while True:
        page = client.execute_command(
            "CONV.HISTORY", room, user, "FROM", shown[-1] + 1 if shown else 1, "COUNT", 500
        )
        shown += [int(entry_id.split(b"-")[0]) for entry_id, _ in page]
        if not page:
            return shown


class Sender:
    """Sends numbered texts, each with a key; goes on resending until it is answered."""

    def __init__(self, running: Running, user: str) -> None:
        self.running = running
        self.user = user
        self.draw = random.Random(user)
        self.acknowledged: list[tuple[str, int, str]] = []  # (room, seq, text), in order
        self.spans: list[Span] = []  # of the same

    def work(self) -> None:
        number = 0
        while not self.running.stopped.is_set():
            number += 1
            room = self.draw.choice(ROOMS)
            text = f"{self.user} {number}"
            words = ("CONV.SEND", room, self.user, "KEY", str(number), "*", "text", text)
            begin = time.monotonic()
            seq, _, _ = self.insist(words)
            self.spans.append(Span(begin, time.monotonic()))
            self.acknowledged.append((room, seq, text))

    def insist(self, words: tuple[str, ...]) -> Any:  # noqa: ANN401  a reply
        while True:
            try:
                with self.running.client() as client:
                    return client.execute_command(*words)
            except LOST:
                continue


class Wanderer:
    """Comes and goes, one conversation after another."""

    def __init__(self, running: Running, user: str) -> None:
        self.running = running
        self.user = user
        self.draw = random.Random(user)
        self.moves: dict[str, list[Span]] = {room: [] for room in ROOMS}  # join, leave, join, …
        self.sent: list[tuple[str, int, bool, Span]] = []  # room, number, whether a duplicate

    def send(self) -> None:
        """Wherever they are at the moment, and where they are not."""
        draw, number = random.Random(f"{self.user} sends"), 0
        sender = Sender(self.running, self.user)
        while not self.running.stopped.wait(draw.random() * 0.02):
            number += 1
            room, text = draw.choice(ROOMS), f"{self.user} {number}"
            words = ("CONV.SEND", room, self.user, "KEY", str(number), "*", "text", text)
            begin = time.monotonic()
            try:
                seq, _, status = sender.insist(words)
            except redis.exceptions.NoPermissionError:
                continue
            self.sent.append((room, seq, status == b"duplicate", Span(begin, time.monotonic())))

    def work(self) -> None:
        mover = Sender(self.running, "-")
        while not self.running.stopped.wait(self.draw.random() * 0.05):
            room = self.draw.choice(ROOMS)
            moves = self.moves[room]
            if len(moves) < MOVES:
                verb = "CONV.LEAVE" if len(moves) % 2 else "CONV.JOIN"
                begin = time.monotonic()
                mover.insist((verb, room, "-", self.user))
                moves.append(Span(begin, time.monotonic()))

    def certainly_in(self, room: str, sent: Span) -> bool:
        return any(
            joined.end < sent.begin and sent.end < left.begin
            for at, (joined, left) in enumerate(pairwise([*self.moves[room], NEVER]))
            if at % 2 == 0
        )

    def certainly_out(self, room: str, sent: Span) -> bool:
        return any(
            left.end < sent.begin and sent.end < joined.begin
            for at, (left, joined) in enumerate(pairwise([ALWAYS, *self.moves[room], NEVER]))
            if at % 2 == 0
        )


class Newcomers:
    """One after another joins a conversation, which makes them, and begins as a new device does."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.devices: list[tuple[str, Device]] = []

    def work(self) -> None:
        draw = random.Random("newcomers")
        mover = Sender(self.running, "-")
        while not self.running.stopped.wait(draw.random() * 0.1) and len(self.devices) < MOST_NEW:
            user, room = f"new{len(self.devices)}", draw.choice(ROOMS)
            mover.insist(("CONV.JOIN", room, "-", user))
            device = Device(self.running, user, "phone", stream=False)
            while not self.running.stopped.is_set():
                try:
                    self.arrive(device, room)
                except LOST:
                    device.told.clear()  # and all over again
                else:
                    self.devices.append((room, device))
                    break
            else:
                return

    def arrive(self, device: Device, room: str) -> None:
        with self.running.client() as client:
            device.begin(client)
            device.told += [(room, seq) for seq in shown_to(client, room, device.user)]
        known = set(device.told)
        for _ in range(3):
            device.pull(50)
        device.told[:] = sorted({*known, *device.told})


class Device:
    """Syncs from what it acknowledged, by pages or by a stream, and records what it is told."""

    def __init__(self, running: Running, user: str, name: str, *, stream: bool) -> None:
        self.running = running
        self.user = user
        self.name = name
        self.stream = stream
        self.cursor = ""
        self.told: list[tuple[str, int]] = []
        self.block = 100

    def begin(self, client: Client) -> None:
        """From here on, whatever was before."""
        found = client.execute_command("USER.CONVERSATIONS", self.user)
        found = dict(zip(found[::2], found[1::2], strict=True)) if type(found) is list else found
        self.cursor = found[b"position"].decode()
        client.execute_command("USER.ACK", self.user, self.name, self.cursor)

    def work(self) -> None:
        while not self.running.stopped.is_set():
            try:
                if self.stream:
                    self.follow()
                else:
                    self.pull(self.block)
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
            assert not found[b"resync"], f"{self.user} {self.name} starts over at {self.cursor}"
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
            answer = raw.do("USER.SUBSCRIBE", self.user, self.name, *words)
            assert answer == b"OK", answer
            raw.socket.settimeout(0.5)
            for _ in range(50):
                frame = raw.next()
                assert isinstance(frame, hiredis.PushNotification), frame
                _, _, cursor, kind, room, entry_id, _ = frame
                self.note(kind, room, entry_id)
                self.cursor = cursor.decode()
        finally:
            raw.close()

    def note(self, kind: bytes, room: bytes, entry_id: bytes) -> None:
        if kind == b"message":
            self.told.append((room.decode(), int(entry_id.split(b"-")[0])))
