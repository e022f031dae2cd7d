"""What posts that name others promise, through both doors: replies, reposts, quotes, audiences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import timeline
from tests.engine.adapters import Refused
from tests.feeds.doors import Door, Page
from tests.messaging.promises import Own
from timeline.commit.draft import Draft
from timeline.feeds import publishing

Restart = Callable[[Door], None]

OPTIONS = {
    "feed_diffusion_limit": 2, "feed_backfill": 50, "repost_window": 3, "search": False,
}  # fmt: skip


def publish(door: Door, author: str, *texts: str) -> list[str]:
    return [door.publish(author, text)[0] for text in texts]


def repost(door: Door, user: str, post: str) -> str:
    name, status = door.publish(user, None, repost=post)
    assert status == "stored"
    return name


def delete(door: Door, post: str) -> None:
    author, _, seq = post.rpartition("/")
    door.delete_post(author, int(seq))


def counts(door: Door, post: str) -> dict[str, int]:
    (found,) = door.get(post.rpartition("/")[0], post)
    assert found is not None
    return found.counts


# --- what posts name ------------------------------------------------------------------------------


def test_replies_are_read_oldest_first_a_page_at_a_time(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    (post,) = publish(door, ann, "question")
    names = [door.publish(user, str(at), reply=post)[0] for at, user in enumerate([cat, bob, cat])]
    disturb(door)
    page = door.replies(ann, post, limit=2)
    assert [each.text for each in page.posts] == ["0", "1"]
    assert {each.kind for each in page.posts} == {"reply"}
    assert [each.values("@reply") for each in page.posts] == [[post], [post]]
    assert list(page.refs) == [post]
    names.append(door.publish(bob, "3", reply=post)[0])
    page = door.replies(ann, post, page.cursor, 2)
    assert (page.names, page.cursor) == (names[2:], "")
    assert counts(door, post) == {"replies": 4}
    assert door.profile(ann, bob, without="replies").names == []
    delete(door, names[1])
    disturb(door)
    assert door.replies(ann, post).names == [names[0], *names[2:]]
    assert counts(door, post) == {"replies": 3}
    with pytest.raises(Refused, match="cursor of the page before"):
        door.replies(ann, post, "1-2")


def test_a_repost_is_shown_with_what_it_reposts_and_goes_with_it(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, bob, cat, dan = own("ann"), own("bob"), own("cat"), own("dan")
    first, second = publish(door, ann, "first", "second")
    publish(door, bob, "hello")
    door.follow(cat, bob)
    name = repost(door, bob, first)
    quote, _ = door.publish(bob, "look", repost=second)
    disturb(door)
    page = door.home(cat)
    assert page.names == [quote, name, f"{bob}/1"]
    assert [post.kind for post in page.posts] == ["post", "repost", "post"]
    assert {at: post and post.text for at, post in page.refs.items()} == {
        second: "second",
        first: "first",
    }
    assert counts(door, first) == {"reposts": 1}
    assert counts(door, second) == {"quotes": 1}
    assert door.profile(dan, bob, without="reposts").names == [quote, f"{bob}/1"]
    delete(door, first)
    delete(door, second)
    disturb(door)
    page = door.home(cat)
    assert (page.names, page.refs) == ([quote, f"{bob}/1"], {second: None})
    assert door.profile(dan, bob).names == [quote, f"{bob}/1"]
    assert door.get(cat, name) == [None]


def test_a_post_is_reposted_once_by_each_user(door: Door, own: Own, disturb: Restart) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    (post,) = publish(door, ann, "x")
    first = repost(door, bob, post)
    disturb(door)
    assert door.publish(bob, None, repost=post) == (first, "duplicate")
    assert door.publish(bob, None, repost=first) == (first, "duplicate")
    assert door.publish(bob, "a quote", repost=post)[1] == "stored"
    again = repost(door, cat, first)  # of a repost is of what that reposts
    (found,) = door.get(ann, again)
    assert found is not None
    assert found.values("@repost") == [post]
    assert counts(door, post) == {"reposts": 2, "quotes": 1}
    delete(door, first)
    delete(door, first)
    assert counts(door, post) == {"reposts": 1, "quotes": 1}
    assert repost(door, bob, post) == f"{bob}/3"
    assert counts(door, post) == {"reposts": 2, "quotes": 1}
    reply, _ = door.publish(ann, "to a repost", reply=again)
    assert door.replies(ann, post).names == [reply]


def test_a_repost_of_a_quote_shows_both_posts_below(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    (post,) = publish(door, ann, "x")
    quote, _ = door.publish(bob, "look", repost=post)
    name = repost(door, cat, quote)
    page = door.home(cat)
    assert page.names == [name]
    assert set(page.refs) == {quote, post}


def test_a_reposts_key_answers_even_when_the_post_is_gone(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    (post,) = publish(door, ann, "x")
    first = door.publish(bob, "so it is", reply=post, key="k")[0]
    delete(door, post)
    assert door.publish(bob, "so it is", reply=post, key="k") == (first, "duplicate")
    for changed in ({}, {"reply": post, "tags": ["x"]}, {"reply": post, "audience": "followers"}):
        with pytest.raises(Refused, match="CONFLICT"):
            door.publish(bob, "so it is", key="k", **changed)
    assert door.publish(bob, "so it is", reply=post, key="k", audience="everybody")[0] == first


def test_a_key_of_a_repost_that_was_there_stands_for_it(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    (post,) = publish(door, ann, "x")
    name = repost(door, bob, post)
    assert door.publish(bob, None, repost=post, key="k") == (name, "duplicate")
    delete(door, name)
    assert door.publish(bob, None, repost=post, key="k") == (name, "duplicate")
    with pytest.raises(Refused, match="CONFLICT"):
        door.publish(bob, "another", key="k")
    assert counts(door, post) == {}


def test_an_edit_keeps_what_a_post_names(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    (post,) = publish(door, ann, "x")
    reply, _ = door.publish(bob, "y", reply=post, mentions=[ann, ann], tags=["b", "a", "b"])
    door.edit_post(bob, 1, "z")
    (found,) = door.get(ann, reply)
    assert found is not None
    assert (found.kind, found.text) == ("reply", "z")
    assert (found.values("@mentions"), found.values("@tags")) == ([ann], ["b", "a"])
    assert counts(door, post) == {"replies": 1}
    repost(door, bob, post)
    with pytest.raises(Refused, match="ERR a repost has no fields of its own to edit"):
        door.edit_post(bob, 2, "mine now")


# --- who may see a post ---------------------------------------------------------------------------


def test_a_post_is_seen_by_those_it_is_for_and_nobody_else(
    door: Door, own: Own, disturb: Restart
) -> None:
    ann, fan, named, other = own("ann"), own("fan"), own("named"), own("other")
    for user in (ann, named, other):
        publish(door, user, "hello")
    door.follow(fan, ann)
    door.follow(named, ann)
    public = f"{ann}/1"
    some = door.publish(ann, "to followers", audience="followers")[0]
    one = door.publish(ann, "to one", audience="named", mentions=[named])[0]
    seen = {ann: [one, some, public], fan: [some, public], named: [one, some, public]}
    disturb(door)
    for user, names in (*seen.items(), (other, [public])):
        assert door.profile(user, ann).names == names
        found = door.get(user, one, some, public)
        assert [post and post.name for post in found] == [
            name if name in names else None for name in (one, some, public)
        ]
        if user != other:
            assert [name for name in door.home(user).names if name.startswith(ann)] == names
    door.unfollow(fan, ann)
    assert door.profile(fan, ann).names == [public]
    for post in (one, some, f"{ann}/99"):  # in the same words
        for option in ("reply", "repost"):
            with pytest.raises(Refused, match=f"NOPERM there is no post '{post}', or none that"):
                door.publish(other, "y", **{option: post})
        with pytest.raises(Refused, match=f"NOPERM there is no post '{post}', or none that"):
            door.replies(other, post)
    assert door.publish(named, "thanks", reply=one)[1] == "stored"


def test_a_repost_shows_nobody_what_they_may_not_see(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    publish(door, ann, "hello")
    publish(door, bob, "hello")
    for fan in (bob, cat):
        door.follow(fan, ann)
    door.follow(cat, bob)
    post = door.publish(ann, "to followers", audience="followers")[0]
    publish(door, bob, *"abc")
    name = repost(door, bob, post)
    quote, _ = door.publish(bob, "look", repost=post)
    assert door.home(cat).names[:2] == [quote, name]
    door.unfollow(cat, ann)
    page = door.home(cat)
    assert (page.names[0], page.refs) == (quote, {post: None})
    assert name not in page.names
    assert door.get(cat, name, quote)[0] is None


# --- homes ----------------------------------------------------------------------------------------


def pages(door: Door, user: str, limit: int) -> list[Page]:
    found = [door.home(user, limit=limit)]
    while found[-1].cursor:
        found.append(door.home(user, found[-1].cursor, limit))
    return found


def test_a_repost_is_left_out_when_the_same_stands_close_below(door: Door, own: Own) -> None:
    ann, bob, cat, eve = own("ann"), own("bob"), own("cat"), own("eve")
    for user in (ann, bob, cat):
        publish(door, user, "hello")
    door.follow(eve, ann, bob, cat)
    (post,) = publish(door, ann, "news")
    repost(door, bob, post)  # the original is just below
    other = publish(door, ann, "1", "2", "3")
    name = repost(door, cat, post)  # three posts and a repost further
    assert [each for page in pages(door, eve, 100) for each in page.names] == [
        name, *reversed(other), post, f"{cat}/1", f"{bob}/1", f"{ann}/1",
    ]  # fmt: skip
    for limit in (1, 2, 3, 5):
        assert [each for page in pages(door, eve, limit) for each in page.names] == [
            each for page in pages(door, eve, 100) for each in page.names
        ]
    door.delete_post(ann, 4)  # now it stands close enough
    assert name not in door.home(eve).names


@pytest.mark.parametrize("limit", [500, 0])
def test_what_is_no_post_does_not_part_a_repost_from_what_it_reposts(
    tmp_path: Path, limit: int
) -> None:
    """Edits come to a home only where posts are delivered, and no reader may tell."""
    with timeline.open(tmp_path, search=False, feed_diffusion_limit=limit) as db:
        feeds = db.feeds
        for author in ("ann", "bob", "cat"):
            feeds.publish(author, {"text": "x"})
        feeds.follow("eve", ["ann", "bob", "cat"])
        post = feeds.publish("ann", {"text": "news"})

        def edit_often(draft: Draft) -> None:
            for number in range(1_000):
                items = [b"text", b"%d" % number]
                publishing.edit(draft, b"ann", 1, b"-", items, db.engine.options)

        db.engine.commit(edit_often)
        for _ in range(100):  # nobody sees these
            feeds.publish("cat", {"text": "x"}, audience="named", mentions=["bob"])
        feeds.publish("bob", repost=f"ann/{post.seq}")
        names = [each.name for each in feeds.home("eve").posts]
        assert names == ["ann/2", "cat/1", "bob/1", "ann/1"]


def test_who_is_unfollowed_stays_in_what_friends_repost(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post, _ = publish(door, ann, "news", "more")
    publish(door, bob, "hello")
    door.follow(cat, ann, bob)
    publish(door, bob, *"abcd")
    name = repost(door, bob, post)
    assert post in door.home(cat).names
    door.unfollow(cat, ann)
    page = door.home(cat)
    assert page.names[0] == name
    assert [each for each in page.names if each.startswith(ann)] == []
    assert page.refs[post] is not None


# --- bad input ------------------------------------------------------------------------------------


def test_what_a_post_cannot_be_is_refused_and_nothing_changes(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    (post,) = publish(door, ann, "x")
    publish(door, bob, "y")
    refused: list[tuple[str | None, dict[str, object], str]] = [
        (None, {}, "ERR"),
        (None, {"reply": post}, "ERR"),
        (None, {"repost": post, "reply": post}, "ERR a repost without fields"),
        (None, {"repost": post, "tags": ["a"]}, "ERR a repost without fields"),
        (None, {"repost": post, "mentions": [ann]}, "ERR a repost without fields"),
        ("z", {"repost": "ann"}, "ERR a post is written author/number"),
        ("z", {"reply": ""}, "ERR a post is written author/number"),
        ("z", {"reply": "@feed:x/1"}, "ERR the id of a user"),
        ("z", {"audience": "friends"}, "ERR a post is for one of everybody, followers, named"),
        ("z", {"audience": "named"}, "ERR a post for those whom it names mentions somebody"),
        ("z", {"mentions": [own("nobody")]}, "NOTFOUND there is no user"),
        ("z", {"mentions": ["-"]}, "ERR the id of a user"),
        ("z", {"mentions": [f"u{n}" for n in range(65)]}, "TOOLARGE a post mentions at most 64"),
        ("z", {"tags": [f"t{n}" for n in range(33)]}, "TOOLARGE a post has at most 32 tags"),
        ("z", {"tags": [""]}, "ERR the id of a tag is 1 to 255 bytes long"),
        ("z", {"tags": ["a\nb"]}, "ERR the id of a tag may not hold control characters"),
    ]
    for text, options, words in refused:
        with pytest.raises(Refused, match=words):
            door.publish(bob, text, **options)
    assert door.profile(ann, bob).names == [f"{bob}/1"]
    assert counts(door, post) == {}
    with pytest.raises(Refused, match="ERR a profile can be without replies or reposts"):
        door.profile(ann, bob, without="quotes")
