"""What a chat back end may rely on of reading: positions, receipts, unread, mentions; through both
doors.
"""

from __future__ import annotations

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door
from tests.messaging.promises import Own, Restart, begin, catch_up, kinds

OPTIONS = {"diffusion_limit": 5}


@pytest.fixture
def door(opened: Door) -> Door:
    """A store that has seen other tests: each takes names of its own."""
    return opened


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
