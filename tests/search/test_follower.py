"""What is edited, recalled, trimmed or said in a timeline that is indexed, the index says too."""

from __future__ import annotations

from tests.search.indexes import stats, texts
from timeline.embedded.database import Database


def test_an_edit_replaces_and_a_recall_removes(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "old word"})
    db.messaging.send("team", "ann", {"text": "second word"})
    assert texts(db) == ["second word", "old word"]
    db.messaging.edit("team", 1, actor="ann", fields={"text": "new word"})
    assert texts(db) == ["second word", "new word"]
    assert texts(db, "old") == []
    db.messaging.recall("team", 2, actor="ann")
    assert texts(db) == ["new word"]
    assert stats(db)["index_documents"] == 1


def test_a_recalled_message_is_not_shown_before_the_index_knows(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "old word"})
    assert texts(db) == ["old word"]
    indexer = db.index.searchable
    indexer.stop()
    db.messaging.recall("team", 1, actor="ann")
    assert db.messaging.search("bob", "word").hits == []
    assert db.search("word").hits == []


def test_raw_timelines_are_indexed_where_an_option_says_so(db: Database) -> None:
    db.timeline("log:a").append({"text": "a word", "who": "me"})
    db.timeline("other").append({"text": "a word"})
    page = db.search("word", wait=20)
    assert [(hit.timeline, hit.seq, hit.snippet) for hit in page.hits] == [
        (b"log:a", 1, "a <b>word</b>")
    ]
    db.timeline("log:a").delete(1)
    assert db.search("word", wait=20).hits == []
    assert texts(db) == [], "what is in no conversation is nobody's"


def test_a_field_that_comes_twice_is_found_by_both_values(db: Database) -> None:
    with db.transaction() as tx:
        tx.append("log:a", [("text", 'a "word"\n'), ("text", "another \\ 添加\0 one")])
    for query in ("word", "another", "添加"):
        assert [hit.seq for hit in db.search(query, wait=20).hits] == [1]


def test_what_was_trimmed_leaves_the_index(db: Database) -> None:
    log = db.timeline("log:a")
    log.append_many([{"text": f"word {number}"} for number in range(5)])
    assert db.search("word", wait=20).total == 5
    log.trim(before=4)
    page = db.search("word", wait=20)
    assert ([hit.seq for hit in page.hits], page.total) == ([5, 4], 2)
    log.trim(length=0)
    log.append({"text": "another word"})
    assert db.search("word", wait=20).total == 1
    assert stats(db)["index_documents"] == 1


def test_what_is_not_utf8_breaks_nothing(db: Database) -> None:
    db.messaging.create("raw", "ann", members=["bob"], binary=True)
    db.messaging.send("raw", "ann", {"text": b"\xff\xfe word \xf0\x9f", "title": b"\x00\xff"})
    assert len(db.messaging.search("bob", "word", wait=20).hits) == 1
