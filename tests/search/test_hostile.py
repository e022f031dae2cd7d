"""What anybody may ask or write harms nobody: the index stays, time and answer are bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import thread_time

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import timeline
from tests.engine.stores import SMALL
from timeline.embedded.database import Database
from timeline.errors import TooLargeError, UsageError
from timeline.messaging.access.entries import find_entry
from timeline.search.finder import find_timelines
from timeline.search.text.language import parse
from timeline.search.text.snippets import LENGTH, snippet

OPTIONS = replace(
    SMALL,
    fsync="inline",
    search=True,
    search_commit_ms=10,
    search_prefixes=("log:",),
    unsealed_bytes=64 << 20,
    entry_bytes=1 << 20,
    group_bytes=8 << 20,
)
FIELDS = ("text", "title")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        yield db


def total(db: Database, query: str, **bounds: int) -> int:
    return db.messaging.search("bob", query, wait=20, **bounds).total  # type: ignore[arg-type]


def builds(db: Database) -> int:
    return int(db.index.searchable.stats()["index_builds"])


def test_a_beginning_that_stands_for_too_many_words_is_refused_and_harms_nothing(
    db: Database,
) -> None:
    words = " ".join(f"ab{number:x}" for number in range(100_000))
    db.messaging.send("team", "ann", {"text": f"see {words}"})
    with pytest.raises(TooLargeError, match="letters"):
        total(db, '"see ab"*')
    assert total(db, '"see ab0"*') == 1
    assert total(db, "ab*") == 1
    assert builds(db) == 1


@pytest.mark.parametrize(
    "query",
    ["word", "wo*", '"a wo"*', "-x", "\ud800word", "wo\0rd", "⑴a*", "\u202eword", "é" * 64 + "*"],
)
@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"since": 2**70},
        {"until": 2**70},
        {"since": -1},
        {"until": -1},
        {"since": 9, "until": 3},
    ],
)
def test_no_question_harms_the_index(db: Database, query: str, bounds: dict[str, int]) -> None:
    db.messaging.send("team", "ann", {"text": "a word"})
    with suppress(UsageError):
        assert total(db, query, **bounds) <= 1
    assert total(db, "word") == 1
    assert builds(db) == 1


LONG = ("x" * 512, "x" * 982, "x" * 4_090, "ж" * 256, "ж" * 491, "ж" * 2_040, "添" + "x" * 985)


@pytest.mark.parametrize("word", LONG, ids=lambda word: f"{word[0]}{len(word)}")
@pytest.mark.parametrize("form", ["{}", "{}*", "hello-{}*", '"{}"*', '"{} hell"*', "text:{}*"])
def test_no_length_of_a_word_harms_the_index(shared: Database, word: str, form: str) -> None:
    before = shared.index.searchable.index
    for ask in asks(shared):
        with suppress(TooLargeError):
            assert ask(form.format(word)) == 0
        assert total(shared, "word") == 1
    assert shared.index.searchable.index is before


def asks(db: Database) -> list[Callable[[str], int]]:
    """Every way to ask, each giving how much was found."""
    return [
        lambda query: db.messaging.search("bob", query).total,
        lambda query: db.search(query).total,
        lambda query: len(db.find(query)),
    ]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with timeline.open(tmp_path_factory.mktemp("shared") / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "a word", "title": "添加好友 ab\0cd"})
        db.timeline("log:a").set_metadata({"city": "a word", "添": "加 & ~#"})
        assert total(db, "word") == 1
        yield db


letters = st.sampled_from(
    [*'ab添加ж\0\x1f\x85\ud800.*+?()[]{}|^$&~#-:"\\', " ", "é", "\u202e", "𝔘"]
)
pieces = st.one_of(
    st.sampled_from(
        ["AND", "OR", "NOT", "(", ")", '"', "*", "-", "title:", "text:", "nosuch:", "word", "添加"]
    ),
    st.text(letters, min_size=1, max_size=8),
    st.tuples(letters, st.sampled_from([100, 511, 512, 513, 900, 1_000, 4_000])).map(
        lambda made: made[0] * made[1]
    ),
)
queries = st.tuples(
    st.lists(pieces, min_size=1, max_size=24), st.sampled_from(["", " ", "*", " ", "* "])
).map(lambda made: made[1].join(made[0]) + made[1].rstrip())


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=queries)
def test_every_query_is_answered_or_refused_and_the_index_stays(
    shared: Database, query: str
) -> None:
    before = shared.index.searchable.index
    for ask in asks(shared):
        with suppress(UsageError, TooLargeError):
            ask(query)
    serving = shared.index.searchable
    assert serving.index is before
    assert serving.failure == "", "nothing but the index itself is suspected"


def test_a_sentence_without_spaces_is_found_however_long(db: Database) -> None:
    sentence = "".join(chr(0x4E00 + number) for number in range(1_365))
    db.messaging.send("team", "ann", {"text": f"已{sentence}了"})
    for size in (1, 64, 65, 500, 1_364):
        assert total(db, sentence[-size:]) == 1
        assert total(db, sentence[-size:] + "丁") == 0
    assert total(db, "哈" * 128) == 0
    with pytest.raises(TooLargeError, match="same word"):
        total(db, "哈" * 129)


def test_what_was_pasted_with_its_dashes_is_found(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "never type rm -rf x with --force"})
    db.messaging.send("team", "ann", {"text": "rm x"})
    assert total(db, "rm -rf x") == 1
    assert total(db, "--force") == 1
    assert total(db, "-rf") == 1
    assert total(db, "rm NOT -rf") == 1


def test_what_is_no_entry_is_no_damage(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of who is in many conversations the query does not say where to look."""
    monkeypatch.setattr("timeline.search.search._NAMED_TIMELINES", 0)
    db.messaging.send("team", "ann", {"text": "a word"})
    db.timeline("a").set_metadata({"city": "Oslo"})
    assert total(db, "NOT oslo") == 1
    assert total(db, "NOT word") == 0
    assert builds(db) == 1


def test_times_beyond_all_times_are_no_bounds(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "a word"})
    assert total(db, "word", since=0, until=2**63 - 1) == 1
    assert db.search("word", since=-5, until=2**70).total == 1
    assert db.search("word", until=-1).total == 0
    assert db.search("word", since=2**64).total == 0


def test_as_many_timelines_as_one_likes_are_asked_for(db: Database) -> None:
    db.timeline("a").set_metadata({"city": "Oslo"})
    assert [name for name, _ in db.find("oslo", limit=2**40, wait=20)] == [b"a"]


def test_of_many_timelines_the_oldest_are_given(db: Database) -> None:
    for number in range(6):
        db.timeline(f"t{number}").set_metadata({"name": "blue " * (number + 1)})
    assert [name for name, _ in db.find("blue", limit=2, wait=20)] == [b"t0", b"t1"]


def test_timelines_that_are_found_are_as_many_as_an_answer_holds(db: Database) -> None:
    for number in range(3):
        db.timeline(f"t{number}").set_metadata({"name": "blue", "about": "x" * 1_000})
    assert len(db.find("blue", wait=20)) == 3
    indexer = db.index.searchable
    with pytest.raises(TooLargeError, match="COUNT"):
        find_timelines(db.engine, indexer, "blue", 3, most_bytes=2_500)
    assert len(find_timelines(db.engine, indexer, "blue", 2, most_bytes=2_500)) == 2


def test_a_timeline_whose_metadata_is_gone_is_not_found_before_the_index_knows(
    db: Database,
) -> None:
    db.timeline("a").set_metadata({"name": "blue"})
    assert len(db.find("blue", wait=20)) == 1
    db.index.searchable.stop()
    db.timeline("a").set_metadata({"name": ""})
    assert db.find("blue") == []


def test_values_of_a_mebibyte_are_indexed_as_far_as_they_can_be(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "x" * 1_000_000})
    db.messaging.send("team", "ann", {"text": "添" * 330_000 + "加"})
    db.timeline("log:a").append({"@from": "y" * 900_000, "text": "word"})
    db.timeline("log:a").set_metadata({"big": "z " * 400_000, "city": "Oslo"})
    db.messaging.send("team", "ann", {"text": "word"})
    assert total(db, "word") == 1
    assert total(db, "添加") == 1
    assert [name for name, _ in db.find("city:oslo")] == [b"log:a"]
    assert builds(db) == 1


def test_hits_are_looked_up_a_few_at_a_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes waits for no more than a few reads."""
    for _ in range(100):
        db.messaging.send("team", "ann", {"text": "word"})
    assert total(db, "word") == 100
    lock, together = db.engine.lock, []

    class Counting:
        def __enter__(self) -> None:
            together.append(0)
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    def counted(*args: object) -> bytes | None:
        together[-1] += 1
        return find_entry(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("timeline.messaging.searching.find_entry", counted)
    monkeypatch.setattr(db.engine, "lock", Counting())
    assert len(db.messaging.search("bob", "word", limit=100).hits) == 100
    assert sum(together) >= 100
    assert max(together) <= 16


# --- snippets -------------------------------------------------------------------------------------


def marked(query: str, text: str) -> str:
    return snippet([("text", text)], parse(query, FIELDS))


def test_a_match_without_end_is_cut() -> None:
    found = marked("加", "加" * 20_000)
    assert len(found) < 3 * LENGTH
    assert found.startswith("<b>加加")
    assert found.endswith("</b>…")


@pytest.mark.parametrize("before", range(LENGTH - 6, LENGTH + 1))
def test_no_part_of_a_match_is_marked(before: int) -> None:
    found = marked("添加好友", "添加好友" + "中" * (before - 4) + "添加好友" + "中" * 200)
    assert found.replace("<b>添加好友</b>", "").count("<b>") == 0


def test_looking_for_matches_costs_what_the_text_is_long() -> None:
    """Also of a run that nearly is there at every place."""
    text = ("哈" * 127 + "x") * 500 + "哈" * 128
    begun = thread_time()
    found = marked("哈" * 128, text)
    assert thread_time() - begun < 5
    assert found.endswith("哈" * 128 + "</b>")
    several = " OR ".join([f"{a}{b}" for a in "丁七万三" for b in "丈上下不"] + ["再见"])
    assert marked(several, "添加好友再见" * 1_000).startswith("添加好友<b>再见</b>")
