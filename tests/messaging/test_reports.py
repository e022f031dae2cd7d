"""Faults that users of other chat back ends reported in public, each told as a promise of ours.

The report is named beside each promise. What it describes must not happen here, through either
door; where diffusion matters, in a small group and in one above the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

import timeline
from tests.messaging.doors.door import Door, Update
from timeline.embedded.database import Database
from timeline.errors import TimelineError

LIMIT = 4
OPTIONS = {"diffusion_limit": LIMIT}
_numbers = count(1)


class Scene:
    """A group of its own: Ann, Bob, and as many others as its diffusion takes."""

    def __init__(self, door: Door, others: int, history: str = "join") -> None:
        number = next(_numbers)
        self.door = door
        self.team, self.ann, self.bob = f"team-{number}", f"ann-{number}", f"bob-{number}"
        rest = [f"other-{number}-{index}" for index in range(others)]
        door.create(self.team, self.ann, [self.bob, *rest], history=history)

    def begin(self, user: str, device: str = "phone") -> None:
        self.door.ack(user, device, self.door.conversations(user).position)

    def catch_up(self, user: str, device: str = "phone") -> list[Update]:
        page = self.door.sync(user, device, limit=1000)
        assert not page.resync
        assert not page.more
        self.door.ack(user, device, page.cursor)
        return page.entries

    def row(self, user: str) -> tuple[int, int, int]:
        """Unread, mentions and the total, as the list and the badge say them."""
        (row,) = (row for row in self.door.conversations(user).rows if row.id == self.team)
        return row.unread, row.mentions, self.door.unread(user)


@pytest.fixture(params=[0, 2 * LIMIT], ids=["write", "read"])
def scene(opened: Door, request: pytest.FixtureRequest) -> Scene:
    return Scene(opened, request.param)


@pytest.fixture(params=[0, 2 * LIMIT], ids=["write", "read"])
def roaming(opened: Door, request: pytest.FixtureRequest) -> Scene:
    return Scene(opened, request.param, history="all")


def test_own_messages_are_not_unread_after_coming_back(scene: Scene) -> None:
    """WuKongIM #461, OpenIM #2807: one's own messages count as unread after a restart."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    for text in ("1", "2", "3"):
        door.send(team, ann, text)
    for text in ("4", "5"):
        door.send(team, bob, text)
    door.restart()
    assert scene.row(ann) == (2, 0, 2)
    assert scene.row(bob) == (0, 0, 0), "answering reads what was there"


def test_what_was_read_stays_read_for_a_device_that_is_new(scene: Scene) -> None:
    """OpenIM SDK #29: after a new installation, messages that were read are unread again."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    door.send(team, ann, "1")
    door.read(bob, team, 1)
    assert door.sync(bob, "reinstalled").resync
    assert scene.row(bob) == (0, 0, 0)


def test_who_joins_a_group_with_a_past_can_read_it_to_its_end(roaming: Scene) -> None:
    """OpenIM #901: a member who joined later cannot set the unread count to zero."""
    door, team, ann = roaming.door, roaming.team, roaming.ann
    for number in range(5):
        door.send(team, ann, str(number))
    late = f"late-{team}"
    door.join(team, [late], ann)
    door.send(team, ann, "5")
    assert door.unread(late, team) == 1
    assert door.read(late, team, 6) == 6
    assert roaming.row(late) == (0, 0, 0)


def test_recalling_what_is_unread_empties_the_badge_each_time(scene: Scene) -> None:
    """Synapse #15698, Tinode #898, Rocket.Chat #21404: deleted messages stay counted."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    for number in range(5):
        door.send(team, ann, str(number), mentions=[bob])
    assert scene.row(bob) == (5, 5, 5)
    for left, seq in enumerate(range(5, 0, -1), 1):
        door.recall(team, seq, ann)
        assert scene.row(bob) == (5 - left, 5 - left, 5 - left)


def test_a_conversation_whose_last_entry_is_a_recall_syncs(scene: Scene) -> None:
    """Synapse #12864: sync fails when the last event redacts one that is not there."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    scene.begin(bob)
    door.send(team, ann, "1")
    door.recall(team, 1, ann)
    door.hide(bob, team, 1)
    door.restart()
    assert [(each.kind, each.seq) for each in scene.catch_up(bob)][-1] == ("hide", 1)
    assert door.history(team, bob) == []
    (row,) = (row for row in door.conversations(bob).rows if row.id == team)
    assert row.unread == 0


def test_who_came_back_recalls_what_they_send(roaming: Scene) -> None:
    """OpenIM #3640: after leaving and joining again, own messages cannot be recalled."""
    door, team, ann, bob = roaming.door, roaming.team, roaming.ann, roaming.bob
    door.send(team, bob, "before")
    door.leave(team, [bob], bob)
    door.send(team, ann, "meanwhile")
    door.join(team, [bob], ann)
    seq = door.send(team, bob, "after").seq
    door.recall(team, seq, bob)
    door.recall(team, 1, bob)
    seen = {each.seq: each.stamp("@recalled") for each in door.history(team, ann)}
    assert (seen[1], seen[seq]) == ([bob], [bob])


def test_muting_takes_a_conversation_off_the_total_and_gives_it_back(scene: Scene) -> None:
    """Zulip #427, zulip-terminal #696: the total is wrong after muting, negative after unmuting."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    for number in range(3):
        door.send(team, ann, str(number))
    door.set(bob, team, {"@mute": "1"})
    assert scene.row(bob) == (3, 0, 0)
    door.read(bob, team, 2)
    door.set(bob, team, {"@mute": ""})
    assert scene.row(bob) == (1, 0, 1)


def test_leaving_takes_mentions_away(scene: Scene) -> None:
    """Mattermost #4836, waartaa #177: mentions of a channel that was left or deleted stay."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    door.send(team, ann, "1", mentions=[bob])
    assert door.unread(bob) == 1
    door.delete(team)
    assert door.unread(bob) == 0
    assert [row.id for row in door.conversations(bob).rows if row.unread] == []


def test_a_lost_acknowledgement_repeats_nothing_in_the_history(scene: Scene) -> None:
    """MongooseIM #4128, #4316: pages that were not acknowledged are stored a second time."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    scene.begin(bob)
    for number in range(3):
        door.send(team, ann, str(number), key=f"k{number}")
    for _ in range(3):
        assert [each.seq for each in door.sync(bob, "phone").entries] == [1, 2, 3]
        door.restart()
        for number in range(3):
            assert door.send(team, ann, str(number), key=f"k{number}").status == "duplicate"
    assert [each.seq for each in door.history(team, bob)] == [1, 2, 3]


def test_what_was_stored_for_somebody_who_seemed_to_be_there_waits(scene: Scene) -> None:
    """In ejabberd #3086, #3225: what is sent before a dead connection is noticed is lost."""
    door, team, ann, bob = scene.door, scene.team, scene.ann, scene.bob
    scene.begin(bob)
    door.send(team, ann, "1")
    assert door.sync(bob, "phone").entries  # the answer never arrives: nothing acknowledged
    door.send(team, ann, "2")
    door.kill()
    assert [each.seq for each in scene.catch_up(bob)] == [1, 2]


@pytest.fixture
def indexed(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        for number in range(200):
            im.send("team", "ann", {"text": "m" if number % 2 else "f"})
        yield db


def found(db: Database, query: str) -> int:
    return db.messaging.search("bob", query, limit=1, wait=20.0).total


def test_what_is_excluded_and_what_is_wanted_together_find_the_rest(indexed: Database) -> None:
    """Tantivy #457: a query of one word excluded and one wanted panics in longer lists."""
    assert found(indexed, "f NOT m") == 100
    assert found(indexed, "NOT m f") == 100
    assert found(indexed, "f m") == 0


def test_a_query_of_many_alternatives_ends_no_process(indexed: Database) -> None:
    """OpenObserve #12398: a long chain of OR overflows the stack and aborts the server."""
    for query in (" OR ".join(["f"] * 40), "(" * 2_000 + "f" + ")" * 2_000):
        with suppress(TimelineError):
            assert found(indexed, query) == 100
    assert found(indexed, "f") == 100
