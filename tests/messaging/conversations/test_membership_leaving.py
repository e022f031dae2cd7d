"""What a conversation is to who left it: it ends there, and stays as readable as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door
from tests.messaging.doors.embedded import EmbeddedDoor
from timeline.messaging.access.access import find_conversation, find_user, member_of

OPTIONS = {"diffusion_limit": 3}


def make_and_leave(door: Door, history: str = "join") -> None:
    """Bob was sent two messages of three."""
    door.create("team", members=["ann", "bob"], meta={"title": "then"}, history=history)
    door.send("team", "ann", "1")
    door.send("team", "ann", "2")
    door.leave("team", ["bob"])
    door.send("team", "ann", "3")
    door.set_meta("team", {"title": "now"})


@pytest.mark.parametrize("history", ["join", "all"])
def test_it_ends_where_he_left_it(door: Door, history: str) -> None:
    make_and_leave(door, history)
    info = door.info("team", "bob")
    told = {name: info[name] for name in ("role", "head", "members", "meta")}
    assert told == {"role": "none", "head": 2, "members": 0, "meta": {}}
    (row,) = door.conversations("bob").rows
    assert (row.role, row.head, row.unread) == ("none", 2, 2)
    assert row.last is not None
    assert row.last.seq == 2
    assert [message.seq for message in door.history("team", "bob")] == [1, 2]


def test_to_members_and_to_the_application_it_goes_on(door: Door) -> None:
    make_and_leave(door)
    for actor, role in (("ann", "member"), ("-", "-")):
        info = door.info("team", actor)
        told = {name: info[name] for name in ("role", "head", "members", "meta")}
        assert told == {"role": role, "head": 3, "members": 1, "meta": {"title": "now"}}


def test_positions_end_where_they_left_it(door: Door) -> None:
    make_and_leave(door)
    assert door.read("bob", "team", 3) == 2
    door.clear("bob", "team", 3)
    assert door.history("team", "bob") == []
    door.join("team", ["bob"])
    assert door.send("team", "ann", "4").seq == 4
    assert [message.seq for message in door.history("team", "bob")] == [4]
    with pytest.raises(Refused, match=r"^NOTFOUND "):
        door.hide("bob", "team", 5)


def test_what_describes_it_now_is_not_told_him(door: Door) -> None:
    door.create("team", members=["ann", "bob"])
    position = door.conversations("bob").position
    door.set_meta("team", {"title": "then"})
    door.leave("team", ["bob"])
    door.set_meta("team", {"title": "now"})
    entries = door.sync("bob", "phone", position).entries
    assert [(each.kind, each.own()) for each in entries] == [("meta", {}), ("leave", {})]
    listed, _ = door.events("team", "bob")
    assert [(each.kind, each.own()) for each in listed[1:]] == [("meta", {}), ("leave", {})]
    with pytest.raises(Refused, match="the token is"):
        door.events("team", "bob", "4")


def test_what_he_could_see_is_shown_as_it_is_now(door: Door) -> None:
    make_and_leave(door)
    door.edit("team", 1, "better", "ann")
    door.recall("team", 2, "ann")
    one, two = door.history("team", "bob")
    assert one.own() == {"text": "better"}
    assert (two.own(), two.stamp("@recalled")) == ({}, ["ann"])
    assert door.unread("bob") == 1


def test_it_goes_on_for_who_comes_back(door: Door) -> None:
    make_and_leave(door)
    door.join("team", ["bob"])
    info = door.info("team", "bob")
    assert (info["role"], info["head"], info["members"]) == ("member", 3, 2)
    assert door.read("bob", "team", 3) == 3


@pytest.mark.parametrize("history", ["join", "all"])
@pytest.mark.parametrize("size", [2, 5])  # delivered to, and come for
def test_of_many_memberships_the_newest_count(tmp_path: Path, history: str, size: int) -> None:
    door = EmbeddedDoor(tmp_path / "store", diffusion_limit=3, fsync="inline")
    members = ["ann", "bob", "cat", "dan", "eve"][:size]
    door.create("team", members=members, history=history)
    seen: list[int] = []  # by bob
    cursors: list[str] = []
    for _ in range(300):
        cursors.append(door.conversations("bob").position)
        seen.append(door.send("team", "ann", "here").seq)
        door.leave("team", ["bob"])
        door.send("team", "ann", "away")
        door.join("team", ["bob"])
    view = door.im.messages.view
    inbox, place = find_user(view, b"bob"), find_conversation(view, b"team")
    assert place is not None
    member = member_of(view, inbox.id, place.id)
    assert member is not None
    assert len(member.spans) == 256
    shown = [message.seq for message in door.history("team", "bob", limit=1_000)]
    assert shown == (seen[-254:] if history == "join" else list(range(1, 601)))
    for back in (1, 254):
        entries = door.sync("bob", "phone", cursors[-back], limit=10_000).entries
        messages = [each.seq for each in entries if each.kind == "message"]
        # Coming back to all of a history, they are told what was sent while they were away.
        assert messages == (seen[-back:] if history == "join" else list(range(seen[-back], 601)))
    assert door.sync("bob", "phone", cursors[0]).resync == (size == 5)
    door.close()
