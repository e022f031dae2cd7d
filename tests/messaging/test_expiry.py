"""A device that was away for longer than in-boxes keep is told so; any other misses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import timeline
from tests.engine.stores import Clock
from tests.messaging.doors.door import Door
from tests.messaging.doors.embedded import EmbeddedDoor
from tests.messaging.doors.wire import WireDoor
from timeline.commit.draft import Draft
from timeline.embedded.database import Database
from timeline.errors import UncertainError, UsageError
from timeline.formats.conversations import MESSAGE, READ
from timeline.lsm.timeline import Timeline
from timeline.options import DAY, Options
from timeline.storage.mark import DurableMark
from timeline_server.subscriptions.push import Push
from timeline_server.subscriptions.subscriber import STREAM

SECONDS = 60.0
AT_ONCE: dict[str, Any] = {"inbox_age_ms": 1, "seal_after_ms": 1, "retention_check_ms": 1}
OPTIONS = {"diffusion_limit": 3, **AT_ONCE}


def floor_of(door: Door) -> int:
    if isinstance(door, WireDoor):
        return int(door.client.info("timeline")["inbox_floor"])
    assert isinstance(door, EmbeddedDoor)
    return door.db.engine.figures().inbox_floor


def wait_for_floor(door: Door) -> None:
    """Return when all that was committed so far has expired."""
    deadline = time.monotonic() + SECONDS
    while floor_of(door) < door.lsn():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("members", [2, 5], ids=["written to all", "read by all"])
def test_an_absence_that_was_too_long_is_answered_by_resync(door: Door, members: int) -> None:
    crowd = [f"user{number}" for number in range(members)]
    bob = crowd[1]
    door.create("team", "user0", crowd)
    door.ack(bob, "phone", door.conversations(bob).position)
    early = door.conversations(bob).position
    for number in range(5):
        door.send("team", "user0", str(number))
    wait_for_floor(door)
    page = door.sync(bob, "phone")
    assert (page.entries, page.resync) == ([], True)
    assert door.sync(bob, "desk", after=early).resync

    listed = door.conversations(bob)
    assert [(row.id, row.unread) for row in listed.rows] == [("team", 5)]
    assert len(door.history("team", bob)) == 5, "what expires is where to look, not what is there"
    page = door.sync(bob, "phone", after=listed.position)
    assert (page.entries, page.resync) == ([], False), "exactly at the floor"
    door.send("team", "user0", "more")
    page = door.sync(bob, "phone", after=listed.position)
    assert page.resync or [told.seq for told in page.entries] == [6], "never a silent gap"


def work(db: Database) -> None:
    """All that waits, and a look at what has expired."""
    db.engine.store.expiry._next_round = 0.0
    db.engine.work()
    while db.engine.work():
        pass


def test_positions_from_the_floor_on_go_on(tmp_path: Path, clock: Clock) -> None:
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im, engine = db.messaging, db.engine
        im.create("team", "ann", members=["bob"])
        im.ack("bob", "phone", im.conversations("bob").position)
        for number in range(5):
            im.send("team", "ann", {"text": str(number)})
        engine.seal()
        clock.now += 10 * DAY
        for number in range(5, 10):
            im.send("team", "ann", {"text": str(number)})
        engine.seal()
        epoch = engine.store.epoch

        def sync(lsn: int, ordinal: int = 0) -> list[int] | None:
            page = im.sync("bob", "desk", after=f"{epoch}-{lsn}-{ordinal}")
            return None if page.resync else [entry.seq for entry in page.entries]

        clock.now += 80 * DAY - 1
        work(db)
        assert sync(0) is not None
        page = im.sync("bob", "phone")
        assert [entry.seq for entry in page.entries] == list(range(1, 11))
        clock.now += 1
        work(db)
        floor = engine.inboxes.floor
        assert sync(floor) == list(range(6, 11))
        assert sync(floor + 1) == list(range(7, 11))
        assert sync(floor, 2) == list(range(7, 11)), "what is there was the second thing it made"
        assert sync(floor - 1) is None
        assert sync(floor - 1, 1) is None
        assert im.sync("bob", "phone").resync, "what it acknowledged is below the floor"
        im.ack("bob", "phone", f"{epoch}-{floor}-0")
        assert not im.sync("bob", "phone").resync
        with pytest.raises(UsageError):
            im.sync("bob", "desk", after="nonsense")


def test_a_device_that_is_not_forgotten_and_had_everything_is_not_resynced(
    tmp_path: Path, clock: Clock
) -> None:
    """Devices are forgotten after 90 idle days, in-boxes keep 90 days: the two must not clash."""
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        floors = []
        for number in range(5):
            im.send("team", "ann", {"text": "x"})
            db.engine.seal()
            page = im.sync("bob", "phone", after=im.conversations("bob").position)
            im.ack("bob", "phone", page.cursor)
            clock.now += DAY
            im.send("team", "ann", {"text": "y"})
            db.engine.seal()
            clock.now += 89 * DAY
            work(db)
            floors.append(db.engine.inboxes.floor)
            page = im.sync("bob", "phone")
            assert not page.resync
            assert [entry.seq for entry in page.entries] == [2 * number + 2]
        assert 0 < floors[0] < floors[-1]


def test_who_has_too_much_waiting_resyncs_and_nobody_else(tmp_path: Path) -> None:
    options = Options(fsync="inline", inbox_references=50)
    with timeline.open(tmp_path / "store", options) as db:
        im = db.messaging
        im.create("busy", "ann", members=["bob"])
        im.create("quiet", "ann", members=["cat"])
        early = im.conversations("bob").position
        for user in ("bob", "cat"):
            im.ack(user, "phone", early)
        im.send("quiet", "ann", {"text": "hi"})
        for number in range(300):
            if number % 20 == 0:
                db.engine.seal()
                work(db)
            im.send("busy", "ann", {"text": str(number)})
        assert [entry.seq for entry in im.sync("cat", "phone").entries] == [1]
        page = im.sync("bob", "phone")
        assert (page.entries, page.resync) == ([], True)
        assert im.sync("bob", "desk", after=early).resync
        position = im.conversations("bob").position
        im.send("busy", "ann", {"text": "more"})
        page = im.sync("bob", "phone", after=position)
        assert [entry.seq for entry in page.entries] == [301]
        epoch, _, _ = early.split("-")
        inbox = db.engine.view.find(b"@user:bob")
        assert inbox is not None
        floor = db.engine.inboxes.floor_of(inbox.id)
        page = im.sync("bob", "desk", after=f"{epoch}-{floor}-0", limit=1_000)
        seqs = [entry.seq for entry in page.entries]
        assert seqs == list(range(302 - len(seqs), 302))
        assert 50 < len(seqs) < 120
        assert im.sync("bob", "desk", after=f"{epoch}-{floor - 1}-0").resync


# --- streams ------------------------------------------------------------------------------------


class Turns:
    """An event loop whose turns a test takes itself."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        self.calls.append(partial(call, *arguments))

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


class Line:
    """A connection as `Push` sees it."""

    def __init__(self) -> None:
        self.session = SimpleNamespace(resp=3)
        self.takes_more = True
        self.frames: list[bytes] = []
        self.reason = ""

    def offer(self, frame: bytes) -> bool:
        if self.takes_more:
            self.frames.append(frame)
        return self.takes_more

    def disconnect(self, reason: str) -> None:
        self.reason = reason


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
def test_a_stream_that_had_everything_goes_on_whatever_comes_at_once(
    tmp_path: Path, clock: Clock, *, reads: bool
) -> None:
    """Its position is below the floor, since nothing was for it; then two groups come in a turn."""
    turns, line = Turns(), Line()
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im, engine = db.messaging, db.engine
        im.create("team", "ann", members=["bob"])
        push = Push(turns, engine, im.messages, db.feeds.feeds)

        def commit(work: Callable[[Draft, Timeline], None]) -> None:
            with engine.lock:
                draft = engine.begin()
                place = draft.find(b"@conv:team")
                assert place is not None
                work(draft, place)
                draft.commit().group.on_done(lambda group: push.tell(im.messages.watch.tell(group)))
            engine.flush()

        bob = engine.view.find(b"@user:bob")
        assert bob is not None
        connection: Any = line
        push.add(connection, b"bob", b"phone", bob.id, STREAM, im.messages.reader.now)
        turns.run()
        for _ in range(2):
            commit(lambda draft, _: draft.put(b"u-test", b""))
            engine.seal()
            clock.now += 91 * DAY
        work(db)
        turns.run()
        before = engine.inboxes.floor
        assert before == engine.applied

        commit(
            lambda draft, place: draft.deliver(
                place.id, place, draft.append(place, [b"text", b"hi"]), MESSAGE
            )
        )
        line.takes_more = reads
        commit(lambda draft, place: draft.notify([bob.id], place, 1, READ))
        turns.run()
        line.takes_more = True
        push.resume(connection)
        turns.run()
        assert line.reason == ""
        assert [b"hi" in frame for frame in line.frames] in ([True], [True, False])
        assert sum(frame.count(b"$4\r\nsync") for frame in line.frames) == 2


def test_a_stream_is_told_what_healing_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message whose outcome was uncertain stands, and nobody commits after it."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    turns, line = Turns(), Line()
    with timeline.open(tmp_path / "store", fsync="inline", search=False) as db:
        im, engine = db.messaging, db.engine
        im.create("team", "ann", members=["bob"])
        push = Push(turns, engine, im.messages, db.feeds.feeds)
        engine.observers.on_reload(push.look_all)
        bob = engine.view.find(b"@user:bob")
        assert bob is not None
        connection: Any = line
        push.add(connection, b"bob", b"phone", bob.id, STREAM, im.messages.reader.now)
        turns.run()
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise OSError

            patch.setattr(DurableMark, "write", fail)
            with pytest.raises(UncertainError):
                im.send("team", "ann", {"text": "stands"})
        while engine.poisoned:
            engine.work()
        turns.run()
        assert any(b"stands" in frame for frame in line.frames)
