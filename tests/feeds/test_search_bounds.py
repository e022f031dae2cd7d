"""What bounds a search of posts, and what an index that lags or was made otherwise makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.search.indexes import OPTIONS
from timeline.embedded.database import Database
from timeline.embedded.feedpages import SearchPage
from timeline.errors import IndexLagError, UsageError
from timeline.search import storeindex
from timeline.search.index import schema


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        yield db


def search(db: Database, viewer: str, query: str = "word", *, after: str = "") -> SearchPage:
    return db.feeds.search(viewer, query, limit=2, after=after, wait=20)


def names(page: SearchPage) -> list[str]:
    return [hit.name for hit in page.hits]


def test_a_page_passes_a_bounded_number_of_hidden_posts_and_goes_on(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.pages._FIRST_HITS", 4)
    monkeypatch.setattr("timeline.search.pages._MOST_HITS", 8)
    db.feeds.publish("bob", {"text": "a word of bob"})
    for number in range(20):
        db.feeds.publish("ann", {"text": f"word {number}"}, audience="followers")
    page = search(db, "somebody")
    assert (page.total, page.exact, page.hits) == (0, False, []), "hidden posts are not counted"
    pages = 1
    while page.cursor and not page.hits:
        page = search(db, "somebody", after=page.cursor)
        pages += 1
    assert (names(page), page.cursor) == (["bob/1"], "")
    assert pages > 1


def test_posts_that_a_viewer_may_not_see_change_no_answer(db: Database) -> None:
    """Not the total, not the cursor, not which pages are full."""

    def look() -> list[SearchPage]:
        found = [search(db, "somebody")]
        while found[-1].cursor:
            found.append(search(db, "somebody", after=found[-1].cursor))
        return found

    for number in range(4):
        db.feeds.publish("ann", {"text": f"word {number}"})
    before = look()
    assert [len(page.hits) for page in before] == [2, 2]
    for _ in range(3):
        db.feeds.publish("bob", {"text": "word"}, audience="followers")
    assert look() == before
    assert search(db, "bob").total == 7


def test_the_total_is_exact_up_to_a_bound(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.search.pages.COUNTED", 5)
    for number in range(6):
        db.feeds.publish("ann", {"text": f"word {number}"})
        page = search(db, "somebody")
        assert (page.total, page.exact) == (min(number + 1, 5), number < 5)


def test_a_post_without_text_is_found_by_its_tags_and_by_what_it_lacks(db: Database) -> None:
    db.feeds.publish("ann", {"image": "1.jpg"}, tags=["sun"])
    db.feeds.publish("ann", {"image": "2.jpg"})
    page = db.feeds.search("bob", "", tag="sun", wait=20)
    assert [(hit.name, hit.snippet) for hit in page.hits] == [("ann/1", "")]
    assert names(search(db, "bob", "NOT word")) == ["ann/1"]
    assert [hit.seq for hit in db.search("NOT word").hits] == [1]
    assert db.search("NOT word").total == 1


def test_an_index_that_lags_shows_posts_as_they_are_now(db: Database) -> None:
    db.feeds.publish("bob", {"text": "hello"})
    for number in range(3):
        db.feeds.publish("ann", {"text": f"word {number}"})
    assert search(db, "bob").total == 3
    db.index.searchable.stop()
    db.feeds.edit("ann", 3, "ann", {"text": "changed"})
    db.feeds.delete("ann", 2)
    db.feeds.publish("ann", {"text": "word"})
    page = db.feeds.search("bob", "word")
    assert [hit.text("text") for hit in page.hits] == ["changed", "word 0"]
    db.feeds.block("ann", ["bob"])
    assert db.feeds.search("bob", "word").hits == []
    with pytest.raises(IndexLagError):
        db.feeds.search("bob", "word", wait=0.001)


def test_whoever_reads_beside_the_owner_searches_too(db: Database, tmp_path: Path) -> None:
    db.feeds.publish("ann", {"text": "word"}, tags=["sun"])
    assert names(search(db, "bob")) == ["ann/1"]
    with timeline.open(tmp_path / "store", OPTIONS, read_only=True) as reader:
        assert names(search(reader, "bob")) == ["ann/1"]
        assert names(reader.feeds.search("ann", "", tag="sun", home=True)) == ["ann/1"]


def test_without_an_index_there_is_no_search(tmp_path: Path) -> None:
    with timeline.open(tmp_path, replace(OPTIONS, search=False)) as db:
        db.feeds.publish("ann", {"text": "word"})
        with pytest.raises(UsageError, match="search is off"):
            search(db, "ann")


@pytest.mark.parametrize("former", ["feeds unknown", "schema 1"])
def test_an_index_made_before_posts_were_searched_is_built_again(
    tmp_path: Path, former: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if former == "schema 1":
            patch.setattr(schema, "VERSION", 1)
        else:
            patch.setattr(storeindex, "FEEDS", b"none:")
        with timeline.open(tmp_path, OPTIONS) as db:
            db.messaging.create("team", "ann")
            db.messaging.send("team", "ann", {"text": "word"})
            db.feeds.publish("ann", {"text": "word"}, tags=["sun"])
            db.feeds.publish("ann", {"text": "word two"})
            db.feeds.edit("ann", 2, "ann", {"text": "other"})
            db.feeds.publish("ann", {"text": "word three"})
            db.feeds.delete("ann", 3)
            assert db.messaging.search("ann", "word", wait=20).total == 1
    with timeline.open(tmp_path, OPTIONS) as db:
        assert names(search(db, "bob")) == ["ann/1"]
        assert names(search(db, "bob", "other")) == ["ann/2"]
        assert names(db.feeds.search("bob", "", tag="sun")) == ["ann/1"]
        assert db.messaging.search("ann", "word").total == 1
        assert db.index.searchable.builds == 1
    with timeline.open(tmp_path, OPTIONS) as db:
        assert names(search(db, "bob")) == ["ann/1"]
        assert db.index.searchable.builds == 0, "it is there already"
