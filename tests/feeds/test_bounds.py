"""What bounds a command of feeds: bytes of a page, users named, feeds switched, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.embedded.feedpages import HomePage, PostPage
from timeline.errors import CorruptError, NotFoundError, TooLargeError, UsageError
from timeline.feeds import profile
from timeline.feeds.access import find_feed
from timeline.formats.keys import pair
from timeline.storage.rocks import SEGMENTS


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(
        tmp_path, search=False, feed_diffusion_limit=1, home_cache_bytes=3_000
    ) as opened:
        yield opened


def home(db: Database, user: str) -> list[str]:
    return [post.name for post in db.feeds.home(user).posts]


def is_pulled(db: Database, author: str) -> bool:
    feed = find_feed(db.engine.view, author.encode())
    assert feed is not None
    return feed.pulled


def test_a_page_of_large_posts_ends_sooner_and_goes_on(db: Database) -> None:
    for number in range(7):
        db.feeds.publish("ann", {"text": str(number), "pad": "x" * 900_000})
    db.feeds.follow("bob", ["ann"])
    reads: list[Callable[[str], HomePage | PostPage]] = [
        lambda after: db.feeds.profile("bob", "ann", after=after),
        lambda after: db.feeds.home("bob", after=after),
    ]
    for read in reads:
        page = read("")
        assert [post.text("text") for post in page.posts] == list("65432")
        page = read(page.cursor)
        assert [post.text("text") for post in page.posts] == list("10")
        assert not page.cursor
    names = [b"ann/%d" % number for number in range(1, 8)]
    with pytest.raises(TooLargeError, match="exceed 3000000 bytes: ask for fewer"):
        profile.get(db.engine.view, b"bob", names, 3_000_000)


def test_edits_of_a_post_do_not_push_others_off_the_page(db: Database) -> None:
    db.feeds.publish("ann", {"text": "score"})
    db.feeds.follow("bob", ["ann"])
    db.feeds.publish("ann", {"text": "news"})
    for number in range(1_000):
        db.feeds.edit("ann", 2, "ann", {"text": f"news {number}"})
    assert home(db, "bob") == ["ann/2", "ann/1"]


def test_one_command_names_a_hundred_users_at_most(db: Database) -> None:
    many = [f"user{number}" for number in range(101)]
    for act in (db.feeds.follow, db.feeds.unfollow, db.feeds.relation):
        with pytest.raises(TooLargeError, match="at most 100 users"):
            act("ann", many)
    assert len(db.feeds.relation("ann", many[:100])) == 100


def test_one_command_switches_a_few_feeds_and_the_others_later(db: Database) -> None:
    authors = [f"author{number}" for number in range(6)]
    for author in authors:
        db.feeds.publish(author, {"text": "before"})
    db.feeds.follow("ann", authors)
    db.feeds.follow("bob", authors)
    assert [is_pulled(db, author) for author in authors] == [True] * 4 + [False] * 2
    for author in authors:
        db.feeds.publish(author, {"text": "after"})
    expected = [f"{author}/{seq}" for seq in (2, 1) for author in reversed(authors)]
    assert home(db, "ann") == home(db, "bob") == expected
    db.feeds.publish("cat", {"text": "hello"})
    db.feeds.follow("cat", authors[4:])
    assert all(is_pulled(db, author) for author in authors)
    db.feeds.publish(authors[5], {"text": "more"})
    assert home(db, "ann") == ["author5/3", *expected]


def test_a_page_of_followers_may_be_as_long_as_anybody_asks(db: Database) -> None:
    db.feeds.publish("ann", {"text": "x"})
    db.feeds.follow("bob", ["ann"])
    assert db.feeds.followers("bob", "ann", limit=2**64 - 1).total == 1
    assert db.feeds.following("bob", "bob", limit=2**64 - 1).total == 1


def test_a_post_has_one_name_and_a_token_is_looked_at_first(db: Database) -> None:
    db.feeds.publish("ann", {"text": "x"})
    for name in ("ann/007", "ann/0", "ann/" + "9" * 20, "ann/ 1"):
        with pytest.raises(UsageError, match="author/number"):
            db.feeds.get("ann", [name])
    for read in (db.feeds.followers, db.feeds.following, db.feeds.profile):
        with pytest.raises(UsageError, match="token"):
            read("ann", "nobody", after="junk")
    with pytest.raises(UsageError, match="token"):
        db.feeds.home("nobody", after="junk")


def test_to_follow_nobody_makes_nobody(db: Database) -> None:
    assert db.feeds.follow("ann", []) == (0, 0)
    with pytest.raises(NotFoundError):
        db.feeds.home("ann")


def test_homes_are_forgotten_beyond_their_bytes_and_read_anew(db: Database) -> None:
    users = [f"user{number}" for number in range(9)]
    for user in users:
        db.feeds.publish(user, {"text": "x"})
    for user in users:
        db.feeds.follow(user, [other for other in users if other != user])
    whole = home(db, "user0")
    assert [home(db, user) for user in users] == [whole] * 9
    homes = db.feeds.feeds.homes
    assert len(homes) == 1, "each takes more than all may"
    db.feeds.unfollow("user0", users[1:])
    assert home(db, "user0") == ["user0/1"]
    assert homes.size < 3_000


def test_a_read_that_failed_leaves_nothing_half_read(tmp_path: Path) -> None:
    authors = ["ann", "bob", "cat"]
    with timeline.open(tmp_path, search=False, feed_diffusion_limit=0) as db:
        for author in authors:
            db.feeds.publish(author, {"text": "x"})
        db.feeds.follow("me", authors)
        db.feeds.publish("bob", {"text": "y"})
        db.compact()
        feed = find_feed(db.engine.view, b"bob")
        assert feed is not None
        storage = db.engine.store.storage
        found = storage.at_or_after(SEGMENTS, pair(feed.id, 1), pair(feed.id + 1, 0))
        assert found is not None
        for value in (b"damaged", found[1]):
            batch = storage.batch()
            batch.put(SEGMENTS, found[0], value)
            storage.write(batch)
            if value != found[1]:
                for _ in range(3):
                    with pytest.raises(CorruptError):
                        db.feeds.home("me")
        assert home(db, "me") == ["bob/2", "cat/1", "bob/1", "ann/1"]
