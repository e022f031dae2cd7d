"""The promise: a backup taken under load, restored, holds everything acknowledged before it began,
and nothing in it is torn: in-boxes, lists, unread and histories agree.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import timeline
from tests.server.daemon import Client, Daemon
from timeline.embedded.messaging import Messaging

WRITERS = 3
GROUPS = ("small", "large")  # delivered, and read-diffused
STEADY = [f"w{number}" for number in range(WRITERS)]  # who are members from the beginning
GUESTS = [f"g{number}" for number in range(8)]
BETWEEN = 150  # acknowledgements before each backup


@dataclass
class Told:
    """What the daemon acknowledged to one writer."""

    sent: dict[tuple[str, int], str] = field(default_factory=dict)
    edited: dict[tuple[str, int], str] = field(default_factory=dict)
    recalled: set[tuple[str, int]] = field(default_factory=set)
    member: dict[str, bool] = field(default_factory=dict)  # his guest

    def copy(self) -> Told:
        return Told(dict(self.sent), dict(self.edited), set(self.recalled), dict(self.member))


class Writer(threading.Thread):
    def __init__(self, daemon: Daemon, number: int, done: threading.Semaphore) -> None:
        super().__init__()
        self.user, self.guest = STEADY[number], GUESTS[number]
        self.told = Told()
        self.lock = threading.Lock()
        self.stop = False
        self._client: Client = daemon.client()
        self._chance = random.Random(number)
        self._done = done

    def run(self) -> None:
        with self._client as client:
            count = 0
            while not self.stop:
                count += 1
                self._step(client, count)
                self._done.release()

    def _step(self, client: Client, count: int) -> None:
        call, chance, told = client.execute_command, self._chance, self.told
        group = chance.choice(GROUPS)
        mine = [key for key in told.sent if key not in told.recalled]
        text = f"{self.user}:{count}"
        match chance.randrange(6) if mine else 5:
            case 0:
                at = chance.choice(mine)
                call("CONV.RECALL", *at, self.user)
                with self.lock:
                    told.recalled.add(at)
            case 1:
                at = chance.choice(mine)
                call("CONV.EDIT", *at, self.user, "*", "text", text)
                with self.lock:
                    told.edited[at] = text
            case 2:
                inside = not told.member.get(group, False)
                call("CONV.JOIN" if inside else "CONV.LEAVE", group, "-", self.guest)
                with self.lock:
                    told.member[group] = inside
            case _:
                seq, *_ = call("CONV.SEND", group, self.user, "KEY", text, "*", "text", text)
                with self.lock:
                    told.sent[group, seq] = text


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    words = ["--backup-directory", str(tmp_path), "--diffusion-limit", "6", "--unsealed-bytes"]
    running = Daemon(tmp_path / "data", *words, "64k", "--write-buffer-bytes", "128k")
    yield running
    assert running.stop() == 0, running.log.read_text()


def test_a_backup_under_load(daemon: Daemon, tmp_path: Path) -> None:
    before: list[list[Told]] = []
    with daemon.client() as client:
        client.execute_command("CONV.CREATE", "small", "-", "MEMBERS", WRITERS, *STEADY)
        many = [*STEADY, *GUESTS[WRITERS:]]
        client.execute_command("CONV.CREATE", "large", "-", "MEMBERS", len(many), *many)
        done = threading.Semaphore(0)
        writers = [Writer(daemon, number, done) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for number in range(3):
            for _ in range(BETWEEN):
                assert done.acquire(timeout=30)
            before.append([])
            for writer in writers:
                with writer.lock:
                    before[-1].append(writer.told.copy())
            client.execute_command("BACKUP", f"b{number}")
        for writer in writers:
            writer.stop = True
        for writer in writers:
            writer.join()
    for number, told in enumerate(before):
        timeline.restore(tmp_path / f"b{number}", tmp_path / f"r{number}")
        with timeline.open(tmp_path / f"r{number}", search=False, diffusion_limit=6) as db:
            after = [writer.told for writer in writers]
            nothing_is_lost(db.messaging, told, after)
            nothing_is_torn(db)
            seq = db.messaging.info("small").head
            assert db.messaging.send("small", STEADY[0], {"text": "on"}).seq == seq + 1


def nothing_is_lost(im: Messaging, before: list[Told], after: list[Told]) -> None:
    found = {
        (group, entry.seq): entry.fields
        for group in GROUPS
        for entry in im.history(group, limit=10_000)
    }
    for known, later in zip(before, after, strict=True):
        for at, text in known.sent.items():
            if at in known.recalled:
                assert b"@recalled" in found[at].keys()  # noqa: SIM118  no mapping
            elif at not in later.recalled:
                now = found[at]["text"].decode()
                if at not in later.edited:
                    assert now == text
                elif later.edited[at] == known.edited.get(at):
                    assert now == later.edited[at]


def nothing_is_torn(db: timeline.Database) -> None:
    im = db.messaging
    epoch = db.engine.store.epoch
    for user in STEADY:
        pulled: dict[tuple[str, int], bytes | None] = {}
        cursor, more = f"{epoch}-0-0", True
        while more:
            page = im.sync(user, "phone", after=cursor, limit=500)
            assert not page.resync
            cursor, more = page.cursor, page.more
            for entry in page.entries:
                if entry.kind in ("message", "edit", "recall"):
                    pulled[entry.conversation, entry.seq] = entry.fields.get("text")
        listed = {row.id: row for row in im.conversations(user).conversations}
        for group in GROUPS:
            history = im.history(group, user, limit=10_000)
            assert [entry.seq for entry in history] == list(range(1, len(history) + 1))
            seen = {
                seq: text for (conversation, seq), text in pulled.items() if conversation == group
            }
            assert seen == {entry.seq: entry.fields.get("text") for entry in history}
            row = listed[group]
            assert row.head == len(history)
            own = [entry.seq for entry in history if entry.text("@from") == user]
            unread = [
                entry.seq
                for entry in history
                if entry.seq > max(own, default=0) and entry.fields.get("@recalled") is None
            ]
            assert row.unread == im.unread(user, group) == len(unread)
            assert row.last is not None
