"""The index follows the store: what it holds, what it costs the log, how it comes back."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.stores import SMALL
from timeline.embedded.database import Database
from timeline.errors import IndexLagError, NotFoundError, UsageError
from timeline.formats.conversations import DYING
from timeline.messaging.access.access import find_conversation
from timeline.search.build import Build
from timeline.search.follower import Follower
from timeline.search.index.index import Index, IndexDamageError, IndexFaultError
from timeline.search.upkeep import CONSUMER

OPTIONS = replace(
    SMALL, fsync="inline", search=True, search_commit_ms=10, search_prefixes=("log:",)
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        yield db


def texts(db: Database, query: str = "word", user: str = "bob") -> list[str]:
    page = db.messaging.search(user, query, limit=100, wait=20)
    return [hit.text("text") for hit in page.hits]


def stats(db: Database) -> dict[str, int | str]:
    return db.messaging.messages.searchable.stats()


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
    indexer = db.messaging.messages.searchable
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


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_many_timelines_of_one_commit_are_paged_through(db: Database, limit: int) -> None:
    """Their first entries share a rank."""
    order = [5, 2, 9, 0, 7, 1, 8, 3, 6, 4]
    with db.transaction() as transaction:
        for number in order:
            transaction.append(f"log:{number}", {"text": "word"})
    found: list[bytes] = []
    cursor = ""
    while True:
        page = db.search("word", limit=limit, after=cursor, wait=20)
        found += [hit.timeline for hit in page.hits]
        cursor = page.cursor
        if not cursor:
            break
    assert found == [b"log:%d" % number for number in reversed(order)]


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


def test_what_is_not_utf8_breaks_nothing(db: Database) -> None:
    db.messaging.create("raw", "ann", members=["bob"], binary=True)
    db.messaging.send("raw", "ann", {"text": b"\xff\xfe word \xf0\x9f", "title": b"\x00\xff"})
    assert len(db.messaging.search("bob", "word", wait=20).hits) == 1


def test_what_comes_without_end_is_found_before_its_end(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, ended = Follower.step, threading.Event()

    def step_and_send(follower: Follower) -> bool:
        """There is always more to take in."""
        more = step(follower)
        if not ended.is_set():
            db.timeline("log:a").append({"text": "and more"})
        return more

    db.messaging.send("team", "ann", {"text": "the first word"})
    monkeypatch.setattr(Follower, "step", step_and_send)
    try:
        assert texts(db, "first") == ["the first word"]
    finally:
        ended.set()


def test_a_lost_index_is_built_anew(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(20):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
        db.compact()
        before = texts(db)
    shutil.rmtree(path / "index")
    with timeline.open(path, OPTIONS) as db:
        assert texts(db) == before
        assert stats(db)["index_builds"] == 1


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_a_damaged_index_is_built_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(20):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
        before = texts(db)
    (generation,) = (path / "index").glob("generation-*")
    for file in generation.iterdir():
        content = file.read_bytes()
        changed = {"empty": b"", "cut": content[: len(content) // 2], "garbage": b"x" * 50}
        file.write_bytes(changed[damage])
    with timeline.open(path, OPTIONS) as db:
        assert texts(db) == before


def test_other_fields_make_another_index(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word", "body": "flesh"})
        assert texts(db, "flesh") == []
    with timeline.open(path, OPTIONS, search_fields=("body",)) as db:
        assert texts(db, "flesh") == ["word"]
        assert texts(db, "word") == []


def test_a_copy_that_goes_its_own_way_gets_an_index_of_its_own(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word"})
        assert texts(db) == ["word"]
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    with timeline.open(tmp_path / "copy", OPTIONS, new_epoch=True) as db:
        assert texts(db) == ["word"]
        assert stats(db)["index_builds"] == 1


def test_the_log_is_kept_for_the_index_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        assert texts(db) == []
        reached = db.log.checkpoint(CONSUMER)
        assert reached == db.log.head
    with timeline.open(path, OPTIONS, search=False) as db:
        assert db.log.checkpoint(CONSUMER) == reached, "looking harms nothing"
    with timeline.open(path, OPTIONS, search=False) as db:
        db.messaging.send("team", "ann", {"text": "unseen word"})
        with pytest.raises(UsageError, match="search is off"):
            db.messaging.search("bob", "word")
    with timeline.open(path, OPTIONS, search=False) as db, pytest.raises(NotFoundError):
        db.log.checkpoint(CONSUMER)
    with timeline.open(path, OPTIONS) as db:
        assert texts(db) == ["unseen word"]


def test_a_writer_that_dies_is_opened_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    add = Index.add
    fails = iter([True, True, False])

    def failing(index: Index, document: object) -> None:
        if next(fails, False):
            raise IndexFaultError("an index writer\nwas killed")
        add(index, document)  # type: ignore[arg-type]

    assert texts(db) == []
    monkeypatch.setattr(Index, "add", failing)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    assert stats(db)["index_failures"] == 2
    assert stats(db)["index_last_failure"] == "an index writer was killed", "on one line"


def test_an_index_that_goes_on_failing_is_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    assert texts(db) == []
    commit = Index.commit
    fails = iter([True, True, True])

    def failing(index: Index, checkpoint: object) -> None:
        if next(fails, False):
            raise IndexFaultError("cannot write")
        commit(index, checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "commit", failing)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    assert stats(db)["index_builds"] == 2
    assert stats(db)["index_failures"] == 3


def test_what_has_nothing_to_index_is_no_lag(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it cost a commit of the index for each who waits."""
    monkeypatch.setattr("timeline.search.upkeep._QUIET_SECONDS", 3_600.0)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    commits = []
    commit = Index.commit

    def counted(index: Index, checkpoint: object) -> None:
        commits.append(checkpoint)
        commit(index, checkpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "commit", counted)
    for _ in range(3):
        db.timeline("raw").append_many([{"n": "1"}] * 100)
        assert texts(db) == ["word"]
        assert stats(db)["index_lag"] == 0
        assert stats(db)["index_lsn"] == db.log.head
    assert commits == []
    db.messaging.send("team", "ann", {"text": "another word"})
    assert len(texts(db)) == 2
    assert len(commits) == 1


def test_an_index_that_contradicts_itself_is_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    with monkeypatch.context() as patch:
        patch.setattr("timeline.search.search.Search._collect", unreadable)
        with pytest.raises(IndexLagError, match="damaged"):
            db.messaging.search("bob", "word")
    assert texts(db) == ["word"]
    assert stats(db)["index_builds"] == 2


def unreadable(*_: object) -> None:
    raise IndexDamageError("data corrupted")


def test_the_old_index_serves_while_another_is_built(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    go_on = threading.Event()
    indexer = db.messaging.messages.searchable
    step = Build.step
    monkeypatch.setattr(Build, "step", lambda build: not go_on.is_set() or step(build))
    before = indexer.index
    indexer.rebuild()
    while not stats(db)["index_building"] and indexer.alive:
        pass
    db.messaging.send("team", "ann", {"text": "second word"})
    assert texts(db) == ["second word", "first word"]
    assert stats(db)["index_building"] == 1
    go_on.set()
    while before.path.exists() and indexer.alive:
        pass
    assert indexer.index is not before
    assert texts(db) == ["second word", "first word"]


@pytest.mark.parametrize(
    "changes",
    [
        {"search_fields": ()},
        {"search_fields": ("",)},
        {"search_prefixes": ("@user:",)},
        {"search_prefixes": ("",)},
        {"search_commit_ms": 0},
        {"search_fields": "text"},
        {"search": "yes"},
        {"write_buffer_bytes": "16 MiB"},
        {"slice_ms": "1"},
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        timeline.open(tmp_path / "store", **changes)


def test_waiting_too_long_says_so(db: Database) -> None:
    indexer = db.messaging.messages.searchable
    assert texts(db) == []
    indexer.stop()
    db.messaging.send("team", "ann", {"text": "word"})
    with pytest.raises(IndexLagError, match="try again later"):
        db.messaging.search("bob", "word", wait=0.01)
    assert db.messaging.search("bob", "word").hits == []


@pytest.mark.parametrize(
    "token", ["x", "1-2-3", "1-2-3-4", "-1-2-3-4.", "1-2-3-4.x", "9" * 21 + "-1-1-1."]
)
def test_forged_tokens_are_refused(db: Database, token: str) -> None:
    assert texts(db) == []
    with pytest.raises(UsageError, match="cursor of the page before"):
        db.messaging.search("bob", "word", after=token)


def test_a_foreign_token_shows_nothing_foreign(db: Database) -> None:
    db.messaging.create("secret", "ann")
    db.messaging.send("secret", "ann", {"text": "secret word"})
    db.messaging.send("team", "ann", {"text": "word"})
    db.messaging.send("team", "ann", {"text": "word again"})
    assert texts(db) == ["word again", "word"]
    token = f"{2**64 - 1}-1-1-1000+"
    page = db.messaging.search("bob", "word", after=token)
    assert [hit.text("text") for hit in page.hits] == ["word again", "word"]


def test_what_is_being_deleted_is_neither_shown_nor_counted(db: Database) -> None:
    for name in ("team", "large"):
        if name == "large":
            db.messaging.create(name, "ann", members=["bob"])
        db.messaging.send(name, "ann", {"text": f"word of {name}"})
    assert texts(db) == ["word of large", "word of team"]
    engine = db.engine
    with engine.lock:  # as the first of several commits that delete a large conversation does
        draft = engine.begin()
        place = find_conversation(draft, b"large")
        assert place is not None
        place.flag(draft, DYING)
        group = draft.commit().group
    engine.wait(group)
    page = db.messaging.search("bob", "word", wait=20)
    assert [hit.text("text") for hit in page.hits] == ["word of team"]
    assert (page.total, page.exact) == (1, True)


def test_the_total_is_exact_to_a_thousand_and_says_when_it_is_not(db: Database) -> None:
    for text in ("common word", "rare thing"):
        for _ in range(500 if text == "rare thing" else 1_001):
            db.messaging.send("team", "ann", {"text": text}, silent=True)
    page = db.messaging.search("bob", "common", limit=2, wait=20)
    assert (page.total, page.exact) == (1_000, False)
    page = db.messaging.search("bob", "common", limit=2, after=page.cursor)
    assert (page.total, page.exact) == (1_000, False)
    page = db.messaging.search("bob", "rare", limit=2)
    assert (page.total, page.exact) == (500, True)
    db.messaging.hide("bob", "team", 1_100)
    page = db.messaging.search("bob", "rare", limit=2)
    assert (page.total, page.exact) == (499, True)
