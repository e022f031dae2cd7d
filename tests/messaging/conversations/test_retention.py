"""Retention on a conversation: devices are told what it took, and what it took is gone for good."""

from __future__ import annotations

from itertools import count

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door, Update
from tests.messaging.doors.embedded import EmbeddedDoor
from tests.messaging.doors.wire import WireDoor

LIMIT = 4
OPTIONS = {"diffusion_limit": LIMIT, "retention_check_ms": 1}
_numbers = count(1)


class Scene:
    """A group of Ann, Bob and as many others as its diffusion takes."""

    def __init__(self, door: Door, others: int) -> None:
        number = next(_numbers)
        self.door = door
        self.team, self.ann, self.bob = f"team-{number}", f"ann-{number}", f"bob-{number}"
        rest = [f"other-{number}-{index}" for index in range(others)]
        door.create(self.team, self.ann, [self.bob, *rest])
        door.ack(self.bob, "phone", door.conversations(self.bob).position)

    def send(self, *texts: str) -> None:
        for text in texts:
            self.door.send(self.team, self.ann, text)

    def keep(self, length: int) -> None:
        """Let retention leave so many messages, and wait until it has."""
        self.bound(length)
        while len(self.door.history(self.team, limit=1_000)) > length:
            if isinstance(self.door, EmbeddedDoor):
                self.door.db.engine.work()  # its thread would rest a while first
                self.door.db.flush()
        self.bound(0)

    def bound(self, length: int) -> None:
        name = f"@conv:{self.team}"
        if isinstance(self.door, EmbeddedDoor):
            self.door.db.timeline(name).set_retention(length=length)
        elif isinstance(self.door, WireDoor):
            self.door.do("TIMELINE.RETENTION", name, "MAXLEN", length)

    def catch_up(self, limit: int = 100) -> list[tuple[str, int]]:
        found: list[Update] = []
        more = True
        while more:
            page = self.door.sync(self.bob, "phone", limit=limit)
            assert not page.resync
            found += page.entries
            more = page.more
            self.door.ack(self.bob, "phone", page.cursor)
        return [(each.kind, each.seq) for each in found]


@pytest.fixture(params=[0, 2 * LIMIT], ids=["write", "read"])
def scene(opened: Door, request: pytest.FixtureRequest) -> Scene:
    return Scene(opened, request.param)


@pytest.mark.parametrize("disturb", ["nothing", "restart", "kill"])
def test_devices_are_told_what_it_took(scene: Scene, disturb: str) -> None:
    scene.send("1", "2", "3", "4", "5")
    assert len(scene.catch_up()) == 5
    scene.keep(3)
    if disturb != "nothing":
        getattr(scene.door, disturb)()
    assert scene.catch_up() == [("clear", 2)]
    scene.keep(2)
    scene.send("6")
    scene.keep(1)
    assert scene.catch_up() == [("message", 6), ("clear", 5)], "once, however often it trimmed"
    assert scene.catch_up() == []
    assert [message.seq for message in scene.door.history(scene.team, scene.bob)] == [6]


def test_it_keeps_one_event_however_often_it_trims(scene: Scene) -> None:
    scene.send("1", "2", "3", "4", "5")
    for length in (4, 3, 2):
        scene.keep(length)
    found, _ = scene.door.events(scene.team)
    assert [(each.kind, each.seq) for each in found] == [("join", 0), ("clear", 3)]
    scene.door.edit(scene.team, 4, "four", scene.ann)
    scene.keep(1)
    found, _ = scene.door.events(scene.team)
    assert [(each.kind, each.seq) for each in found] == [("join", 0), ("clear", 3), ("clear", 4)]


def test_who_comes_back_is_told(scene: Scene) -> None:
    scene.send("1", "2", "3")
    scene.catch_up()
    scene.door.leave(scene.team, [scene.bob], scene.bob)
    scene.keep(2)
    scene.keep(1)
    assert scene.catch_up() == [("leave", 0)]
    scene.door.join(scene.team, [scene.bob])
    assert scene.catch_up() == [("join", 0), ("clear", 2)]


def test_what_it_took_is_recalled_already(scene: Scene) -> None:
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    scene.send("1", "2", "3")
    scene.keep(1)
    before = door.lsn()
    for actor in (ann, bob, "-"):
        door.recall(team, 2, actor)
    assert door.lsn() == before, "as recalling twice does nothing"
    for refused in (
        lambda: door.edit(team, 2, "x", ann),
        lambda: door.receipts(team, 2, ann),
    ):
        with pytest.raises(Refused, match=r"^NOTFOUND message 2 has expired"):
            refused()
    with pytest.raises(Refused, match=r"^NOTFOUND there is no message 4"):
        door.recall(team, 4, ann)
    assert door.lsn() == before
    assert door.hide(bob, team, 1, 2, 3) == 1, "what is gone is not shown anyway"
    assert door.read(bob, team, 2) == 2
    assert door.unread(bob) == 0
