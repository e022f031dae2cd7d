"""What a chat back end may rely on, stated once and kept by the embedded API and the wire.

A promise asks a door and knows nothing of what lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door, Update

LIMIT = 5
OPTIONS = {"diffusion_limit": LIMIT}
_numbers = count(1)


@pytest.fixture
def door(opened: Door) -> Door:
    """A store that has seen other tests: each takes names of its own."""
    return opened


@pytest.fixture
def own() -> Callable[[str], str]:
    """Turns a name into one that no other test uses."""
    number = next(_numbers)
    return lambda name: f"{name}-{number}"


def begin(door: Door, user: str, device: str = "phone") -> None:
    """A device that has seen everything so far."""
    door.ack(user, device, door.conversations(user).position)


def catch_up(door: Door, user: str, device: str = "phone", limit: int = 3) -> list[Update]:
    """Everything that a device has not acknowledged, which it then does."""
    found: list[Update] = []
    page = door.sync(user, device, limit=limit)
    while True:
        assert not page.resync
        assert len(page.entries) <= limit
        found += page.entries
        door.ack(user, device, page.cursor)
        if not page.more:
            return found
        page = door.sync(user, device, limit=limit)


def kinds(told: list[Update]) -> list[tuple[str, int]]:
    return [(each.kind, each.seq) for each in told]


Restart = Callable[[Door], None]


DISTURBANCES: dict[str, Restart] = {
    "nothing": lambda _: None,
    "restart": lambda door: door.restart(),
    "kill": lambda door: door.kill(),
}


@pytest.fixture(params=list(DISTURBANCES))
def disturb(request: pytest.FixtureRequest) -> Restart:
    """Something that must change no answer."""
    return DISTURBANCES[request.param]


Own = Callable[[str], str]


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


def test_reading_on_one_device_reaches_the_others(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob = own("team"), own("ann"), own("bob")
    door.create(team, ann, [bob])
    for number in range(3):
        door.send(team, ann, str(number))
    begin(door, bob)
    begin(door, ann)
    assert door.unread(bob) == 3
    assert door.read(bob, team, 2) == 2
    assert door.read(bob, team, 1) == 2, "never back"
    disturb(door)
    assert door.unread(bob) == door.unread(bob, team) == 1
    assert kinds(catch_up(door, bob)) == [("read", 2)]
    assert catch_up(door, ann) == [], "in a group nobody else is told"


def test_a_position_beyond_the_newest_message_is_the_newest(door: Door, own: Own) -> None:
    """A phone was shown messages that a crash took back, with durability `interval`."""
    pair = door.direct(ann := own("ann"), bob := own("bob"))
    for text in ("1", "2"):
        door.send(pair, ann, text)
    begin(door, ann)
    begin(door, bob)
    assert door.read(bob, pair, 2**64 - 1) == 2
    lsn = door.lsn()
    assert door.read(bob, pair, 9) == 2
    assert door.lsn() == lsn, "where it was already"
    door.clear(bob, pair, 9)
    assert kinds(catch_up(door, bob)) == [("read", 2), ("clear", 2)]
    assert kinds(catch_up(door, ann)) == [("receipt", 2)]
    door.send(pair, ann, "3")
    assert door.unread(bob) == 1
    assert [message.seq for message in door.history(pair, bob)] == [3]
    before = door.lsn()
    with pytest.raises(Refused, match=r"^NOTFOUND "):
        door.hide(bob, pair, 4)
    with pytest.raises(Refused, match=r"^NOTFOUND "):
        door.receipts(pair, 4, ann)
    assert door.lsn() == before


def test_the_total_is_the_sum_of_the_rows_that_count(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    teams = [own(f"team{number}") for number in range(6)]
    for number, team in enumerate(teams, 1):
        door.create(team, ann, [bob])
        for text in range(number):
            door.send(team, ann, str(text))
    plain, muted, unlisted, left, left_unlisted, deleted = teams
    door.set(bob, muted, {"@mute": "1"})
    door.set(bob, unlisted, {"@listed": "0"})
    door.leave(left, [bob], bob)
    door.set(bob, left_unlisted, {"@listed": "0"})
    door.leave(left_unlisted, [bob], bob)
    door.delete(deleted)

    def total() -> int:
        rows = door.conversations(bob).rows
        assert door.unread(bob) == sum(row.unread for row in rows if row.settings["@mute"] == "0")
        return door.unread(bob)

    assert total() == 1 + 4
    assert door.unread(bob, unlisted) == 3
    door.send(unlisted, ann, "it comes back")
    door.send(left_unlisted, ann, "he is not told")
    assert total() == 1 + 4 + 4
    door.set(bob, muted, {"@mute": ""})
    assert total() == 1 + 4 + 4 + 2
    door.set(bob, plain, {"@listed": "0"})
    door.set(bob, left_unlisted, {"@listed": ""})
    assert total() == 4 + 4 + 2 + 5


def test_in_a_direct_conversation_the_other_hears_of_it(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    pair = door.direct(ann, bob)
    assert pair == door.direct(bob, ann)
    assert pair.startswith("@")
    begin(door, ann)
    door.send(pair, ann, "hi")
    door.read(bob, pair, 1)
    assert kinds(catch_up(door, ann)) == [("message", 1), ("receipt", 1)]
    assert door.receipts(pair, 1, ann) == ({bob}, set())


def test_receipts_tell_who_has_read_and_where_it_came(door: Door, own: Own) -> None:
    team, ann, bob, cat, dan = own("team"), own("ann"), own("bob"), own("cat"), own("dan")
    door.create(team, ann, [bob, cat])
    door.send(team, ann, "hi")
    door.join(team, [dan])
    begin(door, cat)
    begin(door, dan)
    door.read(bob, team, 1)
    assert door.receipts(team, 1, ann) == ({bob}, {cat}), "dan could not see it"


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


def test_mentions_are_counted_with_what_is_unread(door: Door, own: Own) -> None:
    team, ann, bob, cat = own("team"), own("ann"), own("bob"), own("cat")
    door.create(team, ann, [bob, cat])
    door.send(team, ann, "1", mentions=[bob])
    door.send(team, ann, "2", mention_all=True)
    door.send(team, ann, "3", mentions=[bob, cat], mention_all=True)
    door.send(team, ann, "4", mentions=[bob], silent=True)
    assert [door.conversations(user).rows[0].mentions for user in (ann, bob, cat)] == [0, 3, 2]
    assert door.unread(bob) == 3, "what is silent is not counted"
    door.hide(bob, team, 1)
    door.recall(team, 2, ann)
    row = door.conversations(bob).rows[0]
    assert (row.unread, row.mentions) == (1, 1)
    door.read(bob, team, 3)
    row = door.conversations(bob).rows[0]
    assert (row.unread, row.mentions) == (0, 0)


def test_an_edit_names_whom_it_mentions_anew(door: Door, own: Own, disturb: Restart) -> None:
    team, ann, bob, cat, dan = own("team"), own("ann"), own("bob"), own("cat"), own("dan")
    door.create(team, ann, [bob, cat])

    def counts() -> list[tuple[int, int]]:
        rows = [door.conversations(user).rows[0] for user in (bob, cat)]
        return [(row.unread, row.mentions) for row in rows]

    door.send(team, ann, "bob, dan", mentions=[bob, dan], key="k")
    door.send(team, ann, "all", mention_all=True)
    assert counts() == [(2, 2), (2, 1)]
    door.edit(team, 1, "cat", ann, mentions=[cat, cat, dan])
    door.edit(team, 2, "nobody", ann)
    disturb(door)
    assert counts() == [(2, 0), (2, 1)]
    one, two = door.history(team, bob)
    assert [name for name, _ in one.fields] == [
        *(b"@from", b"@time", b"@key", b"@mentions", b"@mentions", b"@edited", b"text"),
    ]
    assert (one.stamp("@mentions"), two.stamp("@mentions")) == ([cat, dan], [])
    door.edit(team, 1, "all", ann, mention_all=True)
    door.edit(team, 2, "bob, all", ann, mentions=[bob], mention_all=True)
    assert counts() == [(2, 2), (2, 2)]
    door.edit(team, 2, "bob", ann, mentions=[bob])
    door.read(cat, team, 1)
    disturb(door)
    assert counts() == [(2, 2), (1, 0)]
    door.leave(team, [bob], bob)
    door.edit(team, 2, "nobody", ann)
    assert door.conversations(bob).rows[0].mentions == 1, "who left is not mentioned any more"
    door.join(team, [dan])
    door.edit(team, 1, "dan", ann, mentions=[dan])
    assert door.conversations(dan).rows[0].mentions == 0, "he cannot see it"
    door.recall(team, 1, ann)
    assert door.history(team, ann)[0].stamp("@mentions") == []
    before = door.lsn()
    with pytest.raises(Refused, match=r"^TOOLARGE "):
        door.edit(team, 2, "x", ann, mentions=[f"u{number}" for number in range(65)])
    with pytest.raises(Refused, match=r"^ERR "):
        door.edit(team, 2, "x", ann, mentions=["@all"])
    assert door.lsn() == before


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
