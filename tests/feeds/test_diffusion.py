"""A feed that changes its way of diffusion again and again: no home tells the difference."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import Clock
from timeline.commit.draft import Draft
from timeline.embedded.database import Database
from timeline.errors import UsageError
from timeline.feeds import following, publishing
from timeline.feeds.access import find_feed


def home(db: Database, user: str) -> list[str]:
    return [post.text("text") for post in db.feeds.home(user).posts]


def stretches(db: Database, author: str) -> list[tuple[int, int]]:
    feed = find_feed(db.engine.view, author.encode())
    assert feed is not None
    return [(each.first, each.last) for each in feed.row.pulled]


def test_many_switches_are_remembered_in_a_bounded_row_and_cost_no_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_STRETCHES", 3)
    with timeline.open(tmp_path, search=False, feed_diffusion_limit=2) as db:
        db.feeds.publish("ann", {"text": "0"})
        db.feeds.follow("bob", ["ann"])
        for number in range(1, 20, 2):
            db.feeds.publish("ann", {"text": str(number)})  # delivered
            for user in ("cat", "dan"):
                db.feeds.follow(user, ["ann"])
            db.feeds.publish("ann", {"text": str(number + 1)})  # pulled
            for user in ("bob", "cat", "dan"):
                assert home(db, user) == [str(each) for each in range(number + 1, -1, -1)]
            for user in ("cat", "dan"):
                db.feeds.unfollow(user, ["ann"])
        found = stretches(db, "ann")
        assert len(found) == 3
        assert found[0][0] == 3, "the first post that was pulled: the oldest stretches are one"
        assert all(one[1] < other[0] for one, other in pairwise(found))


def test_with_a_limit_of_0_everything_is_pulled_and_nothing_delivered(tmp_path: Path) -> None:
    with timeline.open(tmp_path, search=False, feed_diffusion_limit=0) as db:
        db.feeds.publish("ann", {"text": "0"})
        for _ in range(3):
            db.feeds.follow("bob", ["ann"])
            db.feeds.publish("ann", {"text": "x"})
            db.feeds.unfollow("bob", ["ann"])
        db.feeds.follow("bob", ["ann"])
        assert home(db, "bob") == ["x", "x", "x", "0"]
        kinds = {entry.text("kind") for entry in db.timeline("@home:bob").range()}
        assert kinds == {"follow", "unfollow"}, "what bob did, and no post"


def test_a_limit_beyond_what_one_commit_can_switch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="feed_diffusion_limit is at most 1000"):
        timeline.open(tmp_path, feed_diffusion_limit=1_001)


def test_a_page_that_ends_within_a_commit_goes_on_there_when_the_home_has_forgotten_it(
    tmp_path: Path,
) -> None:
    """What was delivered is pulled then."""
    clock = Clock()
    with (
        clock.installed(),
        timeline.open(tmp_path, search=False, fsync="inline", inbox_age_ms=1_000) as db,
    ):
        for author in ("ann", "bob"):
            db.feeds.publish(author, {"text": "0"})
        db.feeds.follow("cat", ["ann", "bob"])
        keys = db.messaging.messages.keys

        def publish_three(draft: Draft) -> None:
            for author in (b"ann", b"bob", b"ann"):
                items = [b"text", author]
                publishing.publish(draft, author, items, keys=keys, options=db.engine.options)

        db.engine.commit(publish_three)
        whole = [post.name for post in db.feeds.home("cat").posts]
        assert whole == ["ann/3", "bob/2", "ann/2", "bob/1", "ann/1"]
        for limit in (1, 2, 3):
            page = db.feeds.home("cat", limit=limit)
            clock.now += 2_000
            db.compact()
            db.engine.store.expiry._next_round = 0.0
            while db.engine.work():
                pass
            rest = db.feeds.home("cat", after=page.cursor)
            assert [post.name for post in [*page.posts, *rest.posts]] == whole
