"""What a chat back end may rely on of conversations, their lists and devices, through both doors.

A promise asks a door and knows nothing of what lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door, Update
from tests.messaging.promises import Own, Restart, begin, catch_up, kinds

LIMIT = 5
OPTIONS = {"diffusion_limit": LIMIT}


@pytest.fixture
def door(opened: Door) -> Door:
    """A store that has seen other tests: each takes names of its own."""
    return opened


def test_the_list_is_pinned_first_then_newest(door: Door, own: Own, disturb: Restart) -> None:
    ann = own("ann")
    teams = [own(f"team{number}") for number in range(6)]
    for team in teams:
        door.create(team, ann)
    for team in reversed(teams):
        door.send(team, ann, "hi")
    door.set(ann, teams[4], {"@pin": "1", "color": "red"})
    door.set(ann, teams[2], {"@listed": "0"})
    disturb(door)
    expected = [teams[4], teams[0], teams[1], teams[3], teams[5]]
    found = []
    token = ""
    while True:
        page = door.conversations(ann, token, limit=2)
        found += page.rows
        token = page.cursor
        if not token:
            break
    assert [row.id for row in found] == expected
    assert found[0].settings == {"@pin": "1", "@mute": "0", "@listed": "1", "color": "red"}
    door.send(teams[2], ann, "back")
    assert [row.id for row in door.conversations(ann).rows][:2] == [teams[4], teams[2]]


def test_a_row_of_the_list_says_what_it_is(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob, cat = own("team"), own("ann"), own("bob"), own("cat")
    door.create(team, ann, [bob], meta={"title": "then"})
    pair = door.direct(ann, bob)
    long = "z" * 200 + own("z")
    far = door.direct(long, ann)
    odd = door.direct(ann, own("a:b"))
    assert [row.members for row in door.conversations(bob).rows] == [2, 2]
    door.set_meta(team, {"title": "now", "icon": "x"}, ann)
    door.join(team, [cat])
    disturb(door)
    rows = {row.id: row for row in door.conversations(ann).rows}
    assert (rows[team].meta, rows[team].peer) == ({"title": "now", "icon": "x"}, "")
    assert (rows[team].members, rows[pair].members) == (3, 2)
    assert (rows[pair].peer, rows[pair].meta) == (bob, {})
    assert rows[far].peer == long
    assert rows[odd].peer == own("a:b")
    assert door.conversation(long, far).peer == ann
    assert door.conversation(bob, pair).peer == ann
    for row in rows.values():
        assert door.conversation(ann, row.id) == row
    door.set_meta(pair, {"theme": "dark"}, bob)
    assert door.conversations(ann).rows[0:] == [
        door.conversation(ann, row.id) for row in door.conversations(ann).rows
    ]
    assert door.conversation(ann, pair).meta == {"theme": "dark"}


def test_a_row_off_the_list_and_one_that_was_left(door: Door, own: Own) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob], meta={"title": "then"})
    door.send(team, ann, "1")
    door.set(bob, team, {"@listed": "0", "nick": "ours"})
    assert door.conversations(bob).rows == []
    row = door.conversation(bob, team)
    assert row.settings == {"@pin": "0", "@mute": "0", "@listed": "0", "nick": "ours"}
    assert (row.unread, row.role, row.members) == (1, "member", 2)
    door.leave(team, [bob], bob)
    door.set_meta(team, {"title": "now"}, ann)
    row = door.conversation(bob, team)
    assert (row.unread, row.role, row.members, row.meta) == (1, "none", 0, {})
    assert door.conversation(ann, team).members == 1
    door.delete(team)
    for user in (bob, own("nobody")):
        with pytest.raises(Refused, match=r"^NOPERM "):
            door.conversation(user, team)
    with pytest.raises(Refused, match=r"^ERR "):
        door.conversation("-", team)


def test_settings_reach_other_devices_and_muted_is_not_in_the_total(door: Door, own: Own) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    door.send(team, ann, "hi")
    begin(door, bob, "desk")
    door.set(bob, team, {"@mute": "1", "draft": "well"})
    (told,) = catch_up(door, bob, "desk")
    assert (told.kind, told.seq) == ("set", 0)
    assert told.own() == {"draft": "well"}
    assert told.stamp("@mute") == ["1"]
    assert (door.unread(bob), door.unread(bob, team)) == (0, 1)
    door.set(bob, team, {"draft": ""})
    assert "draft" not in door.conversations(bob).rows[0].settings


def test_making_it_again_is_the_same_and_another_is_refused(
    door: Door, own: Own, disturb: Restart
) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    for _ in range(2):
        door.create(team, ann, [bob], meta={"title": "x"})
        disturb(door)
    before = door.lsn()
    refusals: list[Callable[[], object]] = [
        lambda: door.create(team, bob, [ann], meta={"title": "x"}),
        lambda: door.create(team, ann, [bob], kind="channel", meta={"title": "x"}),
        lambda: door.create(team, ann, [bob], history="all", meta={"title": "x"}),
        lambda: door.create(team, ann, [bob], binary=True, meta={"title": "x"}),
        lambda: door.create(team, ann, [bob], meta={"title": "y"}),
        lambda: door.create(team, ann, [bob, own("cat")], meta={"title": "x"}),
    ]
    for refused in refusals:
        with pytest.raises(Refused, match=r"^EXISTS "):
            refused()
    assert door.lsn() == before
    assert door.info(team, ann)["meta"] == {"title": "x"}


def test_what_describes_it_is_merged_and_told(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob], meta={"title": "x", "topic": "y"})
    begin(door, bob)
    assert door.set_meta(team, {"topic": "", "icon": "z"}, ann) == {"title": "x", "icon": "z"}
    disturb(door)
    (told,) = catch_up(door, bob)
    assert (told.kind, told.own()) == ("meta", {"title": "x", "icon": "z"})
    assert door.info(team, bob)["meta"] == {"title": "x", "icon": "z"}


def test_events_are_what_happened_beside_messages(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    door.send(team, ann, "hi")
    door.edit(team, 1, "ho", ann)
    door.set_role(team, bob, "admin", ann)
    door.set_meta(team, {"title": "x"}, bob)
    door.recall(team, 1, bob)
    disturb(door)
    found, token = door.events(team, bob, limit=3)
    more, end = door.events(team, bob, token, limit=3)
    assert end == ""
    assert kinds(found + more) == [
        *(("join", 0), ("edit", 1), ("role", 0), ("meta", 0), ("recall", 1)),
    ]
    assert found[2].stamp("@user") == [bob]
    assert found[2].stamp("@role") == ["admin"]


def test_a_deleted_conversation_is_gone_and_its_members_hear_of_it(
    door: Door, own: Own, disturb: Restart
) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    begin(door, bob)
    door.send(team, ann, "hi")
    door.delete(team, ann)
    disturb(door)
    assert kinds(catch_up(door, bob)) == [("delete", 0)]
    assert door.conversations(bob).rows == []
    with pytest.raises(Refused, match=r"^NOPERM "):
        door.history(team, bob)
    door.create(team, bob, [ann])
    assert door.history(team, bob) == []
    assert door.send(team, bob, "new") == (1, "stored")


def test_members_are_listed_admins_first_a_page_at_a_time(door: Door, own: Own) -> None:
    team, ann = own("team"), own("ann")
    others = [own(f"user{number:02}") for number in range(12)]
    door.create(team, ann, others)
    door.set_role(team, others[7], "admin", ann)
    door.set_role(team, others[3], "reader", ann)
    found, token = door.members(team, ann, limit=5)
    while token:
        more, token = door.members(team, ann, token, limit=5)
        assert more
        found += more
    assert len(found) == 13
    assert {user for user, role in found[:2]} == {ann, others[7]}
    assert dict(found)[others[3]] == "reader"
    assert {role for _, role in found[2:]} == {"member", "reader"}


def test_devices_keep_fields_and_can_be_forgotten(door: Door, own: Own, disturb: Restart) -> None:
    team, ann = own("team"), own("ann")
    door.create(team, ann)
    door.set_device(ann, "phone", {"token": "abc", "os": "x"})
    assert door.sync(ann, "phone").resync, "it has acknowledged nothing yet"
    begin(door, ann)
    door.set_device(ann, "phone", {"os": ""})
    disturb(door)
    device = door.devices(ann)["phone"]
    assert (device["token"], "os" in device, device["online"]) == ("abc", False, 0)
    door.forget_device(ann, "phone")
    assert door.devices(ann) == {}
    assert door.sync(ann, "phone").resync
    with pytest.raises(Refused, match=r"^NOTFOUND "):
        door.forget_device(ann, "phone")


def test_of_too_many_devices_one_that_is_away_makes_room(door: Door, own: Own) -> None:
    team, ann = own("team"), own("ann")
    door.create(team, ann)
    for number in range(32):
        begin(door, ann, f"d{number}")
    begin(door, ann, "one-more")
    begin(door, ann, "described")
    door.set_device(ann, "described", {"os": "x"})
    there = door.devices(ann)
    assert len(there) == 32
    assert {"one-more", "described"} <= set(there)
    gone = {f"d{number}" for number in range(32)} - set(there)
    assert len(gone) == 2
    assert all(door.sync(ann, device).resync for device in gone)


def test_a_conversation_switches_its_diffusion_unnoticed(
    door: Door, own: Own, disturb: Restart
) -> None:
    """The limit is crossed up and down in the middle of traffic, for two devices of each member:
    one that follows all along, one that comes at the end."""
    team, ann, bob = own("team"), own("ann"), own("bob")
    guests = [own(f"guest{number}") for number in range(LIMIT)]
    door.create(team, ann, [bob])
    begin(door, bob, "late")
    begin(door, bob, "early")
    early: list[Update] = []
    for round_ in range(3):
        for guest in guests:
            door.join(team, [guest])
            door.send(team, ann, f"{round_} up")
            early += catch_up(door, bob, "early", limit=1)
        assert len(door.members(team, ann)[0]) > LIMIT
        disturb(door)
        for guest in guests:
            door.leave(team, [guest])
            door.send(team, bob, f"{round_} down")
            early += catch_up(door, bob, "early", limit=2)
    late = catch_up(door, bob, "late", limit=4)
    assert late == early
    sent = [each for each in late if each.kind == "message"]
    assert [each.seq for each in sent] == list(range(1, 6 * LIMIT + 1))
    for number, guest in enumerate(guests):
        seen = [message.seq for message in door.history(team, guest)]
        expected = [
            seq
            for round_ in range(3)
            for seq in range(
                2 * LIMIT * round_ + number + 1, 2 * LIMIT * round_ + LIMIT + number + 1
            )
        ]
        assert seen == expected


def test_many_members_are_added_and_removed(door: Door, own: Own) -> None:
    team, ann = own("team"), own("ann")
    crowd = [own(f"c{number}") for number in range(700)]
    door.create(team, ann)
    begin(door, ann)
    assert door.join(team, crowd, ann) == 700
    assert door.join(team, crowd, ann) == 0
    assert door.info(team, ann)["members"] == 701
    assert door.send(team, crowd[0], "hi") == (1, "stored")
    told = catch_up(door, ann)
    assert kinds(told) == [("join", 0), ("message", 1)], "one event for all of them"
    assert told[0].stamp("@user") == crowd[:20]
    assert told[0].stamp("@count") == ["700"]
    assert door.unread(crowd[699]) == 1
    position = door.conversations(crowd[500]).position
    assert door.leave(team, crowd[:650], ann) == 650
    assert door.info(team, ann)["members"] == 51
    assert kinds(door.sync(crowd[600], "d", after=position).entries) == [("leave", 0)]
    assert kinds(door.sync(crowd[680], "d", after=position).entries) == []
    with pytest.raises(Refused, match=r"^NOPERM "):
        door.send(team, crowd[600], "hi")


def test_the_resync_procedure_loses_nothing(door: Door, own: Own, disturb: Restart) -> None:
    """To the letter of the contract, with traffic between each two of its steps."""
    ann, bob = own("ann"), own("bob")
    teams = [own(f"team{number}") for number in range(7)]
    for team in teams:
        door.create(team, ann, [bob])
        door.send(team, ann, "old")
    page = door.sync(bob, "new")
    assert page.resync
    assert page.entries == []
    shown: dict[str, set[int]] = {}
    numbers = iter(range(100))

    def traffic() -> None:
        door.send(teams[next(numbers) * 5 % 7], ann, "while it resyncs")

    listed = door.conversations(bob, limit=2)
    position = listed.position
    while True:
        traffic()
        for row in listed.rows:
            traffic()
            found = door.history(row.id, bob, reverse=True)
            shown.setdefault(row.id, set()).update(message.seq for message in found)
        if not listed.cursor:
            break
        disturb(door)
        listed = door.conversations(bob, listed.cursor, limit=2)
    door.ack(bob, "new", position)
    for told in catch_up(door, bob, "new"):
        if told.conversation not in shown:  # it moved up while the list was paged through
            found = door.history(told.conversation, bob, last=told.seq)
            shown[told.conversation] = {message.seq for message in found}
        shown[told.conversation].add(told.seq)
    for team in teams:
        head = door.info(team, bob)["head"]
        assert shown[team] == set(range(1, head + 1))


def test_foreign_and_future_cursors_resync(door: Door, own: Own) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    door.send(team, ann, "hi")
    begin(door, bob)
    position = door.conversations(bob).position
    epoch, lsn, _ = map(int, position.split("-"))
    for cursor in (
        f"{epoch + 1}-{lsn}-0",
        f"{epoch}-{lsn + 1}-0",
        f"{epoch}-{2**64 - 1}-0",
        f"{epoch}-{lsn}-1",
    ):
        page = door.sync(bob, "phone", after=cursor)
        assert page.resync, cursor
        assert page.entries == []
        before = door.lsn()
        with pytest.raises(Refused, match=r"^ERR "):
            door.ack(bob, "phone", cursor)
        assert door.lsn() == before
    assert not door.sync(bob, "phone", after=position).resync


def test_a_cursor_of_another_user_shows_nothing_of_his(door: Door, own: Own) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann)
    start = door.conversations(ann).position
    door.send(team, ann, "hi")
    door.set_user_meta(bob, {"name": "Bob"})
    page = door.sync(bob, "phone", after=start)
    assert page.entries == []
    assert not page.resync
