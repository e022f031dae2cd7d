"""Concurrent clients, kill -9 among them, and a checker of what they saw.

Senders send with keys and resend what was not answered; one moves a crowd in and out of a
conversation, so that its diffusion switches; devices sync, follow streams and acknowledge. The
daemon is killed at random moments and started again on the same directory. What everybody recorded
is checked afterwards:

- every acknowledged message is there, under the number acknowledged, once;
- each conversation is numbered without a gap, each sender's messages in the order of sending;
- each device was told every message of its conversations, in order, none twice;
- who comes and goes was told exactly what CONV.HISTORY shows them: everything sent while they were
  certainly there, and nothing sent while they were certainly not; what they send themselves is
  stored while they are there, or was (a key that is sent again answers what it stored);
- who is new, and was made by joining, misses nothing between the list, the history and sync.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.messaging.recorders import (
    CROWD,
    ROOMS,
    SENDERS,
    WANDERERS,
    Device,
    Newcomers,
    Running,
    Sender,
    Wanderer,
    shown_to,
)


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
            device.begin(client)
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


def small(draw: random.Random) -> list[str]:
    """Options under which everything is sealed, merged, forgotten and loaded again all the time."""
    return [
        f"--unsealed-bytes={draw.choice((20_000, 100_000, 500_000))}",
        f"--tails={draw.choice((10, 40, 1_000))}",
        f"--segment-entries={draw.choice((4, 16, 256))}",
        f"--segment-cache-bytes={draw.choice((2_000, 50_000, 10**7))}",
        f"--timeline-cache={draw.choice((3, 12, 1_000))}",
        f"--dormant-timelines={draw.choice((2, 12, 1_000))}",
        f"--audience-cache={draw.choice((2, 12, 1_000))}",
        f"--list-cache-bytes={draw.choice((2_000, 10**6))}",
        f"--write-buffer-bytes={draw.choice((65_536, 10**6))}",
        f"--compact-after={draw.choice((2, 8))}",
        f"--fsync={draw.choice(('inline', 'thread'))}",
        f"--durability={draw.choice(('sync', 'interval'))}",  # a killed process loses nothing
        "--entry-bytes=4096",
        "--group-bytes=65536",
    ]


@pytest.mark.timeout(0)
def test_who_comes_and_goes_is_told_what_they_were_there_for(
    tmp_path: Path, kill_rounds: int
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    words = small(draw)
    print(f"seed {seed}: {' '.join(words)}")  # noqa: T201  shown when it fails
    running = Running(tmp_path / "store", *words)
    members = [*SENDERS, "dan"]
    wanderers = [Wanderer(running, user) for user in WANDERERS]
    with running.client() as client:
        for room in ROOMS:
            client.execute_command("CONV.CREATE", room, "-", "MEMBERS", len(members), *members)
        devices = []
        for user in WANDERERS:
            client.execute_command("USER.META", user, "*", "name", user)
            for name in ("pages", "stream"):
                device = Device(running, user, name, stream=name == "stream")
                device.block = 2_000
                device.begin(client)
                devices.append(device)
    senders = [Sender(running, user) for user in members]
    newcomers = Newcomers(running)
    works = [each.work for each in senders] + [newcomers.work]
    works += [work for each in wanderers for work in (each.work, each.send)]
    threads = [running.run(work) for work in works + [each.work for each in devices]]
    long = kill_rounds > 12
    try:
        for _ in range(kill_rounds // 4 if long else 2):
            until = time.monotonic() + draw.uniform(2, 5) * (1 if long else 0.1)
            while time.monotonic() < until and not running.failures:
                running.stopped.wait(0.02)
            running.kill()
            running.start()
        moved = sum(len(moves) for each in wanderers for moves in each.moves.values())
        while sum(len(s.acknowledged) for s in senders) < 20 or moved < 4:
            running.stopped.wait(0.01)
            moved = sum(len(moves) for each in wanderers for moves in each.moves.values())
    finally:
        running.stopped.set()
        for thread in threads:
            thread.join(30)
    assert running.failures == [], running.failures
    try:
        check_the_movement(running, senders, wanderers, devices)
        check_the_newcomers(running, newcomers)
    finally:
        running.daemon.stop()


def check_the_movement(
    running: Running, senders: list[Sender], wanderers: list[Wanderer], devices: list[Device]
) -> None:
    check_the_store(running, senders)
    sent = [
        (room, seq, span)
        for sender in senders
        for (room, seq, _), span in zip(sender.acknowledged, sender.spans, strict=True)
    ]
    for device in devices:
        while device.pull(1):
            pass
        assert len(set(device.told)) == len(device.told), "a device was told something twice"
    for wanderer in wanderers:
        for room, moves in wanderer.moves.items():
            shown: list[int] = []
            if moves:
                with running.client() as client:
                    shown = shown_to(client, room, wanderer.user)
            for where, seq, duplicate, span in wanderer.sent:
                if where == room:
                    assert seq in shown, (wanderer.user, room, seq)
                    out = wanderer.certainly_out(room, span)
                    assert not out, (wanderer.user, room, seq, duplicate)
            for where, seq, span in sent:
                if where != room:
                    continue
                if seq not in shown:
                    assert not wanderer.certainly_in(room, span), (wanderer.user, room, seq)
                else:
                    assert not wanderer.certainly_out(room, span), (wanderer.user, room, seq)
            for device in devices:
                if device.user == wanderer.user:
                    told = [seq for where, seq in device.told if where == room]
                    assert told == shown, f"{device.user} {device.name} {room}"


def check_the_newcomers(running: Running, newcomers: Newcomers) -> None:
    for room, device in newcomers.devices:
        while device.pull(1):
            pass
        with running.client() as client:
            shown = shown_to(client, room, device.user)
        assert sorted({seq for _, seq in device.told}) == shown, device.user


def check_the_store(running: Running, senders: list[Sender]) -> dict[str, list[str]]:
    """What is stored of each conversation, once it is what senders were told."""
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
    return stored


def check(running: Running, senders: list[Sender], devices: list[Device]) -> None:
    stored = check_the_store(running, senders)
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
