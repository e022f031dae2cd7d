"""What a search of posts promises, through both doors: what FEED.PROFILE and FEED.HOME show."""

# ruff: noqa: ANN401  options of a search

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from tests.engine.adapters import Refused
from tests.feeds.doors import Door, Post, Results
from tests.messaging.promises import Own

OPTIONS = {"feed_diffusion_limit": 2, "feed_backfill": 2, "search": True, "search_commit_ms": 10}


@pytest.fixture
def word(own: Own) -> str:
    """A word that is in the posts of no other test."""
    return own("word").replace("-", "")


def names(door: Door, viewer: str, query: str, **options: Any) -> list[str]:
    """All hits, on one page, and its total."""
    page = door.search(viewer, query, **options)
    assert (page.total, page.exact, page.cursor) == (len(page.hits), True, "")
    return page.names


# --- what is found --------------------------------------------------------------------------------


def test_posts_are_found_newest_first_a_page_at_a_time(door: Door, own: Own, word: str) -> None:
    ann, bob = own("ann"), own("bob")
    posts = [door.publish((ann, bob)[at % 2], f"{word} {at}")[0] for at in range(5)]
    door.publish(ann, "something else")
    found: list[str] = []
    cursor = ""
    while True:
        page = door.search("somebody", word, limit=2, after=cursor)
        assert (page.total, page.exact) == (5, True)
        found += page.names
        cursor = page.cursor
        if not cursor:
            break
        assert len(page.hits) == 2
    assert found == posts[::-1]


def test_a_hit_is_the_post_with_its_matches_marked(door: Door, own: Own, word: str) -> None:
    ann = own("ann")
    name, _ = door.publish(ann, f"a {word} <of> hers", tags=[word], key="k")
    (hit,) = door.search(ann, word).hits
    assert hit.snippet == f"a <b>{word}</b> &lt;of&gt; hers"
    (post,) = door.get(ann, name)
    assert post is not None
    assert hit.fields == post.fields


def test_an_edit_and_a_deletion_are_found_at_once(
    door: Door, own: Own, word: str, disturb: Callable[[Door], None]
) -> None:
    ann = own("ann")
    for text in ("first", "second"):
        door.publish(ann, f"{word} {text}")
    assert names(door, "somebody", word) == [f"{ann}/2", f"{ann}/1"]
    door.edit_post(ann, 1, f"{word} edited", ann)
    door.edit_post(ann, 2, "other", ann)
    disturb(door)
    assert names(door, "somebody", word) == [f"{ann}/1"]
    assert names(door, "somebody", f"{word} first") == []
    assert names(door, "somebody", f'"{word} edited"') == [f"{ann}/1"]
    door.delete_post(ann, 1)
    disturb(door)
    assert names(door, "somebody", word) == []


def test_a_repost_is_found_by_words_of_its_own_only(door: Door, own: Own, word: str) -> None:
    ann, bob = own("ann"), own("bob")
    post, _ = door.publish(ann, word)
    door.publish(bob, None, repost=post)
    quote, _ = door.publish(bob, f"{word} quoted", repost=post)
    reply, _ = door.publish(bob, f"{word} replied", reply=post)
    assert names(door, "somebody", word) == [reply, quote, post]
    assert names(door, "somebody", word, author=bob) == [reply, quote]


def test_a_tag_is_found_as_it_was_given_with_words_or_without(
    door: Door, own: Own, word: str
) -> None:
    ann, bob = own("ann"), own("bob")
    sun, rain = f"{word}-sun", f"{word} rain"
    one, _ = door.publish(ann, "one", tags=[sun, rain])
    two, _ = door.publish(bob, "one two", tags=[sun])
    door.publish(bob, f"one {sun}")
    assert names(door, "somebody", "", tag=sun) == [two, one]
    assert names(door, "somebody", "  ", tag=rain) == [one]
    assert names(door, "somebody", "two", tag=sun) == [two]
    assert names(door, "somebody", "NOT two", tag=sun) == [one]
    assert names(door, "somebody", "", tag=sun, author=bob) == [two]
    for other in (word, sun.upper(), sun[:-1], "sun"):
        assert names(door, "somebody", "", tag=other) == []
    door.edit_post(ann, 1, "edited", ann)
    assert names(door, "somebody", "edited", tag=sun) == [one]


def test_filters_of_time(door: Door, own: Own, word: str) -> None:
    ann = own("ann")
    post, _ = door.publish(ann, word)
    (hit,) = door.search(ann, word).hits
    time = int(dict(hit.fields)[b"@time"])
    for options in ({"since": time}, {"until": time}, {"since": time, "until": time}):
        assert names(door, ann, word, **options) == [post]
    assert names(door, ann, word, since=time + 1) == []
    assert names(door, ann, word, until=time - 1) == []


def test_messages_and_raw_timelines_are_no_posts(door: Any, own: Own, word: str) -> None:
    ann = own("ann")
    post, _ = door.publish(ann, word)
    door.create(own("team"), ann, members=[own("bob")])
    door.send(own("team"), ann, {"text": word})
    assert names(door, ann, word) == [post]
    assert names(door, ann, word, home=True) == [post]


# --- for whom -------------------------------------------------------------------------------------


def test_a_home_is_whom_the_viewer_follows_and_they_themselves(
    door: Door, own: Own, word: str
) -> None:
    me, ann, bob = own("me"), own("ann"), own("bob")
    door.publish(me, f"{word} mine")
    for number in range(4):
        door.publish(ann, f"{word} {number}")
    door.publish(bob, word)
    assert names(door, me, word, home=True) == [f"{me}/1"]
    door.follow(me, ann)
    door.publish(ann, f"{word} new")
    home = [f"{ann}/{seq}" for seq in (5, 4, 3)]
    assert names(door, me, word, home=True) == [*home, f"{me}/1"]
    assert names(door, me, word, home=True, author=ann) == home
    assert names(door, me, word, home=True, author=me) == [f"{me}/1"]
    assert names(door, me, word, home=True, author=bob) == []
    assert names(door, me, word, author=ann) == [f"{ann}/{seq}" for seq in (5, 4, 3, 2, 1)]
    door.unfollow(me, ann)
    assert names(door, me, word, home=True) == [f"{me}/1"]


def test_a_home_leaves_out_what_it_does_not_show(door: Door, own: Own, word: str) -> None:
    me, ann, bob = own("me"), own("ann"), own("bob")
    post, _ = door.publish(bob, word)
    door.publish(ann, "hello")
    door.follow(me, ann, bob)
    reply, _ = door.publish(ann, f"{word} replied", reply=post)
    quote, _ = door.publish(ann, f"{word} quoted", repost=post)
    assert names(door, me, word, home=True) == [quote, reply, post]
    door.set_about(me, ann, replies="0")
    assert names(door, me, word, home=True) == [quote, post]
    door.set_about(me, bob, mute="1")
    assert names(door, me, word, home=True) == [quote]
    assert names(door, me, word) == [quote, reply, post], "a mute hides nothing that one looks for"
    assert names(door, me, word, author=bob) == [post]
    door.set_about(me, ann, mute="1")
    assert names(door, me, word, home=True) == []
    door.set_about(me, bob, mute="0")
    assert names(door, me, word, home=True) == [post]


def test_a_block_hides_each_from_the_other(
    door: Door, own: Own, word: str, disturb: Callable[[Door], None]
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    for author in (ann, bob):
        door.publish(author, word, tags=[word])
    assert names(door, ann, word) == [f"{bob}/1", f"{ann}/1"]
    door.block(bob, ann)
    disturb(door)
    for viewer, other in ((ann, bob), (bob, ann)):
        assert names(door, viewer, word) == [f"{viewer}/1"]
        assert names(door, viewer, "", tag=word) == [f"{viewer}/1"]
        with pytest.raises(Refused, match="NOPERM there is no user"):
            door.search(viewer, word, author=other)
    assert names(door, cat, word) == [f"{bob}/1", f"{ann}/1"]
    door.unblock(bob, ann)
    assert names(door, ann, word) == [f"{bob}/1", f"{ann}/1"]


def test_posts_of_a_protected_author_are_found_by_followers_only(
    door: Door, own: Own, word: str
) -> None:
    ann, fan, other = own("ann"), own("fan"), own("other")
    door.publish(fan, "hello")
    door.publish(ann, word)
    door.publish(ann, f"{word} for some", audience="named", mentions=[fan])
    both = [f"{ann}/2", f"{ann}/1"]
    door.set_about(ann, ann, protected="1")
    assert names(door, ann, word) == both
    for viewer in (fan, other):
        assert names(door, viewer, word) == [], "as their profile shows it"
        with pytest.raises(Refused, match=r"NOPERM .* is protected"):
            door.search(viewer, word, author=ann)
    door.follow(fan, ann)
    assert names(door, fan, word) == [], "asked, and not answered yet"
    door.answer(ann, fan, "accept")
    assert names(door, fan, word) == names(door, fan, word, author=ann) == both
    assert names(door, fan, word, home=True) == both
    door.remove(ann, fan)
    assert names(door, fan, word) == []
    door.set_about(ann, ann, protected="0")
    assert names(door, fan, word) == both
    assert names(door, other, word) == [f"{ann}/1"]


def test_posts_for_some_are_found_by_them(door: Door, own: Own, word: str) -> None:
    ann, fan, friend = own("ann"), own("fan"), own("friend")
    for user in (ann, fan, friend):
        door.publish(user, "hello")
    door.follow(fan, ann)
    fans, _ = door.publish(ann, f"{word} fans", audience="followers")
    named, _ = door.publish(ann, f"{word} named", audience="named", mentions=[friend])
    assert names(door, ann, word) == [named, fans]
    assert names(door, fan, word) == names(door, fan, word, home=True) == [fans]
    assert names(door, friend, word) == [named]
    assert names(door, "somebody", word) == []


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "options", "refusal"),
    [
        ("", {}, "ERR there is no word in this query"),
        (" ", {"home": True}, "ERR there is no word in this query"),
        ('"', {"tag": "sun"}, "ERR there is no word in this query"),
        ("a*", {}, "ERR the beginning of a word"),
        ("x" * 5_000, {}, "TOOLARGE a query is at most"),
        ("word", {"tag": ""}, "ERR the id of a tag"),
        ("word", {"tag": "x" * 256}, "ERR the id of a tag"),
        ("word", {"tag": b"\xff"}, "ERR the id of a tag"),
        ("word", {"author": "@ann"}, "ERR the id of a user"),
        ("word", {"author": ""}, "ERR the id of a user"),
        ("word", {"author": "nobody at all"}, "NOTFOUND there is no user"),
        ("word", {"limit": 0}, "ERR"),
        ("word", {"after": "1-2-3"}, "ERR the token"),
        ("word", {"after": "2-1"}, "ERR the token"),
        ("word", {"since": -1}, "ERR"),
    ],
)
def test_bad_input_is_refused_and_the_next_search_works(
    door: Door, own: Own, word: str, query: str, options: dict[str, Any], refusal: str
) -> None:
    ann = own("ann")
    door.publish(ann, word)
    assert names(door, ann, word) == [f"{ann}/1"]
    with pytest.raises(Refused) as refused:
        door.search(ann, query, **options)
    assert str(refused.value).startswith(refusal)
    assert names(door, ann, word) == [f"{ann}/1"]


def test_who_searches_may_be_unknown_but_has_no_home(door: Door, own: Own, word: str) -> None:
    door.publish(own("ann"), word)
    assert names(door, own("stranger"), word) == [f"{own('ann')}/1"]
    with pytest.raises(Refused, match="NOTFOUND there is no user"):
        door.search(own("stranger"), word, home=True)
    for viewer in ("", "-", "@ann", "x" * 256):
        with pytest.raises(Refused, match="ERR the id of a user"):
            door.search(viewer, word)


def test_an_author_without_posts_has_none_to_find(door: Door, own: Own, word: str) -> None:
    door.publish(own("ann"), word)
    door.follow(own("fan"), own("ann"))
    assert door.search("somebody", word, author=own("fan")) == Results(0, True, [], "")


# --- all pairs of a drawn graph -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_of_a_drawn_graph_find_what_profiles_and_homes_show(
    door: Door, own: Own, word: str, seed: int
) -> None:
    drawn = Random(seed)
    users = [own(name) for name in ("ann", "bob", "cat", "dan", "eve")]
    for user in users:
        door.publish(user, f"{word} {user}")
    for _ in range(6):
        for _ in range(20):
            with suppress(Refused):
                act(door, drawn, users, word)
        for viewer in users:
            compare(door, viewer, users, word)


def act(door: Door, drawn: Random, users: list[str], word: str) -> None:
    user, other = drawn.sample(users, 2)
    posts = door.profile(other, other).names
    post = drawn.choice(posts) if posts else f"{other}/1"
    audience = drawn.choice(["everybody", "followers", "named"])
    text = f"{drawn.choice([word, 'other'])} {drawn.random()}"
    acts: list[Callable[[], object]] = [
        lambda: door.publish(user, text, audience=audience, mentions=[other], tags=[word]),
        lambda: door.publish(user, text, reply=post),
        lambda: door.publish(user, drawn.choice([text, None]), repost=post),
        lambda: door.edit_post(other, int(post.rpartition("/")[2]), text),
        lambda: door.delete_post(other, int(post.rpartition("/")[2])),
        lambda: door.follow(user, other),
        lambda: door.follow(user, other),
        lambda: door.unfollow(user, other),
        lambda: door.answer(other, user, drawn.choice(["accept", "reject"])),
        lambda: door.block(user, other),
        lambda: door.unblock(user, other),
        lambda: door.set_about(user, user, protected=drawn.choice("01")),
        lambda: door.set_about(user, other, mute=drawn.choice("01")),
        lambda: door.set_about(user, other, replies=drawn.choice("01")),
    ]
    drawn.choice(acts)()


def compare(door: Door, viewer: str, users: list[str], word: str) -> None:
    everything: set[str] = set()
    tagged: set[str] = set()
    for author in users:
        try:
            posts = door.profile(viewer, author).posts
        except Refused as refused:
            with pytest.raises(Refused, match=re.escape(str(refused))):
                door.search(viewer, word, author=author)
            continue
        fitting = fits(posts, word)
        assert names(door, viewer, word, author=author, limit=100) == fitting
        everything.update(fitting)
        tagged.update(post.name for post in posts if word in post.values("@tags"))
    assert set(names(door, viewer, word, limit=1_000)) == everything
    assert set(names(door, viewer, "", tag=word, limit=1_000)) == tagged
    home = fits(door.home(viewer, limit=1_000).posts, word)
    assert names(door, viewer, word, home=True, limit=1_000) == home


def fits(posts: list[Post], word: str) -> list[str]:
    return [
        post.name
        for post in posts
        if post.kind != "repost" and any(word in text.split() for text in post.values("text"))
    ]
