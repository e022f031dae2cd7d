"""The promise: an inspection shows what lies in a store as it is, also where it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from timeline.admin.inspection import (
    ReferenceFacts,
    inspect_segment,
    inspect_store,
    inspect_timeline,
    kind_of,
    plain,
)
from timeline.errors import NotFoundError
from timeline.formats.actions import FOLLOW
from timeline.formats.feeds import POST


@pytest.fixture
def db(tmp_path: Path) -> Iterator[timeline.Database]:
    with timeline.open(tmp_path / "data", search=False, fsync="inline") as db:
        db.timeline("a").append_many([{"n": str(number)} for number in range(3)])
        db.engine.seal()
        db.timeline("a").append({"n": "3"})
        db.messaging.create("team", "ann", members=["bob"])
        yield db


def test_a_store_counts_what_it_holds(db: timeline.Database) -> None:
    facts = inspect_store(db.engine, {})
    assert (facts.timelines, facts.conversations, facts.users) == (1, 1, 2)
    assert facts.log.last == db.log.head
    assert facts.log.sealed < facts.log.last


def test_a_timeline_tells_its_segments_and_its_tail(db: timeline.Database) -> None:
    facts = inspect_timeline(db.engine, b"a")
    assert (facts.first, facts.head, facts.length) == (1, 4, 4)
    assert [(each.last, each.entries) for each in facts.segments] == [(3, 3)]
    assert facts.tail == 1


def test_a_segment_tells_its_entries(db: timeline.Database) -> None:
    found = inspect_segment(db.engine, b"a", 2)
    assert found.intact
    assert [row.seq for row in found.rows if not hasattr(row, "ordinal")] == [1, 2, 3]


def test_what_is_not_sealed_is_in_no_segment(db: timeline.Database) -> None:
    with pytest.raises(NotFoundError, match="not sealed"):
        inspect_segment(db.engine, b"a", 4)


def test_another_name_that_may_be_meant_is_told(db: timeline.Database) -> None:
    with pytest.raises(NotFoundError, match="@conv:team"):
        inspect_timeline(db.engine, b"team")


def test_a_name_tells_the_kind() -> None:
    names = (b"a", b"a:b", b"@conv:team", b"@event:team", b"@user:ann")
    assert [kind_of(name) for name in names] == [
        "timeline", "timeline", "conversation", "events", "inbox",
    ]  # fmt: skip
    names_of_feeds = (b"@feed:ann", b"@feedevent:ann", b"@home:ann")
    assert [kind_of(name) for name in names_of_feeds] == ["feed", "feed-events", "home"]


def test_a_home_tells_its_references(db: timeline.Database) -> None:
    db.feeds.publish("zoe", {"text": "hello"})
    db.feeds.follow("bob", ["zoe"])
    for text in ("one", "two"):
        db.feeds.publish("zoe", {"text": text})
    facts = inspect_timeline(db.engine, b"@home:bob")
    assert (facts.kind, facts.length, facts.head) == ("home", 3, db.log.head)
    db.engine.seal()
    (segment,) = inspect_timeline(db.engine, b"@home:bob").segments
    found = inspect_segment(db.engine, b"@home:bob", segment.last)
    rows = [row for row in found.rows if isinstance(row, ReferenceFacts)]
    assert [(row.kind, row.seq) for row in rows] == [(FOLLOW, 0), (POST, 2), (POST, 3)]


def test_a_feed_that_may_be_meant_is_told(db: timeline.Database) -> None:
    db.feeds.publish("zoe", {"text": "hello"})
    with pytest.raises(NotFoundError, match="@feed:zoe"):
        inspect_timeline(db.engine, b"zoe")


def test_facts_are_plain_values(db: timeline.Database) -> None:
    found = plain(inspect_timeline(db.engine, b"a"))
    assert found["segments"][0]["last"] == 3
