"""The promise: whoever runs the store learns why a post is in a home, or not, and it is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.errors import NotFoundError, UsageError


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(
        tmp_path, search=False, feed_diffusion_limit=1, feed_backfill=2, repost_window=3
    ) as opened:
        yield opened


def why(db: Database, user: str, post: str) -> str:
    """The reason that is given, after a look at whether the home agrees."""
    reason = db.feeds.inspect(user, post=post).post
    assert reason is not None
    assert reason.post == post
    assert reason.shown == (post in [each.name for each in db.feeds.home(user).posts])
    return reason.why


def test_a_post_is_in_a_home_or_not_for_a_reason(db: Database) -> None:
    feeds = db.feeds
    for text in "abc":
        feeds.publish("ann", {"text": text})
    feeds.publish("cat", {"text": "x"})
    feeds.follow("bob", ["ann"])
    feeds.publish("ann", {"text": "d"})
    feeds.publish("bob", {"text": "mine"})
    feeds.follow("cat", ["ann"])  # two followers: from here on it is pulled
    feeds.publish("ann", {"text": "e"})
    feeds.publish("ann", {"text": "f"}, audience="named", mentions=["cat"])
    feeds.publish("ann", repost="cat/1")
    feeds.publish("ann", {"text": "g"})
    feeds.delete("ann", 8)
    feeds.follow("bob", ["cat"])
    expected = {
        "ann/1": "they followed later, and see the older posts from number 2 on",
        "ann/2": "it is pulled: it was there when they followed",
        "ann/4": "it was delivered",
        "ann/5": "it is pulled: its feed was read-diffused when it was published",
        "ann/6": "they may not see it, or what it reposts",
        "ann/7": "it is pulled: its feed was read-diffused when it was published",
        "ann/8": "it was deleted",
        "ann/9": "there never was such a post",
        "bob/1": "it is their own",
        "zoe/1": "there never was such a post",
    }
    assert {post: why(db, "bob", post) for post in expected} == expected
    feeds.publish("cat", {"text": "y"})
    feeds.publish("ann", repost="cat/2")
    assert why(db, "bob", "ann/9").startswith("it is a repost, and the same post")
    feeds.set("bob", "ann", {"@mute": "1"})
    assert why(db, "bob", "ann/4").startswith("they mute its author")
    feeds.unfollow("bob", ["ann"])
    assert why(db, "bob", "ann/4") == "they do not follow its author"


def test_feeds_and_homes_are_described(db: Database) -> None:
    feeds = db.feeds
    feeds.publish("ann", {"text": "x"})
    feeds.follow("bob", ["ann"])
    feeds.publish("ann", {"text": "y"})
    feeds.edit("ann", 2, fields={"text": "z"})
    found = feeds.inspect("ann")
    assert (found.id, found.home, found.post) == ("ann", None, None)
    feed = found.feed
    assert feed is not None
    assert (feed.posts, feed.head, feed.events, feed.followers) == (2, 2, 1, 1)
    assert (feed.diffusion, feed.read_diffused, feed.delivered_to) == ("write", [], 1)
    feeds.follow("cat", ["ann"])
    feeds.set("ann", "ann", {"@protected": "1", "@pin": "1"})
    feeds.publish("dan", {"text": "x"})
    feeds.follow("dan", ["ann"])
    feed = feeds.inspect("ann").feed
    assert feed is not None
    assert (feed.diffusion, feed.read_diffused, feed.delivered_to) == ("read", [[3, 0]], 0)
    assert (feed.protected, feed.pinned, feed.requests) == (True, 1, 1)
    home = feeds.inspect("bob").home
    assert home is not None
    assert (home.references, home.following, home.blocked, home.ties) == (3, 1, 0, False)
    feeds.block("bob", ["cat"])
    home = feeds.inspect("bob").home
    assert home is not None
    assert (home.blocked, home.ties) == (1, True)
    feeds.follow("bob", ["dan"])
    feeds.unfollow("bob", ["dan"])
    feed = feeds.inspect("dan").feed
    assert feed is not None
    assert (feed.followers, feed.delivered_to) == (0, 0)
    with pytest.raises(NotFoundError):
        feeds.inspect("zoe")
    with pytest.raises(UsageError):
        feeds.inspect("ann", post="x")
