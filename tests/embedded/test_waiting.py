"""Calls that wait in this process: each is woken for what it waits for, and ends with the store."""

from __future__ import annotations

import threading

import pytest

from tests.embedded.waits import SECONDS, Reads
from timeline.devices.waiting import Waiter, Waiters
from timeline.embedded.database import Database
from timeline.errors import ClosedError
from timeline.lsm.log import LogCommit


def test_a_blocked_sync_is_not_woken_for_others(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    im = db.messaging
    reads = Reads(monkeypatch)
    pages: list[list[str]] = []
    began = threading.Event()
    arrive = im.messages.presence.arrive

    def arrived(user: bytes, device: bytes) -> None:
        arrive(user, device)
        began.set()

    monkeypatch.setattr(im.messages.presence, "arrive", arrived)

    def block() -> None:
        page = im.sync("bob", "phone", block=SECONDS)
        pages.append([entry.text("text") for entry in page.entries])

    blocked = threading.Thread(target=block)
    blocked.start()
    assert began.wait(SECONDS)
    for number in range(50):
        im.send("other", "cat", {"text": str(number)})
    db.timeline("raw").append({"a": "1"})
    assert reads.count == 1, "what it found before it began to wait"
    assert im.online("bob")
    im.send("team", "ann", {"text": "hello"})
    blocked.join(SECONDS)
    assert pages == [["hello"]]
    assert reads.count == 2
    assert not im.online("bob")
    assert not len(im.messages.waiters)


def test_a_sync_that_waits_ends_with_the_store(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    im = db.messaging
    began, ended = threading.Event(), threading.Event()
    arrive = im.messages.presence.arrive

    def arrived(user: bytes, device: bytes) -> None:
        arrive(user, device)
        began.set()

    monkeypatch.setattr(im.messages.presence, "arrive", arrived)

    def block() -> None:
        with pytest.raises(ClosedError):
            im.sync("bob", "phone", block=10 * SECONDS)
        ended.set()

    threading.Thread(target=block, daemon=True).start()
    assert began.wait(SECONDS)
    db.close()
    assert ended.wait(SECONDS)
    assert not len(im.messages.waiters)


@pytest.mark.parametrize("end", ["commit", "time", "store"])
def test_who_follows_the_log_ends_with_the_store_or_when_nothing_comes(
    db: Database, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    reads = Reads(monkeypatch)
    began, followed = threading.Event(), threading.Event()
    add = Waiters.add

    def added(waiters: Waiters, name: int, waiter: Waiter) -> None:
        add(waiters, name, waiter)
        began.set()

    monkeypatch.setattr(Waiters, "add", added)
    head = db.log.head
    found: list[LogCommit] = []

    def follow() -> None:
        found.extend(db.log.follow(after=head, timeout=0.05 if end == "time" else None))
        followed.set()

    threading.Thread(target=follow, daemon=True).start()
    assert began.wait(SECONDS)
    if end == "commit":
        began.clear()
        db.timeline("raw").append({"a": "1"})
        assert began.wait(SECONDS), "it has been given that, and waits for more"
    if end != "time":
        db.close()
    assert followed.wait(SECONDS)
    assert [commit.lsn for commit in found] == ([head + 1] if end == "commit" else [])
    assert not len(db.messaging.messages.waiters)
    assert not reads.count, "in-boxes are no matter of the log"
