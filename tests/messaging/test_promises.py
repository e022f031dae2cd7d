"""What a chat back end may rely on of messages, stated once and kept through both doors.

A promise asks a door and knows nothing of what lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door
from tests.messaging.promises import Own, Restart, begin, catch_up, kinds

LIMIT = 5
OPTIONS = {"diffusion_limit": LIMIT}


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
