"""What feeds promise, through both doors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timeline
from tests.engine.adapters import Refused
from tests.feeds.doors import Door, Page
from tests.messaging.promises import Own
from timeline.errors import TimelineError

Restart = Callable[[Door], None]

OPTIONS = {"feed_diffusion_limit": 3, "feed_backfill": 4, "following_limit": 8, "search": False}


def pages(door: Door, user: str, limit: int) -> Iterator[Page]:
    page = door.home(user, limit=limit)
    yield page
    while page.cursor:
        page = door.home(user, page.cursor, limit)
        yield page


def publish(door: Door, author: str, *texts: str) -> list[str]:
    return [door.publish(author, text)[0] for text in texts]


# --- posts ----------------------------------------------------------------------------------------


def test_posts_of_an_author_are_numbered_without_gaps_and_read_newest_first(
    door: Door, own: Own
) -> None:
    ann = own("ann")
    assert publish(door, ann, "a", "b", "c") == [f"{ann}/{seq}" for seq in (1, 2, 3)]
    page = door.profile("somebody", ann)
    assert [post.text for post in page.posts] == ["c", "b", "a"]
    assert not page.cursor
    assert {post.kind for post in page.posts} == {"post"}


def test_a_post_with_a_key_is_stored_once(door: Door, own: Own) -> None:
    ann = own("ann")
    assert door.publish(ann, "a", key="k") == (f"{ann}/1", "stored")
    assert door.publish(ann, "a", key="k") == (f"{ann}/1", "duplicate")
    assert door.publish(own("bob"), "b", key="k") == (f"{own('bob')}/1", "stored")
    with pytest.raises(Refused, match="CONFLICT"):
        door.publish(ann, "another", key="k")
    door.edit_post(ann, 1, "edited", ann)
    assert door.publish(ann, "a", key="k") == (f"{ann}/1", "duplicate")
    assert door.profile(ann, ann).names == [f"{ann}/1"]


def test_a_profile_is_read_by_pages(door: Door, own: Own) -> None:
    ann = own("ann")
    publish(door, ann, *"abcde")
    page = door.profile(ann, ann, limit=2)
    assert page.names == [f"{ann}/5", f"{ann}/4"]
    publish(door, ann, "later")
    door.delete_post(ann, 3)
    page = door.profile(ann, ann, page.cursor, 2)
    assert page.names == [f"{ann}/2", f"{ann}/1"]
    assert not page.cursor


def test_posts_are_got_by_their_names(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob/smith")
    publish(door, ann, "a", "b")
    publish(door, bob, "c")
    found = door.get("somebody", f"{bob}/1", f"{ann}/2", f"{ann}/3", own("nobody") + "/1")
    assert [None if post is None else post.text for post in found] == ["c", "b", None, None]


def test_an_edit_is_seen_by_everybody_and_keeps_what_the_post_is(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob = own("ann"), own("bob")
    publish(door, ann, "first", "second")
    door.follow(bob, ann)
    publish(door, ann, "third")
    for seq in (1, 3):
        door.edit_post(ann, seq, f"edited {seq}", ann)
    disturb(door)
    (before,) = door.get(bob, f"{ann}/2")
    for page in (door.home(bob), door.profile(bob, ann)):
        assert [post.text for post in page.posts] == ["edited 3", "second", "edited 1"]
    (after,) = door.get(bob, f"{ann}/1")
    assert before is not None
    assert after is not None
    assert [name for name, _ in before.fields] == [b"@time", b"text"]
    assert [name for name, _ in after.fields] == [b"@time", b"@edited", b"text"]


def test_a_deleted_post_is_gone_everywhere_and_its_number_stays(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    publish(door, ann, "a")
    door.follow(bob, ann)
    publish(door, ann, "b", "c")
    for seq in (1, 3):
        door.delete_post(ann, seq, ann)
        door.delete_post(ann, seq, "-")  # again is no error
    disturb(door)
    assert door.follow(cat, ann) == (1, 0)
    for user in (bob, cat, ann):
        assert door.home(user).names == [f"{ann}/2"]
    assert door.get(bob, f"{ann}/1", f"{ann}/2")[0] is None
    assert door.author(bob, ann)["posts"] == 1
    assert publish(door, ann, "d") == [f"{ann}/4"]


def test_only_the_author_or_the_application_changes_a_post(door: Door, own: Own) -> None:
    ann = own("ann")
    publish(door, ann, "a")
    with pytest.raises(Refused, match="NOPERM"):
        door.edit_post(ann, 1, "x", own("eve"))
    with pytest.raises(Refused, match="NOPERM"):
        door.delete_post(ann, 1, own("eve"))
    door.edit_post(ann, 1, "b", "-")
    assert door.home(ann).posts[0].text == "b"
    door.delete_post(ann, 1, "-")
    acts: list[Callable[[], None]] = [
        lambda: door.edit_post(ann, 1, "x", ann),
        lambda: door.edit_post(ann, 2, "x", ann),
        lambda: door.delete_post(ann, 2, ann),
        lambda: door.delete_post(own("nobody"), 1, "-"),
    ]
    for act in acts:
        with pytest.raises(Refused, match=r"NOTFOUND .*there is no post"):
            act()


# --- following ------------------------------------------------------------------------------------


def test_a_home_shows_whom_its_owner_follows_and_themselves_newest_first(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    publish(door, ann, "1")
    publish(door, bob, "2")
    publish(door, cat, "3")
    assert door.follow(cat, ann, bob, ann) == (2, 0)
    publish(door, bob, "4")
    publish(door, cat, "5")
    publish(door, ann, "6")
    disturb(door)
    assert [post.text for post in door.home(cat).posts] == ["6", "5", "4", "3", "2", "1"]
    assert [post.text for post in door.home(bob).posts] == ["4", "2"]


def test_following_brings_the_newest_posts_of_before(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    publish(door, ann, *"abcdef")
    door.follow(bob, ann)
    assert door.home(bob).names == [f"{ann}/{seq}" for seq in (6, 5, 4, 3)]


def test_unfollowing_and_following_again_hold_at_the_next_read(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob = own("ann"), own("bob")
    publish(door, ann, "a")
    assert door.follow(bob, ann) == (1, 0)
    assert door.follow(bob, ann) == (0, 0)
    publish(door, ann, "b")
    assert door.unfollow(bob, ann) == 1
    assert door.unfollow(bob, ann, own("nobody")) == 0
    disturb(door)
    assert door.home(bob).names == []
    publish(door, ann, "c")
    assert door.home(bob).names == []
    door.follow(bob, ann)
    publish(door, ann, "d")
    disturb(door)
    assert door.home(bob).names == [f"{ann}/{seq}" for seq in (4, 3, 2, 1)]


def test_lists_of_both_sides_show_the_newest_first_by_pages(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann = own("ann")
    fans = [own(f"fan{number}") for number in range(5)]
    publish(door, ann, "a")
    for fan in fans:
        publish(door, fan, "x")
        door.follow(fan, ann)
        door.follow(ann, fan)
    door.unfollow(fans[1], ann)
    disturb(door)
    expected = [fans[4], fans[3], fans[2], fans[0]]
    first = door.followers(ann, limit=3)
    assert (first.users, first.total) == (expected[:3], 4)
    assert door.followers(ann, first.cursor, 3) == (expected[3:], 4, "")
    first = door.following(ann, limit=3)
    assert (first.users, first.total) == (fans[:1:-1], 5)
    assert door.following(ann, first.cursor, 3) == (fans[1::-1], 5, "")
    assert door.relation(ann, fans[0], fans[1], own("nobody")) == [
        ["following", "follows"], ["following"], [],
    ]  # fmt: skip
    assert door.author(fans[1], ann) == {
        "posts": 1, "followers": 4, "following": 5, "protected": 0, "relation": ["follows"],
        "meta": {},
    }  # fmt: skip


# --- pages and diffusion --------------------------------------------------------------------------


def test_pages_join_to_what_the_home_was_whatever_is_published_meanwhile(
    door: Door, own: Own
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    publish(door, ann, "a")
    door.follow(cat, ann)
    publish(door, bob, "b")
    door.follow(cat, bob)
    for number in range(6):
        publish(door, (ann, bob, cat)[number % 3], str(number))
    whole = door.home(cat).names
    found = []
    for number, page in enumerate(pages(door, cat, 3)):
        found += page.names
        publish(door, (ann, bob)[number % 2], "meanwhile")
    assert found == whole


def test_pages_neither_repeat_nor_miss_while_a_feed_changes_its_diffusion(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, cat = own("ann"), own("cat")
    fans = [own(f"fan{number}") for number in range(4)]
    publish(door, ann, "before")
    door.follow(cat, ann)
    publish(door, ann, *"12")
    door.follow(fans[0], ann)
    door.follow(fans[1], ann)
    door.follow(fans[2], ann)  # above the limit: pulled from here on
    publish(door, ann, *"34")
    disturb(door)
    page = door.home(cat, limit=2)
    assert [post.text for post in page.posts] == ["4", "3"]
    for fan in fans[:3]:
        door.unfollow(fan, ann)  # delivered from here on
    publish(door, ann, *"56")
    rest = door.home(cat, page.cursor, 10)
    assert [post.text for post in rest.posts] == ["2", "1", "before"]
    assert [post.text for post in door.home(cat).posts] == ["6", "5", "4", "3", "2", "1", "before"]
    door.follow(fans[3], ann)
    assert [post.text for post in door.home(fans[3]).posts] == ["6", "5", "4", "3"]


# --- refusals -------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused_and_changes_nothing(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    publish(door, ann, "a")
    for code, act in (
        ("NOTFOUND", lambda: door.follow(bob, ann, own("nobody"))),
        ("ERR", lambda: door.follow(ann, ann)),
        ("ERR", lambda: door.follow("-", ann)),
        ("ERR", lambda: door.follow(bob, "@system")),
        ("TOOLARGE", lambda: door.follow(bob, *(str(number) for number in range(101)))),
        ("NOTFOUND", lambda: door.home(own("nobody"))),
        ("NOTFOUND", lambda: door.profile(ann, own("nobody"))),
        ("NOTFOUND", lambda: door.followers(own("nobody"))),
        ("NOTFOUND", lambda: door.author(ann, own("nobody"))),
        ("ERR", lambda: door.home(ann, "5")),
        ("ERR", lambda: door.home(ann, "99999999999999999999-0")),
        ("ERR", lambda: door.profile(ann, ann, "-1")),
        ("ERR", lambda: door.followers(ann, "x-1")),
        ("ERR", lambda: door.get(ann, "17")),
        ("ERR", lambda: door.get(ann, "/17")),
        ("ERR", lambda: door.get(ann, f"{ann}/x")),
        ("ERR", lambda: door.publish("@feed", "a")),
        ("ERR", lambda: door.publish("", "a")),
        ("ERR", lambda: door.publish(ann, "a", key="")),
    ):
        with pytest.raises(Refused, match=f"^{code} "):
            act()
    assert door.relation(bob, ann) == [[]]
    assert door.author(bob, ann)["followers"] == 0
    assert door.profile(ann, ann).names == [f"{ann}/1"]


def test_a_user_follows_a_limited_number_and_is_told_which_option_says_so(
    door: Door, own: Own
) -> None:
    ann = own("ann")
    authors = [own(f"author{number}") for number in range(9)]
    for author in authors:
        publish(door, author, "a")
    door.follow(ann, *authors[:7])
    with pytest.raises(Refused, match=r"^TOOLARGE .*following_limit"):
        door.follow(ann, *authors[7:])
    assert door.following(ann).total == 7
    assert door.follow(ann, authors[7], authors[0]) == (1, 0)
    door.unfollow(ann, authors[0])
    assert door.follow(ann, authors[8]) == (1, 0)


def test_fields_of_the_store_are_not_the_authors_to_give(tmp_path: Path) -> None:
    with timeline.open(tmp_path, search=False) as db:
        for fields in ({"@time": "1"}, {}, {"text": b"\xff"}):
            with pytest.raises(TimelineError):
                db.feeds.publish("ann", fields)
        assert "ann" not in str(list(db.engine.view.names()))
