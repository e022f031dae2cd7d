"""Who leaves and is added again: what their phone holds comes to be what CONV.HISTORY shows.

The phone is the one that docs/commands.md describes: it applies entries by conversation and id, the
latest wins.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from tests.messaging.doors.door import Door, Update
from tests.messaging.doors.embedded import EmbeddedDoor
from timeline.formats.segments import Segment

LIMIT = 4
OPTIONS = {"diffusion_limit": LIMIT}
_numbers = count(1)


class Phone:
    """A device of Bob's, and the messages it shows."""

    def __init__(self, door: Door, user: str, name: str) -> None:
        self.door, self.user, self.name = door, user, name
        self.shown: dict[tuple[str, int], tuple[tuple[bytes, bytes], ...]] = {}
        door.ack(user, name, door.conversations(user).position)

    def catch_up(self, limit: int = 100) -> list[Update]:
        told: list[Update] = []
        while True:
            page = self.door.sync(self.user, self.name, limit=limit)
            assert not page.resync
            assert len(page.entries) <= limit
            for each in page.entries:
                self._apply(each)
            told += page.entries
            self.door.ack(self.user, self.name, page.cursor)
            if not page.more:
                return told

    def _apply(self, told: Update) -> None:
        if told.kind in ("message", "edit", "recall"):
            self.shown[told.conversation, told.seq] = told.fields
        elif told.kind == "hide":
            self.shown.pop((told.conversation, told.seq), None)
        elif told.kind == "clear":
            for seq in range(1, told.seq + 1):
                self.shown.pop((told.conversation, seq), None)

    def of(self, team: str) -> dict[int, tuple[tuple[bytes, bytes], ...]]:
        return {seq: fields for (name, seq), fields in self.shown.items() if name == team}


class Scene:
    def __init__(self, door: Door, others: int, history: str) -> None:
        number = next(_numbers)
        self.door = door
        self.team, self.ann, self.bob = f"team-{number}", f"ann-{number}", f"bob-{number}"
        self.history = history
        rest = [f"other-{number}-{index}" for index in range(others)]
        door.create(self.team, self.ann, [self.bob, *rest], history=history)
        self.phone = Phone(door, self.bob, "phone")  # looks in all along
        self.desk = Phone(door, self.bob, "desk")  # is off line over everything

    def send(self, *texts: str) -> None:
        for text in texts:
            self.door.send(self.team, self.ann, text)

    def away(self) -> None:
        self.door.leave(self.team, [self.bob], self.bob)

    def back(self) -> None:
        self.door.join(self.team, [self.bob], self.ann)

    def agrees(self, phone: Phone, limit: int = 100) -> list[Update]:
        """What the phone is told, after which all it holds is as the history shows it."""
        told = phone.catch_up(limit)
        history = {m.seq: m.fields for m in self.door.history(self.team, self.bob, limit=1_000)}
        assert phone.of(self.team) == history
        return told


@pytest.fixture(
    params=[(0, "join"), (0, "all"), (2 * LIMIT, "join"), (2 * LIMIT, "all")],
    ids=["write-join", "write-all", "read-join", "read-all"],
)
def scene(opened: Door, request: pytest.FixtureRequest) -> Scene:
    return Scene(opened, *request.param)


def kinds(told: list[Update]) -> list[tuple[str, int]]:
    return [(each.kind, each.seq) for each in told]


@pytest.mark.parametrize("disturb", ["nothing", "restart", "kill"])
def test_what_changed_meanwhile_is_told_on_return(scene: Scene, disturb: str) -> None:
    door, team, ann = scene.door, scene.team, scene.ann
    scene.send("1", "2", "3")
    scene.agrees(scene.phone)
    scene.away()
    assert kinds(scene.phone.catch_up()) == [("leave", 0)]
    scene.send("4")
    door.edit(team, 1, "one", ann)
    door.recall(team, 2, ann)
    door.edit(team, 1, "One", ann)
    door.set_meta(team, {"title": "new"}, ann)
    assert scene.phone.catch_up() == [], "the leave was the last"
    scene.back()
    if disturb != "nothing":
        getattr(door, disturb)()
    told = scene.agrees(scene.phone)
    assert kinds(told)[0] == ("join", 0)
    missed = [("message", 4)] if scene.history == "all" else []
    assert kinds(told)[1:-3] == missed
    assert sorted(kinds(told)[-3:]) == [("edit", 1), ("meta", 0), ("recall", 2)]
    assert scene.phone.catch_up() == []
    scene.agrees(scene.desk)


def test_many_rounds_and_small_pages(scene: Scene) -> None:
    door, team, ann = scene.door, scene.team, scene.ann
    for round_ in range(4):
        scene.send("a", "b", "c")
        if round_ % 2:
            scene.agrees(scene.phone, limit=1)
        head = 4 * round_ + 3
        scene.away()
        scene.send("unseen")
        for seq in range(1, head, 4):
            door.edit(team, seq, f"{round_}", ann)
        door.recall(team, head, ann)
        door.set_role(team, ann, "member")
        door.set_role(team, ann, "admin")
        scene.back()
    told = scene.agrees(scene.phone, limit=1)
    assert [each.seq for each in told if each.kind == "recall"] == [15]
    scene.agrees(scene.desk, limit=2)
    later = Phone(door, scene.bob, "later")
    assert later.catch_up() == []


def test_what_is_not_shown_any_more_is_not_told(scene: Scene) -> None:
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    scene.send("1", "2", "3")
    scene.away()
    door.hide(bob, team, 2)
    for seq in (1, 2, 3):
        door.edit(team, seq, "better", ann)
    scene.back()
    door.clear(bob, team, 1)
    told = scene.agrees(scene.phone)
    assert kinds(told)[-2:] == [("edit", 3), ("clear", 1)]
    assert scene.phone.of(team).keys() == {3}


def test_a_return_to_what_did_not_change_costs_an_entry(scene: Scene) -> None:
    scene.send("1")
    scene.away()
    scene.back()
    told = scene.agrees(scene.phone)
    assert kinds(told) == [("message", 1), ("leave", 0), ("join", 0)]


def test_many_return_at_once(opened: Door) -> None:
    """More than one commit adds: each hears of it in their own."""
    door, number = opened, next(_numbers)
    team, ann, bob = f"team-{number}", f"ann-{number}", f"bob-{number}"
    crowd = [bob, *(f"c-{number}-{index}" for index in range(300))]
    door.create(team, ann, [bob])
    phone = Phone(door, bob, "phone")
    door.join(team, crowd)
    door.send(team, ann, "1")
    phone.catch_up()
    door.leave(team, crowd)
    door.edit(team, 1, "better", ann)
    door.join(team, crowd)
    assert kinds(phone.catch_up()) == [("leave", 0), ("join", 0), ("edit", 1)]
    assert dict(phone.of(team)[1])[b"text"] == b"better"


def test_it_takes_linear_time_in_small_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits, limit = 300, 10
    door = EmbeddedDoor(tmp_path / "store", fsync="inline", search=False)
    door.create("team", "ann", ["bob"])
    door.send("team", "ann", "1")
    phone = Phone(door, "bob", "phone")
    door.leave("team", ["bob"])
    for number in range(edits):
        door.edit("team", 1, str(number), "ann")
    door.join("team", ["bob"])
    door.db.compact()  # which puts all of it into segments, where what is read is counted
    read = 0
    wire = Segment.wire

    def counted(segment: Segment, start: int, stop: int) -> memoryview:
        nonlocal read
        read += stop - start
        return wire(segment, start, stop)

    monkeypatch.setattr(Segment, "wire", counted)
    told = phone.catch_up(limit)
    assert edits // limit <= len(told) <= edits // limit + 3, "the edits of a page are one"
    assert dict(phone.of("team")[1])[b"text"] == str(edits - 1).encode()
    assert edits <= read < 7 * edits
    door.close()
