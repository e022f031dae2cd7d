"""What blocks, mutes, protected authors and settings promise, through both doors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.adapters import Refused
from tests.feeds.doors import Door
from tests.messaging.promises import Own

Restart = Callable[[Door], None]

OPTIONS = {
    "feed_diffusion_limit": 2, "feed_backfill": 50, "following_limit": 3, "search": False,
}  # fmt: skip


def publish(door: Door, author: str, *texts: str) -> list[str]:
    return [door.publish(author, text)[0] for text in texts]


def friends(door: Door, *users: str) -> None:
    """Each has one post and follows the others."""
    for user in users:
        publish(door, user, "hello")
    for user in users:
        door.follow(user, *(other for other in users if other != user))


# --- blocks ---------------------------------------------------------------------------------------


def test_a_block_ends_follows_and_neither_sees_the_other_any_more(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    friends(door, ann, bob, cat)
    reply, _ = door.publish(bob, "hi", reply=f"{ann}/1")
    assert door.block(ann, bob) == 1
    assert door.block(ann, bob) == 0
    disturb(door)
    assert door.relation(ann, bob, cat) == [["blocked"], ["following", "follows"]]
    assert door.relation(bob, ann) == [[]]
    assert door.blocked(ann) == ([bob], 1, "")
    assert door.blocked(bob) == ([], 0, "")
    assert door.home(ann).names == [f"{cat}/1", f"{ann}/1"]
    assert door.home(bob).names == [reply, f"{cat}/1", f"{bob}/1"]
    for one, other in ((ann, bob), (bob, ann)):
        assert door.get(one, f"{other}/1") == [None]
        for look in (door.profile, door.author):
            with pytest.raises(Refused, match=f"NOPERM there is no user '{other}'"):
                look(one, other)
        for ask in (door.followers, door.following):
            with pytest.raises(Refused, match=f"NOPERM there is no user '{other}'"):
                ask(other, viewer=one)
        for option in ("reply", "repost"):
            with pytest.raises(Refused, match=f"NOPERM there is no post '{other}/1'"):
                door.publish(one, "x", **{option: f"{other}/1"})
        assert other not in door.followers(cat, viewer=one).users
        assert other not in door.following(cat, viewer=one).users
        assert door.followers(cat, viewer=one).total == 2
    with pytest.raises(Refused, match=f"NOPERM there is no user '{ann}'"):
        door.follow(bob, ann)
    with pytest.raises(Refused, match=f"NOPERM '{bob}' is blocked: unblock them first"):
        door.follow(ann, bob)
    for audience in ("everybody", "named"):
        with pytest.raises(Refused, match=f"NOPERM there is no user '{ann}'"):
            door.publish(bob, "x", mentions=[ann], audience=audience)
    with pytest.raises(Refused, match=f"NOPERM there is no user '{ann}'"):
        door.set_about(bob, ann, mute="1")
    assert door.replies(ann, f"{ann}/1").names == []
    assert door.replies(cat, f"{ann}/1").names == [reply]


def test_blocked_people_do_not_come_back_through_reposts_and_quotes(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    friends(door, ann, bob, cat)
    post = publish(door, bob, *"abcd")[0]
    name, _ = door.publish(cat, None, repost=post)
    quote, _ = door.publish(cat, "look", repost=post)
    assert {name, quote} <= set(door.profile(ann, cat).names)
    door.block(bob, ann)
    disturb(door)
    page = door.profile(ann, cat)
    assert page.names == [quote, f"{cat}/1"]
    assert page.refs == {post: None}
    assert name not in door.home(ann).names
    assert door.get(ann, name) == [None]


def test_a_block_that_ends_brings_no_follow_back(door: Door, own: Own, disturb: Restart) -> None:
    ann, bob = own("ann"), own("bob")
    friends(door, ann, bob)
    door.block(ann, bob)
    door.block(bob, ann)
    assert door.unblock(ann, bob, own("nobody")) == 1
    assert door.unblock(ann, bob) == 0
    disturb(door)
    assert door.get(ann, f"{bob}/1") == [None]  # the other block is still there
    assert door.unblock(bob, ann) == 1
    assert door.get(ann, f"{bob}/1") != [None]
    assert door.relation(ann, bob) == [[]]
    assert door.follow(ann, bob) == (1, 0)
    assert door.home(ann).names == [f"{bob}/1", f"{ann}/1"]


def test_blocks_are_listed_newest_first(door: Door, own: Own) -> None:
    ann, *others = (own(name) for name in ("ann", "bob", "cat", "dan"))
    for user in (ann, *others):
        publish(door, user, "x")
    for other in others:
        door.block(ann, other)
    page = door.blocked(ann, limit=2)
    assert (page.users, page.total) == (others[:0:-1], 3)
    assert door.blocked(ann, page.cursor, 2) == (others[:1], 3, "")
    with pytest.raises(Refused, match="ERR nobody can block themselves"):
        door.block(ann, ann)
    with pytest.raises(Refused, match="NOTFOUND there is no user"):
        door.block(ann, others[0], own("nobody"))


# --- mutes and what a home shows ------------------------------------------------------------------


def test_a_mute_keeps_an_author_out_of_the_home_and_nothing_else(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    friends(door, ann, bob, cat)
    post = publish(door, bob, *"abcd")[0]
    shared, _ = door.publish(cat, None, repost=post)
    quote, _ = door.publish(cat, "look", repost=post)
    before = door.home(ann).names
    door.set_about(ann, bob, mute="1")
    disturb(door)
    assert door.relation(ann, bob) == [["following", "follows", "muted"]]
    assert door.relation(bob, ann) == [["following", "follows"]]
    expected = [name for name in before if not name.startswith(bob) and name != shared]
    assert door.home(ann).names == expected
    assert quote in expected
    assert door.profile(ann, bob).posts
    publish(door, bob, "later")
    door.set_about(ann, bob, mute="0")
    assert door.home(ann).names == [f"{bob}/6", *before]


def test_reposts_and_replies_of_an_author_can_be_left_out(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    publish(door, cat, "x")
    publish(door, bob, "y")
    with pytest.raises(Refused, match="ERR @reposts is about an author who is followed"):
        door.set_about(ann, bob, reposts="0")
    door.follow(ann, bob)
    repost, _ = door.publish(bob, None, repost=f"{cat}/1")
    reply, _ = door.publish(bob, "z", reply=f"{cat}/1")
    door.set_about(ann, bob, reposts="0", mute="")
    disturb(door)
    assert door.home(ann).names == [reply, f"{bob}/1"]
    door.set_about(ann, bob, reposts="", replies="0")
    disturb(door)
    assert door.home(ann).names == [repost, f"{bob}/1"]
    door.unfollow(ann, bob)
    door.follow(ann, bob)
    assert door.home(ann).names == [reply, repost, f"{bob}/1"]


# --- protected authors ----------------------------------------------------------------------------


def test_only_followers_see_what_a_protected_author_does(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, fan, other = own("ann"), own("fan"), own("other")
    friends(door, ann, fan)
    publish(door, other, "x")
    quote, _ = door.publish(other, "look", repost=f"{ann}/1")
    door.set_own(ann, **{"@protected": "1"})
    disturb(door)
    assert door.author(other, ann)["protected"] == 1
    assert door.get(other, f"{ann}/1") == [None]
    for look in (door.profile, lambda who, whom: door.followers(whom, viewer=who)):
        with pytest.raises(Refused, match=f"NOPERM '{ann}' is protected"):
            look(other, ann)
    for viewer in (ann, fan):
        assert door.profile(viewer, ann).names == [f"{ann}/1"]
        assert door.followers(ann, viewer=viewer).users == [fan]
        assert door.home(viewer).names == [f"{fan}/1", f"{ann}/1"]
    assert door.profile(other, other).refs == {f"{ann}/1": None}
    assert door.profile(fan, other).names[0] == quote
    door.set_own(ann, **{"@protected": "0"})
    assert door.get(other, f"{ann}/1") != [None]


def test_a_follow_of_a_protected_author_waits_for_an_answer(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat, dan = own("ann"), own("bob"), own("cat"), own("dan")
    publish(door, ann, "x")
    door.set_own(ann, **{"@protected": "1"})
    for user in (bob, cat, dan):
        publish(door, user, "y")
        assert door.follow(user, ann) == (0, 1)
    assert door.follow(bob, ann) == (0, 1)  # again it changes nothing
    disturb(door)
    assert door.requests(ann) == ([dan, cat, bob], 3, "")
    assert door.requests(ann, door.requests(ann, limit=1).cursor, 1).users == [cat]
    assert door.relation(bob, ann) == [["requested"]]
    assert door.home(bob).names == [f"{bob}/1"]
    door.answer(ann, bob, "accept")
    door.answer(ann, bob, "accept")
    door.answer(ann, cat, "reject")
    assert door.unfollow(dan, ann) == 1  # takes the request back
    disturb(door)
    assert door.requests(ann) == ([], 0, "")
    assert (door.relation(bob, ann), door.relation(cat, ann)) == ([["following"]], [[]])
    assert door.home(bob).names == [f"{bob}/1", f"{ann}/1"]
    for word in ("accept", "reject"):
        with pytest.raises(Refused, match=r"NOTFOUND .* has not asked to follow"):
            door.answer(ann, cat, word)
    assert door.remove(ann, bob, cat, own("nobody")) == 1
    assert door.relation(bob, ann) == [[]]
    assert door.home(bob).names == [f"{bob}/1"]


def test_who_asked_follows_at_once_when_an_author_is_protected_no_more(
    door: Door, own: Own
) -> None:
    ann, bob = own("ann"), own("bob")
    publish(door, ann, "x")
    door.set_own(ann, **{"@protected": "1"})
    assert door.follow(bob, ann) == (0, 1)
    door.set_own(ann, **{"@protected": "0"})
    assert door.relation(bob, ann) == [["requested"]]
    assert door.follow(bob, ann) == (1, 0)
    assert door.requests(ann) == ([], 0, "")
    door.set_own(ann, **{"@protected": "1"})
    assert door.follow(bob, ann) == (0, 0)


def test_an_accepted_request_keeps_to_the_limit_of_follows(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    others = [own(f"other{n}") for n in range(3)]
    for user in (ann, *others):
        publish(door, user, "x")
    door.set_own(ann, **{"@protected": "1"})
    assert door.follow(bob, ann) == (0, 1)
    door.follow(bob, *others)
    with pytest.raises(Refused, match=r"TOOLARGE .*following_limit"):
        door.answer(ann, bob, "accept")
    assert door.requests(ann).users == [bob]
    door.unfollow(bob, others[0])
    door.answer(ann, bob, "accept")
    assert door.author(bob, bob)["following"] == 3


def test_a_block_takes_requests_along(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    for user in (ann, bob):
        publish(door, user, "x")
        door.set_own(user, **{"@protected": "1"})
    door.follow(bob, ann)
    door.follow(ann, bob)
    door.block(ann, bob)
    assert door.requests(ann) == door.requests(bob) == ([], 0, "")
    assert (door.relation(ann, bob), door.relation(bob, ann)) == ([["blocked"]], [[]])


# --- what authors say of themselves ---------------------------------------------------------------


def test_an_author_says_things_of_themselves(door: Door, own: Own, disturb: Restart) -> None:
    ann, bob = own("ann"), own("bob")
    door.set_own(ann, name="Ann", city="Ulm")
    door.set_own(ann, city="", motto="on", **{"@protected": "1"})
    disturb(door)
    found = door.author(bob, ann)
    assert found["meta"] == {b"name": b"Ann", b"motto": b"on"}
    assert (found["posts"], found["protected"], found["relation"]) == (0, 1, [])


def test_a_pinned_post_comes_first_and_once(door: Door, own: Own, disturb: Restart) -> None:
    ann, bob = own("ann"), own("bob")
    names = publish(door, ann, *"abcde")
    door.set_own(ann, **{"@pin": "2"})
    disturb(door)
    page = door.profile(bob, ann, limit=2)
    assert page.names == [names[1], names[4]]
    door.set_own(ann, **{"@pin": "4"})  # the pages of who has begun to read stay whole
    rest = door.profile(bob, ann, page.cursor)
    assert rest.names == [names[3], names[2], names[0]]
    assert door.profile(bob, ann).names[0] == names[3]
    one = door.profile(bob, ann, limit=1)
    assert one.names == [names[3]]
    assert door.profile(bob, ann, one.cursor).names == [names[at] for at in (4, 2, 1, 0)]
    door.delete_post(ann, 4)
    assert door.profile(bob, ann).names == [names[4], names[2], names[1], names[0]]
    door.set_own(ann, **{"@pin": "1"})
    door.set_own(ann, **{"@pin": "0"})
    assert door.profile(bob, ann).names[0] == names[4]


def test_settings_that_cannot_be_are_refused_and_nothing_changes(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    publish(door, ann, "x")
    publish(door, bob, "x")
    refused: list[tuple[str, dict[str, str], str]] = [
        (ann, {"@protected": "yes"}, "ERR @protected is 0 or 1"),
        (ann, {"@pin": "first"}, "ERR @pin is the number of a post"),
        (ann, {"@pin": "2"}, "NOTFOUND there is no post 2 to pin"),
        (ann, {"@mute": "1"}, "ERR the store's settings about oneself are @protected and @pin"),
        (ann, {"name": "x" * 70_000}, "TOOLARGE the fields of an author"),
    ]
    for user, fields, words in refused:
        with pytest.raises(Refused, match=words):
            door.set_own(user, **({"name": "Ann"} | fields))
    about: list[tuple[str, dict[str, str], str]] = [
        (bob, {"mute": "2"}, "ERR @mute is 0 or 1"),
        (bob, {"protected": "1"}, "ERR settings about another author are"),
        (own("nobody"), {"mute": "1"}, "NOTFOUND there is no user"),
    ]
    for author, fields, words in about:
        with pytest.raises(Refused, match=words):
            door.set_about(ann, author, **fields)
    assert door.author(ann, ann)["meta"] == {}
    assert door.relation(ann, bob) == [[]]
