"""What reactions promise, through both doors."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.adapters import Refused
from tests.feeds.doors import Door, Post
from tests.messaging.promises import Own

Restart = Callable[[Door], None]

OPTIONS = {"feed_diffusion_limit": 2, "search": False}


def seen(door: Door, viewer: str, post: str) -> Post:
    (found,) = door.get(viewer, post)
    assert found is not None
    return found


def test_each_user_counts_once_for_each_reaction(door: Door, own: Own, disturb: Restart) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post, _ = door.publish(ann, "x")
    assert [door.react(post, user, "like") for user in (bob, cat, bob)] == [1, 2, 2]
    assert door.react(post, bob, "❤") == 1
    disturb(door)
    assert seen(door, bob, post).counts == {"like": 2, "❤": 1}
    assert [sorted(seen(door, who, post).own) for who in (ann, bob, cat, own("nobody"))] == [
        [], ["like", "❤"], ["like"], [],
    ]  # fmt: skip
    for page in (door.profile(bob, ann), door.home(ann)):
        assert page.posts[0].counts == {"like": 2, "❤": 1}
    assert door.profile(bob, ann).posts[0].own == ["like", "❤"]
    assert door.react(post, bob, "like", remove=True) == 1
    assert door.react(post, bob, "like", remove=True) == 1
    assert door.react(post, ann, "laugh", remove=True) == 0
    assert door.react(post, cat, "❤", remove=True) == 1
    assert door.react(post, bob, "❤", remove=True) == 0
    disturb(door)
    assert seen(door, bob, post).counts == {"like": 1}
    assert (seen(door, bob, post).own, seen(door, cat, post).own) == ([], ["like"])


def test_a_reaction_to_a_repost_is_one_to_the_post(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    post, _ = door.publish(ann, "x")
    repost, _ = door.publish(bob, None, repost=post)
    reply, _ = door.publish(bob, "y", reply=post)
    assert door.react(repost, ann, "like") == 1
    assert door.react(reply, ann, "like") == 1
    assert seen(door, ann, post).counts == {"replies": 1, "reposts": 1, "like": 1}
    assert seen(door, ann, reply).counts == {"like": 1}
    page = door.profile(ann, bob)
    named = page.refs[post]
    assert named is not None
    assert named.own == ["like"]
    door.delete_post(ann, 1)
    with pytest.raises(Refused, match="NOPERM there is no post"):
        door.react(post, ann, "like")


def test_who_reacted_is_listed_a_page_at_a_time(door: Door, own: Own, disturb: Restart) -> None:
    ann, *users = (own(f"user{n}") for n in range(7))
    post, _ = door.publish(ann, "x")
    for user in users:
        door.publish(user, "y")
        door.react(post, user, "like")
    door.react(post, users[0], "other")
    door.block(users[2], users[4])
    disturb(door)
    found, cursor, total = [], "", 6
    while True:
        page = door.reactors(ann, post, "like", cursor, 2)
        found += page.users
        cursor = page.cursor
        assert page.total == total
        if not cursor:
            break
        if total == 6:  # what comes and goes meanwhile repeats and skips nobody else
            total = door.react(post, users[0], "like", remove=True)
    assert found == users
    seen_by_blocked = door.reactors(users[4], post, "like")
    assert (seen_by_blocked.users, seen_by_blocked.total) == ([users[1], *users[3:]], 5)
    assert door.reactors(ann, post, "none") == ([], 0, "")
    for token in ("x", "9" * 21, "9" * 5_000):
        with pytest.raises(Refused, match="ERR a token of those who reacted"):
            door.reactors(ann, post, "like", token)


def test_a_reaction_can_be_taken_back_by_whoever_sees_the_post_no_more(
    door: Door, own: Own
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post, _ = door.publish(ann, "x")
    repost, _ = door.publish(cat, None, repost=post)
    for user in (bob, cat):
        door.publish(user, "y")
        door.react(post, user, "like")
    door.block(ann, bob)
    with pytest.raises(Refused, match="NOPERM there is no post"):
        door.react(post, bob, "laugh")
    assert door.react(repost, bob, "like", remove=True) == 1
    with pytest.raises(Refused, match="NOPERM there is no post"):
        door.react(post, bob, "like", remove=True)
    assert door.reactors(ann, post, "like") == ([cat], 1, "")


def test_reactions_that_cannot_be_are_refused_and_nothing_changes(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post, _ = door.publish(ann, "x")
    hidden, _ = door.publish(ann, "x", audience="followers")
    for name in ("", "a\nb", "x" * 256):
        with pytest.raises(Refused, match="ERR the id of a reaction"):
            door.react(post, bob, name)
    for name in ("replies", "reposts", "quotes"):
        with pytest.raises(Refused, match=f"ERR no reaction is called {name}"):
            door.react(post, bob, name)
    for name in (hidden, f"{ann}/9"):
        with pytest.raises(Refused, match="NOPERM there is no post"):
            door.react(name, bob, "like")
        with pytest.raises(Refused, match="NOPERM there is no post"):
            door.reactors(bob, name, "like")
    for n in range(5):
        door.react(post, bob, f"r{n}")
    with pytest.raises(Refused, match="TOOLARGE a user has at most 5 reactions"):
        door.react(post, bob, "r5")
    assert door.react(post, bob, "r4") == 1
    door.react(post, bob, "r4", remove=True)
    for n in range(28):
        door.react(post, own(f"u{n // 5}"), f"s{n}")
    with pytest.raises(Refused, match="TOOLARGE a post has at most 32 kinds of reactions"):
        door.react(post, cat, "one more")
    assert door.react(post, bob, "r3", remove=True) == 0
    assert door.react(post, cat, "one more") == 1
    assert len(seen(door, ann, post).counts) == 32
