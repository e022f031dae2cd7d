"""Syncs of readers at their bounds: bytes of a page, very many authors, what must not be told."""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.embedded.feedpages import FeedSyncPage

_MIB = 1 << 20


def catch_up(db: Database, user: str, cursor: str, limit: int) -> list[str]:
    """What a device is told after a cursor, page by page."""
    told: list[str] = []
    page: FeedSyncPage | None = None
    while page is None or page.more:
        page = db.feeds.sync(user, "phone", after=cursor, limit=limit)
        assert not page.resync
        assert len(page.entries) <= limit
        told += [f"{each.kind} {each.author}/{each.seq}" for each in page.entries]
        cursor = page.cursor
    return told


@pytest.mark.parametrize("names", ["repost", "quote", "reply"])
def test_a_page_ends_with_the_bytes_of_what_its_posts_name(tmp_path: Path, names: str) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        db.feeds.publish("ann", {"text": "hello"})
        db.feeds.follow("bob", ["ann"])
        for _ in range(12):
            db.feeds.publish("big", {"text": "x" * (_MIB - 1_000)})
        cursor = db.feeds.home("bob").position
        for number in range(1, 13):
            name = f"big/{number}"
            fields = {} if names == "repost" else {"text": "look"}
            if names == "reply":
                db.feeds.publish("ann", fields, reply=name)
            else:
                db.feeds.publish("ann", fields, repost=name)
        page = db.feeds.sync("bob", "phone", after=cursor, limit=1_000)
        assert (len(page.entries), len(page.refs), page.more) == (5, 5, True)
        told = catch_up(db, "bob", cursor, 1_000)
        assert told == [f"post ann/{number}" for number in range(2, 14)]
        db.feeds.set("bob", "big", {"@mute": "1"})
        if names == "repost":  # what is read to find out that it is not shown counts too
            page = db.feeds.sync("bob", "phone", after=cursor, limit=1)
            assert (page.entries, page.more) == ([], True)
            assert catch_up(db, "bob", cursor, 1) == ["mute big/0"]


def test_a_page_ends_with_the_bytes_of_what_its_notes_name(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False, note_window_ms=0) as db:
        for _ in range(12):
            db.feeds.publish("ann", {"text": "hello"})
        cursor = db.feeds.home("ann").position
        for number in range(1, 13):
            db.feeds.publish("big", {"text": "x" * (_MIB - 1_000)}, reply=f"ann/{number}")
        page = db.feeds.sync("ann", "phone", after=cursor, limit=1_000)
        assert (len(page.entries), page.more) == (5, True)
        told = catch_up(db, "ann", cursor, 1_000)
        assert told == [f"note ann/{number}" for number in range(1, 13)]


def test_whoever_pulls_very_many_authors_is_told_of_all_in_order(tmp_path: Path) -> None:
    """More than one page looks at. Some posts are deleted while the device catches up."""
    authors = [f"a{number}" for number in range(530)]
    with timeline.open(
        tmp_path / "store", search=False, fsync="inline", feed_diffusion_limit=0
    ) as db:
        for author in authors:
            db.feeds.publish(author, {"text": "0"})
        for at in range(0, len(authors), 100):
            db.feeds.follow("bob", authors[at : at + 100])
        cursor = db.feeds.home("bob").position
        expected = []
        for number in (2, 3):
            for author in reversed(authors):
                db.feeds.publish(author, {"text": "x"})
                expected.append(f"post {author}/{number}")
        told: list[str] = []
        while len(told) < 300:
            page = db.feeds.sync("bob", "phone", after=cursor, limit=100)
            told += [f"{each.kind} {each.author}/{each.seq}" for each in page.entries]
            cursor = page.cursor
        for name in ("a100", "a5", "a4"):  # not told of yet
            db.feeds.delete(name, 2)
        db.feeds.edit("a200", 1, "a200", {"text": "again"})
        told += catch_up(db, "bob", cursor, 100)
        gone = ["a100/2", "a5/2", "a4/2"]
        expected = [each for each in expected if each.removeprefix("post ") not in gone]
        assert told == expected + [f"delete {name}" for name in gone] + ["edit a200/1"]


@pytest.mark.parametrize("limit", [0, 500], ids=["pulled", "pushed"])
def test_what_happens_to_posts_of_who_is_muted_is_told(tmp_path: Path, limit: int) -> None:
    """The device may hold them, and shows them again after the mute."""
    with timeline.open(tmp_path / "store", search=False, feed_diffusion_limit=limit) as db:
        for text in ("1", "2"):
            db.feeds.publish("ann", {"text": text})
        db.feeds.follow("bob", ["ann"])
        db.feeds.set("bob", "ann", {"@mute": "1"})
        cursor = db.feeds.home("bob").position
        db.feeds.edit("ann", 1, "ann", {"text": "again"})
        db.feeds.delete("ann", 2)
        db.feeds.publish("ann", {"text": "unheard"})
        assert catch_up(db, "bob", cursor, 10) == ["edit ann/1", "delete ann/2"]


@pytest.mark.parametrize("limit", [0, 500], ids=["pulled", "pushed"])
def test_only_who_could_see_a_post_hears_of_its_deletion(tmp_path: Path, limit: int) -> None:
    with timeline.open(tmp_path / "store", search=False, feed_diffusion_limit=limit) as db:
        db.feeds.publish("ann", {"text": "hello"})
        for user in ("bob", "cat"):
            db.feeds.follow(user, ["ann"])
        db.feeds.publish("dan", {"text": "hello"})
        db.feeds.publish("ann", {"text": "for bob"}, audience="named", mentions=["bob", "dan"])
        cursor = db.feeds.home("ann").position
        db.feeds.edit("ann", 2, "ann", {"text": "again"})
        db.feeds.delete("ann", 2)
        assert catch_up(db, "bob", cursor, 10) == ["delete ann/2"]
        assert catch_up(db, "cat", cursor, 10) == []
        assert catch_up(db, "ann", cursor, 10) == ["delete ann/2"]
