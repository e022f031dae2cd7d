"""What a chat back end may rely on of messages, stated once and kept through both doors.

A promise asks a door and knows nothing of what lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door
from tests.messaging.promises import Own, Restart, begin, catch_up, kinds

OPTIONS = {"diffusion_limit": 5}


@pytest.fixture
def door(opened: Door) -> Door:
    """A store that has seen other tests: each takes names of its own."""
    return opened


def test_a_message_reaches_every_member_once_and_in_order(
    door: Door, own: Own, disturb: Restart
) -> None:
    team, ann, bob, cat = own("team"), own("ann"), own("bob"), own("cat")
    door.create(team, ann, [bob, cat])
    for user in (ann, bob, cat):
        begin(door, user)
    for number in range(1, 11):
        assert door.send(team, (ann, bob, cat)[number % 3], str(number)) == (number, "stored")
    disturb(door)
    for user in (ann, bob, cat):
        told = catch_up(door, user)
        assert kinds(told) == [("message", number) for number in range(1, 11)]
        assert [each.own()["text"] for each in told] == [str(number) for number in range(1, 11)]
        assert {each.conversation for each in told} == {team}
        assert catch_up(door, user) == []


def test_every_device_has_a_position_of_its_own(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    begin(door, bob, "phone")
    begin(door, bob, "desk")
    door.send(team, ann, "1")
    assert kinds(catch_up(door, bob, "phone")) == [("message", 1)]
    door.send(team, ann, "2")
    disturb(door)
    assert kinds(catch_up(door, bob, "desk")) == [("message", 1), ("message", 2)]
    assert kinds(catch_up(door, bob, "phone")) == [("message", 2)]
    assert set(door.devices(bob)) == {"phone", "desk"}


def test_a_position_never_moves_back(door: Door, own: Own) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    early = door.conversations(bob).position
    door.send(team, ann, "1")
    late = door.conversations(bob).position
    door.ack(bob, "phone", late)
    door.ack(bob, "phone", early)
    assert door.devices(bob)["phone"]["acked"] == late
    assert door.sync(bob, "phone").entries == []
    assert kinds(door.sync(bob, "phone", after=early).entries) == [("message", 1)]


def test_a_resend_stores_nothing(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    assert door.send(team, ann, "hi", key="k") == (1, "stored")
    disturb(door)
    assert door.send(team, ann, "hi", key="k") == (1, "duplicate")
    assert door.send(team, ann, "hi", key="other") == (2, "stored")
    assert door.send(team, bob, "hi", key="k") == (3, "stored"), "keys are the sender's own"
    assert [message.seq for message in door.history(team, ann)] == [1, 2, 3]


def test_a_key_takes_no_other_content(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    door.send(team, ann, "hi", key="k", mentions=[bob])
    disturb(door)
    door.edit(team, 1, "edited", ann)
    before = door.lsn()
    refusals: list[Callable[[], object]] = [
        lambda: door.send(team, ann, "edited", key="k", mentions=[bob]),
        lambda: door.send(team, ann, "hi", key="k"),
        lambda: door.send(team, ann, "hi", key="k", mentions=[bob], mention_all=True),
        lambda: door.send(team, ann, "hi", key="k", mentions=[bob], silent=True),
        lambda: door.send(team, ann, {"text": "hi", "more": ""}, key="k", mentions=[bob]),
    ]
    for refused in refusals:
        with pytest.raises(Refused, match=r"^CONFLICT "):
            refused()
    assert door.send(team, ann, "hi", key="k", mentions=[bob]) == (1, "duplicate")
    assert door.lsn() == before


def test_a_resend_is_answered_after_the_message_was_recalled(door: Door, own: Own) -> None:
    team, ann = own("team"), own("ann")
    door.create(team, ann)
    door.send(team, ann, "hi", key="k")
    door.recall(team, 1, ann)
    assert door.send(team, ann, "hi", key="k") == (1, "duplicate")


def test_fields_come_back_as_sent_behind_those_of_the_store(
    door: Door, own: Own, disturb: Restart
) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    fields: dict[str, str | bytes] = {"z": "", "text": "已添加为好友", "": "*2\r\n"}
    door.send(team, ann, fields, key="k", mentions=[bob], mention_all=True, silent=True)
    disturb(door)
    (message,) = door.history(team, bob)
    assert [name.decode() for name, _ in message.fields] == [
        *("@from", "@time", "@key", "@mentions", "@mentions", "@silent"),
        *("z", "text", ""),
    ]
    assert message.stamp("@from") == [ann]
    assert message.stamp("@mentions") == [bob, "@all"]
    assert message.own() == fields


def test_an_edit_replaces_and_reaches_everybody(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    door.send(team, ann, {"text": "hi", "more": "x"}, key="k")
    begin(door, bob)
    for text in ("a", "b", "c"):
        door.edit(team, 1, text, ann)
    disturb(door)
    (edit,) = catch_up(door, bob, limit=10)
    assert (edit.kind, edit.seq, edit.own()) == ("edit", 1, {"text": "c"})
    (message,) = door.history(team, bob)
    assert message.own() == {"text": "c"}
    assert message.stamp("@edited")
    assert message.stamp("@key") == ["k"]
    last = door.conversations(bob).rows[0].last
    assert last is not None
    assert last.own() == {"text": "c"}
    assert door.unread(bob) == 1


def test_a_recall_takes_the_content_everywhere(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    begin(door, bob)
    begin(door, bob, "desk")
    door.send(team, ann, "secret", mentions=[bob])
    assert catch_up(door, bob, "desk")[0].own() == {"text": "secret"}
    assert door.unread(bob) == 1
    door.recall(team, 1, ann)
    lsn = door.lsn()
    door.recall(team, 1, ann)
    assert door.lsn() == lsn, "recalling twice changes nothing"
    disturb(door)
    assert kinds(catch_up(door, bob, "desk")) == [("recall", 1)]
    late = catch_up(door, bob)
    assert kinds(late) == [("message", 1), ("recall", 1)]
    for each in late:
        assert each.own() == {}
        assert each.stamp("@recalled") == [ann]
    (message,) = door.history(team, bob)
    assert (message.own(), message.stamp("@recalled")) == ({}, [ann])
    row = door.conversations(bob).rows[0]
    assert (row.unread, row.mentions) == (0, 0)
    assert row.last == message
    with pytest.raises(Refused, match=r"^NOTFOUND "):
        door.edit(team, 1, "back", ann)


def test_hidden_messages_leave_pages_full(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    for number in range(1, 41):
        door.send(team, ann, str(number))
    begin(door, bob, "desk")
    hidden = [*range(3, 30), 38, 40]
    assert door.hide(bob, team, *hidden) == len(hidden)
    assert door.hide(bob, team, 3, 40) == 0
    disturb(door)
    left = [number for number in range(1, 41) if number not in hidden]
    assert [m.seq for m in door.history(team, bob, limit=5)] == left[:5]
    assert [m.seq for m in door.history(team, bob, limit=5, reverse=True)] == left[::-1][:5]
    assert len(door.history(team, ann)) == 40, "the others still see them"
    assert door.unread(bob) == len(left)
    assert kinds(catch_up(door, bob, "desk")) == [("hide", number) for number in hidden]
    last = door.conversations(bob).rows[0].last
    assert last is not None
    assert last.seq == 39


def test_cleared_history_stays_cleared(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    for number in range(5):
        door.send(team, ann, str(number))
    begin(door, bob, "desk")
    door.clear(bob, team, 3)
    door.clear(bob, team, 1)
    disturb(door)
    assert [message.seq for message in door.history(team, bob)] == [4, 5]
    assert door.unread(bob) == 2
    assert kinds(catch_up(door, bob, "desk")) == [("clear", 3)]
    door.clear(bob, team, 5)
    assert door.conversations(bob).rows[0].last is None


def test_members_see_what_was_sent_while_they_were_members(
    door: Door, own: Own, disturb: Restart
) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann)
    door.send(team, ann, "before")
    door.join(team, [bob])
    begin(door, bob)
    door.send(team, ann, "during")
    door.leave(team, [bob], bob)
    door.send(team, ann, "after")
    disturb(door)
    assert [message.seq for message in door.history(team, bob)] == [2]
    told = catch_up(door, bob)
    assert kinds(told) == [("message", 2), ("leave", 0)], "his last entry is his leave"
    row = door.conversations(bob).rows[0]
    assert (row.role, row.unread) == ("none", 1)
    door.join(team, [bob])
    assert door.unread(bob) == 0, "joining again moves the read position"
    door.send(team, ann, "again")
    assert [message.seq for message in door.history(team, bob)] == [2, 4]
    assert kinds(catch_up(door, bob)) == [("join", 0), ("message", 4)]
    assert door.unread(bob) == 1
    door.recall(team, 2, ann)
    assert door.history(team, bob)[0].stamp("@recalled") == [ann]


def test_history_all_shows_what_was_sent_before(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, history="all")
    door.send(team, ann, "1")
    door.join(team, [bob])
    door.send(team, ann, "2")
    door.leave(team, [bob], bob)
    door.send(team, ann, "3")
    disturb(door)
    assert [message.seq for message in door.history(team, bob)] == [1, 2]
    door.join(team, [bob])
    assert [message.seq for message in door.history(team, bob)] == [1, 2, 3]
