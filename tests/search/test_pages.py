"""Pages of hits: full, in order, counted, and of nothing that is not to be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from tests.search.indexes import OPTIONS, texts
from timeline.embedded.database import Database
from timeline.engine.engine import Engine
from timeline.errors import UsageError
from timeline.formats.conversations import DYING
from timeline.messaging.access.access import find_conversation
from timeline.search.search import Search


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


@pytest.mark.parametrize("hidden", [False, True])
def test_a_page_asks_the_index_once(
    db: Database, monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    """Also one that counts what is shown, and one that goes on after another."""
    for number in range(300):
        db.messaging.send("team", "ann", {"text": f"word {number}"}, silent=True)
    if hidden:  # then nothing but what is shown can be counted
        db.messaging.hide("bob", "team", 290)
    asked: list[int] = []
    collect = Search._collect

    def counted(search: Search, query: object, limit: int) -> object:
        asked.append(limit)
        return collect(search, query, limit)  # type: ignore[arg-type]

    monkeypatch.setattr(Search, "_collect", counted)
    page = db.messaging.search("bob", "word", limit=20, wait=20)
    assert (page.total, page.exact) == (300 - hidden, True)
    assert len(asked) == 1
    page = db.messaging.search("bob", "word", limit=20, after=page.cursor)
    assert len(page.hits) == 20
    assert len(asked) == 2


def test_what_is_forgotten_between_two_looks_is_looked_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search lets others at the store between looking up hits, and they may need its memory."""
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(40):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
        db.compact()
    with timeline.open(path, OPTIONS, segment_cache_bytes=1 << 20) as db:
        assert len(texts(db)) == 40
        engine = db.engine
        monkeypatch.setattr(engine, "lock", Forgetting(engine, b"@conv:"))
        assert len(texts(db)) == 40
        assert len(list(db.search("word", limit=100).hits)) == 40
        assert len(list(db.timeline("@conv:team").range(limit=100))) == 40


def test_posts_that_are_forgotten_between_two_looks_are_looked_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        for number in range(40):
            db.feeds.publish("ann", {"text": f"word {number}"})
        db.feeds.follow("bob", ["ann"])
        db.compact()
    with timeline.open(path, OPTIONS, segment_cache_bytes=1 << 20) as db:
        assert db.feeds.search("bob", "word", wait=20).total == 40
        monkeypatch.setattr(db.engine, "lock", Forgetting(db.engine, b"@feed:"))
        for home in (False, True):
            page = db.feeds.search("bob", "word", home=home, limit=100)
            assert len(page.hits) == page.total == 40


class Forgetting:
    """A lock; whenever it is released, others read what they need and use up what is kept of it."""

    def __init__(self, engine: Engine, prefix: bytes) -> None:
        self._engine, self._lock, self._depth = engine, engine.lock, 0
        self._known = [
            each.id for each in engine.timelines.by_id.values() if each.name.startswith(prefix)
        ]

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            timelines = self._engine.timelines
            for timeline_id in self._known:
                self._forget(timeline_id)
                other = timelines.load(timeline_id)
                assert other is not None
                timelines.ranges.stored(other, 0, 2**63, 64, reverse=False)
                self._forget(timeline_id)
        self._lock.release()

    def _forget(self, timeline_id: int) -> None:
        timelines = self._engine.timelines
        one = timelines.by_id.get(timeline_id)
        if one is not None and one.idle:
            timelines._forget(one)
