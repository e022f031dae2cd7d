"""The promise: a search finds what its expression, its scope and its bounds name, the newest first,
and its pages neither miss nor repeat anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import timeline
from tests.engine.stores import Clock
from tests.search.indexes import OPTIONS
from timeline.embedded.database import Database
from timeline.search.search import Hit, Scope, Search, Stretch, find_described
from timeline.search.text.language import ANY_FIELD, parse

FIELDS: Final = ("text", "title")
TIMELINES: Final = 4
ROUNDS: Final = 6
START: Final = 1_700_000_000_000
ABSENT: Final = range(10**6, 10**6 + 300)  # more timelines than a query names


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Timelines that are appended to in turn, a second apart. Every second round is `even`."""
    with (
        Clock(START).installed() as clock,
        timeline.open(tmp_path / "store", OPTIONS) as db,
    ):
        for round_ in range(ROUNDS):
            for number in range(TIMELINES):
                word = "odd" if round_ % 2 else "even"
                db.timeline(f"log:{number}").append(
                    {"text": f"word {word}", "title": f"of {number}", "other": "unsaid"}
                )
                clock.now += 1_000
        yield db


def ids(db: Database) -> list[int]:
    found = [db.engine.view.find(b"log:%d" % number) for number in range(TIMELINES)]
    return [each.id for each in found if each is not None]


def search(db: Database, query: str, scope: Scope = Scope(), **bounds: Any) -> Search:  # noqa: ANN401  as Search has them; a scope is a value
    serving = db.index.searchable
    serving.wait(db.engine.applied, 20)
    return Search(
        serving.index, parse(query, FIELDS), FIELDS, scope, db.engine.view.clock, **bounds
    )


def places(hits: list[Hit]) -> list[tuple[int, int]]:
    return [(hit.timeline, hit.seq) for hit in hits]


def newest_first(db: Database) -> list[tuple[int, int]]:
    return [(each, seq) for seq in range(ROUNDS, 0, -1) for each in reversed(ids(db))]


def test_hits_come_newest_first(db: Database) -> None:
    found = search(db, "word")
    assert places(found.hits(None, 100)) == newest_first(db)
    assert found.count() == ROUNDS * TIMELINES
    assert places(found.hits(None, 3)) == newest_first(db)[:3]


def test_words_are_looked_for_where_they_are_said(db: Database) -> None:
    assert search(db, "even").count() == search(db, "text:even").count() == 12
    assert search(db, "title:even").count() == search(db, "unsaid").count() == 0
    assert search(db, "word NOT even").count() == 12
    assert search(db, '"of 3"').count() == ROUNDS
    assert search(db, "NOT word").count() == 0


@pytest.mark.parametrize("named", [(), ABSENT], ids=["few", "many"])
def test_pages_go_on_whatever_is_indexed_meanwhile(db: Database, named: range) -> None:
    wanted = newest_first(db)
    found: list[tuple[int, int]] = []
    last: Hit | None = None
    while True:
        page = search(db, "word", Scope([*ids(db), *named])).hits(last, 5)
        found += places(page)
        if not page:
            break
        last = page[-1]
        db.timeline("log:0").append({"text": "a later word"})
    assert found == wanted


@pytest.mark.parametrize("named", [(), ABSENT], ids=["few", "many"])
def test_a_scope_names_timelines_and_stretches_of_others(db: Database, named: range) -> None:
    one, two, three, _ = ids(db)
    scope = Scope([one, *named], [Stretch(two, 2, 3), Stretch(two, 6, 6), Stretch(three, 7, 99)])
    found = search(db, "word", scope)
    wanted = [
        (timeline_id, seq)
        for timeline_id, seq in newest_first(db)
        if timeline_id == one or (timeline_id == two and seq in (2, 3, 6))
    ]
    assert places(found.hits(None, 100)) == wanted
    assert found.count() == len(wanted)
    assert search(db, "word", Scope([])).count() == 0


def test_times_bound_it_at_both_ends(db: Database) -> None:
    whole = search(db, "word").hits(None, 100)
    for since, until, count in (
        (START, None, 24),
        (START + 1, None, 23),
        (START + 23_000, None, 1),
        (None, START + 22_999, 23),
        (START + 5_000, START + 7_000, 3),
        (START + 7_000, START + 5_000, 0),
        (0, 2**70, 24),
    ):
        found = search(db, "word", since=since, until=until)
        assert found.count() == count
        assert [hit for hit in whole if hit in found.hits(None, 100)] == found.hits(None, 100)


def test_a_sender_bounds_it(db: Database) -> None:
    db.messaging.create("team", "ann", members=["bob"])
    for sender in ("ann", "bob", "ann"):
        db.messaging.send("team", sender, {"text": f"word of {sender}"})
    assert search(db, "word", sender="ann").count() == 2
    assert search(db, "ann", sender="bob").count() == 0


def test_metadata_find_timelines_and_no_entries(db: Database) -> None:
    for number in range(TIMELINES):
        db.timeline(f"log:{number}").set_metadata({"city": "Oslo" if number % 2 else "Bergen"})
    assert search(db, "oslo").count() == 0
    index = db.index.searchable.index

    def described(query: str, limit: int = 100) -> list[int]:
        return find_described(index, parse(query, ANY_FIELD), limit)

    one, two, three, four = ids(db)
    assert described("oslo") == described("city:oslo") == [two, four]
    assert described("NOT oslo") == [one, three]
    assert described("city:os* OR city:bergen", limit=3) == [one, two, three]
    assert described("word") == described("oslo", limit=0) == []
