"""What users are told: notes of what others did, and how much is unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timeline
from tests.engine.adapters import Refused
from tests.engine.stores import Clock
from tests.feeds.doors import Door, Note
from tests.messaging.promises import Own

OPTIONS = {"note_window_ms": 1_000_000, "unseen_limit": 10, "search": False}


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock().installed() as clock:
        yield clock


def told(door: Door, user: str, *kinds: str) -> list[tuple[str, str, int, list[str]]]:
    """Kind, post, how many and who, of each note."""
    return [each[:4] for each in door.notes(user, *kinds).notes]


def test_whoever_is_named_is_told(door: Door, own: Own, disturb: Callable[[Door], None]) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    first = door.publish(ann, "first")[0]
    door.publish(cat, "hello")
    door.follow(bob, ann)
    reply = door.publish(bob, "yes", reply=first)[0]
    door.publish(bob, None, repost=first)
    quote = door.publish(bob, "look", repost=first)[0]
    door.react(first, bob, "like")
    mention = door.publish(bob, "you two", mentions=[ann, cat])[0]
    disturb(door)
    page = door.notes(ann)
    assert page.notes == [
        Note("mention", mention, 1, [bob], [mention], seen=False),
        Note("like", first, 1, [bob], [], seen=False),
        Note("quote", first, 1, [bob], [quote], seen=False),
        Note("repost", first, 1, [bob], [], seen=False),
        Note("reply", first, 1, [bob], [reply], seen=False),
        Note("follow", "", 1, [bob], [], seen=False),
    ]
    assert page.cursor == ""
    assert set(page.refs) == {mention, first, quote, reply}
    answered, original = page.refs[reply], page.refs[first]
    assert answered is not None
    assert original is not None
    assert answered.text == "yes"
    assert original.counts == {"replies": 1, "reposts": 1, "quotes": 1, "like": 1}
    assert told(door, cat) == [("mention", mention, 1, [bob])]
    assert told(door, bob) == []
    assert told(door, ann, "like", "follow") == [
        ("like", first, 1, [bob]),
        ("follow", "", 1, [bob]),
    ]


def test_nobody_is_told_of_what_they_do_themselves(door: Door, own: Own) -> None:
    ann = own("ann")
    post = door.publish(ann, "x")[0]
    door.publish(ann, "thread", reply=post)
    door.publish(ann, None, repost=post)
    door.publish(ann, "quote", repost=post, mentions=[ann])
    door.react(post, ann, "like")
    assert told(door, ann) == []
    assert door.unseen(ann) == (0, 0)


def test_nobody_is_told_twice_of_one_post_nor_of_a_silent_one(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    post = door.publish(ann, "x")[0]
    door.publish(bob, "silence", reply=post, mentions=[ann], silent=True)
    assert told(door, ann) == []
    door.publish(bob, "yes", reply=post, mentions=[ann])
    assert told(door, ann) == [("reply", post, 2, [bob])]


def test_a_group_is_shown_once_and_counts_who_is_there_now(door: Door, own: Own) -> None:
    ann, fans = own("ann"), [own(f"fan{number}") for number in range(6)]
    post = door.publish(ann, "x")[0]
    for fan in fans:
        door.react(post, fan, "like")
    assert told(door, ann) == [("like", post, 6, fans[:2:-1])]
    door.react(post, fans[5], "like", remove=True)
    door.react(post, fans[0], "like", remove=True)
    assert told(door, ann) == [("like", post, 4, [fans[4], fans[3], fans[2]])]
    for fan in fans[1:5]:
        door.react(post, fan, "like", remove=True)
    assert told(door, ann) == []
    door.react(post, fans[0], "love")  # it gets the number that the other had
    assert told(door, ann) == [("love", post, 1, [fans[0]])]


def test_what_is_gone_or_hidden_is_not_told(door: Door, own: Own) -> None:
    ann, bob, cat, dan = own("ann"), own("bob"), own("cat"), own("dan")
    post, other = door.publish(ann, "x")[0], door.publish(ann, "y")[0]
    for user in (bob, cat, dan):
        door.publish(user, "yes", reply=post)
        door.publish(user, None, repost=other)
    door.publish(dan, "you", mentions=[ann])
    assert len(told(door, ann)) == 3
    door.set_about(ann, cat, mute="1")
    door.block(ann, dan)
    assert told(door, ann) == [("repost", other, 3, [bob]), ("reply", post, 3, [bob])]
    door.delete_post(bob, 1)
    assert told(door, ann) == [("repost", other, 3, [bob])]
    door.set_about(ann, cat, mute="")
    assert told(door, ann) == [("repost", other, 3, [cat, bob]), ("reply", post, 2, [cat])]
    door.delete_post(ann, 2)
    assert told(door, ann) == [("reply", post, 2, [cat])]
    door.unblock(ann, dan)
    assert [each[0] for each in told(door, ann)] == ["mention", "reply"]


def test_a_note_stays_while_somebody_is_left(door: Door, own: Own) -> None:
    """Whoever did something last, and however often."""
    ann, bob, cat, dan = own("ann"), own("bob"), own("cat"), own("dan")
    post, other = door.publish(ann, "x")[0], door.publish(ann, "y")[0]
    fans = [own(f"fan{number}") for number in range(25)]
    for user in fans:
        door.react(other, user, "like")
        door.follow(user, ann)
    for user in fans[5:]:
        door.react(other, user, "like", remove=True)
        door.unfollow(user, ann)
    door.publish(cat, "yes", reply=post)
    door.publish(cat, None, repost=post)
    door.publish(dan, "so", reply=post)
    door.follow(bob, ann)
    door.unfollow(bob, ann)
    door.set_about(ann, bob, mute="1")
    for number in range(1, 22):
        door.publish(bob, "no", reply=post)
        door.publish(bob, None, repost=post)
        door.delete_post(bob, 2 * number)
    found = {(each[0], each[1]): each[2:] for each in told(door, ann)}
    assert found["reply", post] == (23, [dan, cat])
    assert found["repost", post] == (1, [cat])
    total, users = found["like", other]
    assert (total, len(users), set(users) <= set(fans[:5])) == (5, 3, True)
    total, users = found["follow", ""]
    assert (total, len(users), set(users) <= set(fans[:5])) == (5, 3, True)


def test_going_back_and_forth_tells_nothing_new(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    post = door.publish(ann, "x")[0]
    door.publish(bob, "you", mentions=[ann])
    for _ in range(10):
        for reaction in ("like", "love"):
            door.react(post, bob, reaction)
            door.react(post, bob, reaction, remove=True)
    door.react(post, bob, "laugh")
    assert told(door, ann)[0] == ("laugh", post, 1, [bob])
    assert len(told(door, ann)) == 2
    door.seen(ann, door.notes(ann).position, notes=True)
    door.react(post, bob, "laugh", remove=True)
    door.react(post, bob, "wow")
    assert door.unseen(ann) == (0, 0)


def test_whoever_is_muted_moves_nothing(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post, other = door.publish(ann, "x")[0], door.publish(ann, "y")[0]
    door.publish(bob, "x")
    door.set_about(ann, bob, mute="1")
    door.react(post, bob, "like")
    door.publish(bob, "secret", reply=other, audience="named", mentions=[cat_of(door, cat)])
    assert (told(door, ann), door.unseen(ann)) == ([], (0, 0))
    door.react(post, cat, "like")
    assert told(door, ann) == [("like", post, 2, [cat])]
    assert door.unseen(ann) == (0, 1)


def cat_of(door: Door, cat: str) -> str:
    """Somebody who is a user by now."""
    door.publish(cat, "hello")
    return cat


def test_a_mention_is_told_where_the_reply_waits(door: Door, own: Own) -> None:
    """Else whoever has seen the note of replies would not learn of it for an hour."""
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post = door.publish(ann, "x")[0]
    door.publish(bob, "one", reply=post, mentions=[ann])
    assert [each[0] for each in told(door, ann)] == ["reply"]
    two = door.publish(cat, "two", reply=post, mentions=[ann])[0]
    assert told(door, ann) == [("mention", two, 1, [cat]), ("reply", post, 2, [cat, bob])]


def test_large_posts_end_a_page_sooner(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        db.feeds.publish("ann", {"text": "x"})
        for _ in range(9):
            db.feeds.publish("bob", {"text": "x" * 900_000}, mentions=["ann"])
        page = db.feeds.notes("ann")
        assert len(page.notes) == 5
        assert len(db.feeds.notes("ann", after=page.cursor).notes) == 4


def test_edits_cost_what_is_unseen_nothing(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        db.feeds.publish("bob", {"text": "x"})
        db.feeds.follow("ann", ["bob"])
        for number in range(6):
            db.feeds.publish("bob", {"text": str(number)})
        for number in range(2_000):
            db.feeds.edit("bob", 1, "bob", {"text": str(number)})
        assert db.feeds.unseen("ann").posts == 7


def test_a_clock_that_goes_back_keeps_no_note_down(tmp_path: Path, clock: Clock) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        db.feeds.publish("ann", {"text": "x"})
        db.feeds.react("ann", 1, "bob", "like")
        db.feeds.seen("ann", db.feeds.notes("ann").position, notes=True)
        clock.now -= 864_000_000
        db.feeds.react("ann", 1, "cat", "like")
        assert db.feeds.unseen("ann").notes == 1


def test_follows_and_requests_are_told_while_they_are_so(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    door.set_own(ann, **{"@protected": "1"})
    door.publish(ann, "x")
    door.publish(cat, "x")
    door.follow(bob, ann)
    door.follow(cat, ann)
    assert told(door, ann) == [("request", "", 2, [cat, bob])]
    door.answer(ann, bob, "accept")
    assert told(door, ann) == [("request", "", 1, [cat])]
    door.answer(ann, cat, "reject")
    door.set_own(ann, **{"@protected": ""})
    assert told(door, ann) == []
    door.follow(cat, ann)
    assert told(door, ann) == [("follow", "", 2, [cat])]
    door.unfollow(cat, ann)
    assert told(door, ann) == [("follow", "", 1, [bob])]
    door.remove(ann, bob)
    assert told(door, ann) == []


def test_pages_of_notes_join_to_all_of_them(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    posts = [door.publish(ann, str(number))[0] for number in range(9)]
    for post in posts:
        door.react(post, bob, "like")
    found: list[str] = []
    cursor = ""
    while True:
        page = door.notes(ann, after=cursor, limit=2)
        found += [each.post for each in page.notes]
        door.react(posts[0], own(f"fan{len(found)}"), "like")
        door.publish(bob, "new", mentions=[ann])
        cursor = page.cursor
        if not cursor:
            break
        assert len(page.notes) == 2
    assert found == posts[::-1]


def test_what_was_seen_is_not_counted_again(
    door: Door, own: Own, disturb: Callable[[Door], None]
) -> None:
    ann, bob = own("ann"), own("bob")
    post = door.publish(ann, "x")[0]
    door.follow(bob, ann)
    door.publish(bob, "mine")
    assert door.unseen(bob) == (1, 0)
    assert door.unseen(ann) == (0, 1)
    old = door.home(bob).position
    door.publish(ann, "y")
    door.react(post, bob, "like")
    assert door.unseen(bob) == (2, 0)
    door.seen(bob, old)
    assert door.unseen(bob) == (1, 0)
    door.seen(ann, door.notes(ann).position, notes=True)
    assert [each.seen for each in door.notes(ann).notes] == [True, True]
    assert door.unseen(ann) == (0, 0)
    door.publish(bob, "yes", reply=post)
    assert [each.seen for each in door.notes(ann).notes] == [False, True, True]
    disturb(door)
    assert door.unseen(ann) == (0, 1)
    door.seen(bob, door.home(bob).position)
    door.seen(bob, old)  # it does not go back
    assert door.unseen(bob) == (0, 0)
    for number in range(12):
        door.publish(ann, str(number), mentions=[bob])
    assert door.unseen(bob) == (10, 10)


def test_bad_positions_and_names_are_refused(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    post = door.publish(ann, "x")[0]
    for position in ("", "x", "1", "1-", "-1-0", f"{2**63}-0", "99999999-0", "1-0-0"):
        with pytest.raises(Refused, match="ERR"):
            door.seen(ann, position)
    for ask in (door.notes, door.unseen, lambda user: door.seen(user, "0-0")):
        with pytest.raises(Refused, match="NOTFOUND"):
            ask(bob)
        with pytest.raises(Refused, match="ERR"):
            ask("")
    with pytest.raises(Refused, match="ERR"):
        door.notes(ann, after="x")
    assert door.notes(ann, after="0-0").position.endswith("-0-0")
    for kind in ("replies", "reposts", "quotes", ""):
        with pytest.raises(Refused, match="ERR"):
            door.notes(ann, kind)
    for name in ("reply", "mention", "follow", "request", "quote", "repost"):
        with pytest.raises(Refused, match="notes of that kind"):
            door.react(post, bob, name)
    assert door.notes(ann).notes == []


@pytest.mark.parametrize("window", [0, 1_000])
def test_a_note_that_grows_moves_up_once_in_a_while(
    tmp_path: Path, clock: Clock, window: int
) -> None:
    with timeline.open(tmp_path / "store", note_window_ms=window, search=False) as db:
        feeds = db.feeds
        feeds.publish("ann", {"text": "x"})
        feeds.react("ann", 1, "bob", "like")
        feeds.publish("bob", {"text": "you"}, mentions=["ann"])
        feeds.seen("ann", feeds.notes("ann").position, notes=True)
        clock.now += 999
        feeds.react("ann", 1, "cat", "like")
        kinds = [(each.kind, each.total, each.seen) for each in feeds.notes("ann").notes]
        if window:
            assert kinds == [("mention", 1, True), ("like", 2, True)]
        else:
            assert kinds == [("like", 2, False), ("mention", 1, True)]
        clock.now += 1
        feeds.react("ann", 1, "dan", "like")
        found = feeds.notes("ann").notes
        assert [(each.kind, each.total, each.seen) for each in found] == [
            ("like", 3, False),
            ("mention", 1, True),
        ]
        assert found[0].time - found[0].first == 1_000
        assert feeds.unseen("ann").notes == 1
