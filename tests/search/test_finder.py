"""Entries and timelines are found by callers who may see everything."""

from __future__ import annotations

import pytest

from timeline.embedded.database import Database
from timeline.errors import NotFoundError


def test_entries_are_found_in_the_timelines_named(db: Database) -> None:
    db.timeline("log:a").append({"text": "word a"})
    db.timeline("log:b").append({"text": "word b"})
    page = db.search("word", timelines=["log:b"], wait=20)
    assert [hit.timeline for hit in page.hits] == [b"log:b"]
    with pytest.raises(NotFoundError, match="no timeline 'log:c'"):
        db.search("word", timelines=["log:c"])


def test_metadata_is_found_by_words_and_by_values(db: Database) -> None:
    db.timeline("a").append({"x": "1"})
    db.timeline("b").append({"x": "1"})
    db.timeline("a").set_metadata({"city": "São Paulo", "owner": "Team Blue"})
    db.timeline("b").set_metadata({"city": "Oslo", "owner": "blue"})
    assert [name for name, _ in db.find("blue", wait=20)] == [b"a", b"b"]
    assert [name for name, _ in db.find("owner:blue")] == [b"b"]
    assert db.find('city:"sao paulo"') == [
        (b"a", {b"city": "São Paulo".encode(), b"owner": b"Team Blue"})
    ]
    assert [name for name, _ in db.find("blue NOT city:oslo")] == [b"a"]
    assert [name for name, _ in db.find("owner:bl*")] == [b"b"]
    assert [name for name, _ in db.find('owner:"team bl"*')] == [b"a"]
    assert [name for name, _ in db.find('city:"sao pa"* OR city:os*')] == [b"a", b"b"]
    assert db.find("owner:lue*") == []
    db.timeline("a").set_metadata({"city": "", "owner": ""})
    assert [name for name, _ in db.find("blue", wait=20)] == [b"b"]
    db.timeline("b").drop()
    assert db.find("blue", wait=20) == []
