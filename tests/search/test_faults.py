"""Whatever happens to the index, its directory or the store below it: it says so and comes back."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import timeline
from tests.engine.stores import SMALL, Clock, abandon
from tests.engine.test_corruption import damage
from timeline.embedded.database import Database
from timeline.engine.engine import Engine
from timeline.errors import CorruptError, IndexLagError, TimelineError, TrimmedError
from timeline.search.build import Build
from timeline.search.follower import Follower
from timeline.search.index.checksums import _files
from timeline.search.index.documents import Documents
from timeline.search.index.index import LEAST_MEMORY, Index, IndexFaultError, hold
from timeline.search.indexer import Indexer
from timeline.storage.rocks import SEGMENTS, Storage
from timeline.verification import verify

OPTIONS = replace(SMALL, fsync="inline", search=True, search_commit_ms=10)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        yield db


def texts(db: Database, query: str = "word", wait: float = 20) -> list[str]:
    page = db.messaging.search("bob", query, limit=100, wait=wait)
    return [hit.text("text") for hit in page.hits]


def indexer_of(db: Database) -> Indexer:
    indexer = db.messaging.messages.searchable
    assert isinstance(indexer, Indexer)
    return indexer


def until(db: Database, done: Callable[[], bool]) -> None:
    while not done():
        assert indexer_of(db).alive
        threading.Event().wait(0.001)


# --- the directory --------------------------------------------------------------------------------


def test_what_else_is_in_the_directory_stays(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for name in ("20240101", "00000001", "²", "lost+found"):
        (place / name).mkdir(parents=True)
        (place / name / "precious").write_text("a year of work")
    (place / "7").write_text("seven")
    with timeline.open(tmp_path / "store", OPTIONS, search_directory=str(place)) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word"})
        assert texts(db) == ["word"]
    for name in ("20240101", "00000001", "²", "lost+found"):
        assert (place / name / "precious").read_text() == "a year of work"
    assert (place / "7").read_text() == "seven"


def test_two_stores_do_not_share_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    options = replace(OPTIONS, search_directory=str(tmp_path / "place"))
    with timeline.open(tmp_path / "second", options, search=False) as second:
        second.messaging.create("team", "ann", members=["bob"])
        second.messaging.send("team", "ann", {"text": "second word"})
    first = timeline.open(tmp_path / "first", options)
    first.messaging.create("team", "ann", members=["bob"])
    first.messaging.send("team", "ann", {"text": "first word"})
    assert texts(first) == ["first word"]
    with timeline.open(tmp_path / "second", options) as second:
        until(second, lambda: indexer_of(second).failures >= 4)
        assert "another store" in indexer_of(second).failure
        with pytest.raises(IndexLagError, match="another store"):
            second.messaging.search("bob", "word")
        first.messaging.send("team", "ann", {"text": "another word"})
        assert texts(first) == ["another word", "first word"]
        assert indexer_of(first).builds == 1
        first.close()
        assert texts(second) == ["second word"]


def test_a_directory_that_was_removed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    place = tmp_path / "place"
    options = replace(OPTIONS, search_directory=str(place))
    with timeline.open(tmp_path / "first", options) as first:
        first.messaging.create("team", "ann", members=["bob"])
        first.messaging.send("team", "ann", {"text": "a word"})
        assert texts(first) == ["a word"]
        shutil.rmtree(place)
        first.messaging.send("team", "ann", {"text": "another word"})
        until(first, lambda: indexer_of(first).builds == 2)
        assert texts(first) == ["another word", "a word"]
        with pytest.raises(IndexFaultError, match="another store"):
            hold(place)


def test_other_prefixes_make_another_index(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.timeline("log:a").append({"text": "word"})
        assert db.search("word", wait=20).total == 0
    with timeline.open(path, OPTIONS, search_prefixes=("log:",)) as db:
        assert db.search("word", wait=20).total == 1
        assert indexer_of(db).builds == 1
    with timeline.open(path, OPTIONS) as db:
        assert db.search("word", wait=20).total == 0


def test_what_cannot_be_written_to_is_kept_until_it_can(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.001)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    index = indexer_of(db)

    def full(*_: object) -> None:
        raise IndexFaultError("No space left on device")

    with monkeypatch.context() as patch, Clock(2**42).installed():
        patch.setattr(Index, "commit", full)
        patch.setattr("timeline.search.indexer.disk_takes_bytes", lambda _: False)
        db.messaging.send("team", "ann", {"text": "another word"})
        until(db, lambda: index.failures >= 5)
        assert texts(db, wait=0) == ["word"]
        assert int(index.stats()["index_lag_ms"]) > 0, "whoever watches it is told"
    assert texts(db) == ["another word", "word"]
    assert index.builds == 1, "it goes on where it was"


def test_it_goes_on_as_soon_as_the_disk_takes_something_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it failed before, and however long it would wait by that."""
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("timeline.search.indexer._MOST_DOUBLINGS", 40)
    assert texts(db) == []
    index = indexer_of(db)

    def full(*_: object) -> None:
        index._upkeep.failures = 41
        raise IndexFaultError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Index, "commit", full)
        patch.setattr("timeline.search.indexer.disk_takes_bytes", lambda _: False)
        db.messaging.send("team", "ann", {"text": "word"})
        until(db, lambda: index.failures == 1)
        with pytest.raises(IndexLagError):
            texts(db, wait=0.05)
    assert texts(db) == ["word"]
    assert index.failures == 1


def test_a_pause_of_who_writes_is_no_lag(tmp_path: Path) -> None:
    clock = Clock()
    with (
        clock.installed(),
        timeline.open(tmp_path / "store", OPTIONS, search_commit_ms=10_000) as db,
    ):
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word"})
        assert texts(db) == ["word"]
        clock.now += 86_400_000
        db.messaging.send("team", "ann", {"text": "another word"})
        stats = indexer_of(db).stats()
        assert stats["index_lag"] == 1
        assert int(stats["index_lag_ms"]) < 60_000


def test_who_waits_does_not_hasten_another_try(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 60.0)
    assert texts(db) == []
    index = indexer_of(db)
    monkeypatch.setattr(Index, "commit", unable)
    db.messaging.send("team", "ann", {"text": "word"})
    until(db, lambda: index.failures == 1)
    for _ in range(10):
        with pytest.raises(IndexLagError):
            texts(db, wait=0.005)
    assert index.failures == 1


def unable(*_: object) -> None:
    raise IndexFaultError("it cannot be written")


def test_it_can_be_asked_about_while_it_is_gone(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    shutil.rmtree(indexer_of(db).index.path)
    assert indexer_of(db).stats()["index_bytes"] == 0


# --- damage ---------------------------------------------------------------------------------------


class PanicException(BaseException):
    """What a panic of the library below looks like."""

    __module__ = "pyo3_runtime"


class Failing:
    """A searcher that fails, as it does over a question that tantivy does not expect, or damage."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.num_docs = 1

    def search(self, *_: object, **__: object) -> None:
        raise self.error


FAILURES = (
    PanicException("index out of bounds"),
    ValueError("Data corrupted: 'a block'"),
    OSError("I/O error"),
)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_search_that_fails_over_a_whole_index_costs_the_others_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    index = indexer_of(db)
    before = index.index
    looked_at = count_looks(monkeypatch)
    until(db, lambda: index._upkeep.checking is None)
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(before, "searcher", Failing(error))
            with pytest.raises(IndexLagError, match="failed"):
                texts(db, wait=0)
            with pytest.raises(IndexLagError, match="failed"):
                db.find("word")
        assert texts(db) == ["word"], "it serves on"
        until(db, lambda: looked_at != [] and index._upkeep.checking is None)
    assert len(looked_at) == 1, "however often one asks"
    assert index.index is before
    assert index.builds == 1


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """How often all files of an index are looked at."""
    looked_at: list[Path] = []
    verify = Index.verify

    def counted(index: Index) -> Iterator[None]:
        looked_at.append(index.path)
        return verify(index)

    monkeypatch.setattr(Index, "verify", counted)
    return looked_at


def test_a_search_that_fails_over_a_damaged_index_has_it_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    index = indexer_of(db)
    before = index.index
    until(db, lambda: index._upkeep.checking is None)
    flip(next(each for each in _files(before.path) if each.suffix == ".idx"))
    with monkeypatch.context() as patch:
        patch.setattr(before, "searcher", Failing(FAILURES[0]))
        with pytest.raises(IndexLagError, match="failed"):
            texts(db, wait=0)
    until(db, lambda: index.builds == 2)
    assert texts(db) == ["word"]


def flip(file: Path) -> None:
    """Flip a bit in the content of a file; behind it stands its checksum."""
    content = bytearray(file.read_bytes())
    content[5] ^= 0x04
    file.write_bytes(content)


def test_a_panic_while_indexing_is_a_failure(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    assert texts(db) == []
    reads = iter([True])
    take = Follower.step

    def failing(follower: Follower) -> bool:
        if next(reads, False):
            raise PanicException("index out of bounds")
        return take(follower)

    monkeypatch.setattr(Follower, "step", failing)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    assert indexer_of(db).failures == 1


def test_a_flipped_bit_anywhere_in_an_index_is_found(tmp_path: Path) -> None:
    """Also where tantivy does not notice and some messages would be missing."""
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(30):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
        assert len(texts(db)) == 30
        db.messaging.recall("team", 7, actor="ann")
        assert len(texts(db)) == 29
    (generation,) = (path / "index").glob("generation-*")
    files = list(_files(generation))
    assert {each.suffix for each in files} >= {".idx", ".pos", ".term", ".fast", ".del"}
    for file in files:
        copy = tmp_path / f"copy{file.name}"
        shutil.copytree(path, copy)
        damaged = copy / "index" / generation.name / file.name
        flip(damaged)
        with timeline.open(copy, OPTIONS) as db:
            index = indexer_of(db)
            until(db, lambda index=index: index.builds == 1)  # type: ignore[misc]
            assert len(texts(db)) == 29
            assert len(texts(db, '"word 9"')) == 1


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store whose index has several segments of one size, and another store beside it with
    an index like it.
    """
    place = tmp_path_factory.mktemp("segmented")
    for name, noun in (("store", "word"), ("another", "cart")):
        with timeline.open(place / name, OPTIONS) as db:
            db.messaging.create("team", "ann", members=["bob"])
            for number in range(3):
                for more in range(4):
                    text = f"{len(name) * 'so '}{more * number * 'very '}{noun} {number}"
                    db.messaging.send("team", "ann", {"text": text})
                assert len(texts(db, noun)) == 4 * number + 4
    return place


def segments_of(store: Path) -> dict[str, list[Path]]:
    """The files of the index by kind, those of the fullest segments first."""
    (generation,) = (store / "index").glob("generation-*")
    found: dict[str, list[Path]] = {}
    for file in sorted(_files(generation), key=lambda file: -file.stat().st_size):
        if file.is_file():
            found.setdefault(file.suffix, []).append(file)
    return found


@pytest.mark.parametrize("kind", [".fast", ".term", ".idx", ".pos", ".store", ".fieldnorm"])
@pytest.mark.parametrize("whose", ["of another segment", "of another index"])
def test_a_file_that_is_whole_but_another_is_found(
    segmented: Path, tmp_path: Path, kind: str, whose: str
) -> None:
    path = tmp_path / "store"
    shutil.copytree(segmented / "store", path)
    mine, *others = segments_of(path)[kind]
    if whose == "of another segment":
        swap(mine, others[0])
    else:
        shutil.copy(segments_of(segmented / "another")[kind][0], mine)
    found = verify(path).findings
    assert [each.family for each in found] == ["index"]
    assert kind in found[0].text
    assert "another file" in found[0].text
    with timeline.open(path, OPTIONS) as db:
        assert len(texts(db)) == 12
        assert len(texts(db, '"word 1"')) == 4
        assert indexer_of(db).builds == 1
    assert verify(path).findings == []


def test_an_index_whose_list_of_checksums_is_lost_is_taken_as_it_is(
    segmented: Path, tmp_path: Path
) -> None:
    """As every index is that an older release made."""
    path = tmp_path / "store"
    shutil.copytree(segmented / "store", path)
    (noted,) = (path / "index").glob("generation-*/checksums.json")
    for content in (None, b"", b"[]", b'{"a"', b'{"a": "b"}'):
        noted.unlink()
        if content is not None:
            noted.write_bytes(content)
        with timeline.open(path, OPTIONS) as db:
            db.messaging.send("team", "ann", {"text": "one more"})
            assert len(texts(db)) == 12
            assert len(texts(db, "more")) >= 1
            assert indexer_of(db).builds == 0
        assert len(noted.read_bytes()) > 100


def test_an_entry_without_a_place_is_damage(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    index = indexer_of(db)

    class Torn:
        num_docs = 1

        def search(self, *_: object, **__: object) -> object:
            return SimpleNamespace(hits=[(None, object())], count=1)

        def fast_field_values(self, *_: object) -> list[None]:
            return [None]

    with monkeypatch.context() as patch:
        patch.setattr(index.index, "searcher", Torn())
        with pytest.raises(IndexLagError, match="damaged"):
            texts(db, wait=0)
    until(db, lambda: index.builds == 2)
    assert texts(db) == ["word"]


def test_what_a_kill_left_half_written_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "word"})
        assert texts(db) == ["word"]
    (generation,) = (path / "index").glob("generation-*")
    (generation / f"{'0' * 32}.idx").write_bytes(b"half")
    with timeline.open(path, OPTIONS) as db:
        assert texts(db) == ["word"]
        assert list(indexer_of(db).index.verify()) != []
        assert indexer_of(db).failure == ""


def test_a_damaged_segment_costs_its_own_messages_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS, search=False) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(40):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
        db.compact()
        conversation = db.engine.timelines.find(b"@conv:team")
        assert conversation is not None
        segments = [
            key
            for key, _ in db.engine.store.storage.scan(SEGMENTS, b"", b"\xff" * 17)
            if int.from_bytes(key[:8], "big") == conversation.id
        ]
        damage(db, "segments", segments[len(segments) // 2])
    with timeline.open(path, OPTIONS) as db:
        db.messaging.send("team", "ann", {"text": "newest word"})
        found = {hit.seq for hit in db.search("word", limit=100, wait=20).hits}
        lost = set(range(1, 42)) - found
        assert 41 in found
        assert 1 <= len(lost) <= 4, "a segment"
        broken = min(lost)
        with pytest.raises(CorruptError):
            list(db.messaging.history("team", "bob", first=broken, last=broken))
        # An edit of it cannot be looked up either.
        with suppress(TimelineError):
            db.messaging.recall("team", broken, actor="-")
        db.messaging.send("team", "ann", {"text": "later word"})
        assert [hit.seq for hit in db.search("later", wait=20).hits] == [42]
        assert indexer_of(db).builds == 1


# --- the store below ------------------------------------------------------------------------------


def test_a_build_holds_nothing_of_the_store_between_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.build._STEP_ENTRIES", 2)
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS, search=False) as db:
        for number in range(5):
            db.timeline(f"t{number}").set_metadata({"city": "Oslo"})
    db = timeline.open(path, OPTIONS, search=False)
    index = Index.make(tmp_path / "index", ("text",), LEAST_MEMORY)
    build = Build(db.engine, index, Documents(("text",), ()), ())
    assert build.step()
    db.close()
    timeline.open(path, OPTIONS, search=False).close()
    assert index.added == 2


def test_it_goes_on_when_the_store_was_opened_again_at_the_second_try(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("timeline.engine.health._HEAL_SECONDS", 0.0)
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    index = indexer_of(db)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "sync", refused)
        with pytest.raises(TimelineError):
            db.messaging.send("team", "ann", {"text": "uncertain"})
        patch.setattr(Engine, "_load", unreadable)
        db.engine.work()
        assert db.engine.poisoned
        index.rebuild()  # it reads the store
        until(db, lambda: index.failures >= 4)
    heal(db)
    db.messaging.send("team", "ann", {"text": "another word"})
    assert texts(db) == ["another word", "word"]
    assert index.builds == 1, "it was not the index that failed"


def heal(db: Database) -> None:
    while db.engine.poisoned:
        db.engine.work()


def refused(*_: object) -> None:
    raise OSError("I/O error")


def unreadable(*_: object) -> None:
    raise CorruptError("the store cannot be opened again")


def test_an_index_ahead_of_its_store_is_built_anew_whatever_is_sent_meanwhile(
    tmp_path: Path,
) -> None:
    """In `interval` durability a power cut may take commits that the index has already."""
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "first word"})
    shutil.copytree(path, tmp_path / "before")
    with timeline.open(path, OPTIONS) as db:
        for _ in range(3):
            db.messaging.send("team", "ann", {"text": "lost word"})
        assert len(texts(db)) == 4
    shutil.rmtree(tmp_path / "before" / "index")
    (path / "index").rename(tmp_path / "before" / "index")
    with timeline.open(tmp_path / "before", OPTIONS) as db:
        for number in range(8):
            db.messaging.send("team", "ann", {"text": f"new word {number}"})
        assert texts(db, "lost") == []
        assert len(texts(db)) == 9


def test_an_index_ahead_of_a_healed_store_is_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    index = indexer_of(db)
    follower = index._upkeep.current
    assert follower is not None
    monkeypatch.setattr("timeline.engine.health._HEAL_SECONDS", 0.0)
    step, go_on = Follower.step, threading.Event()
    monkeypatch.setattr(Follower, "step", lambda each: go_on.is_set() and step(each))
    follower.position += 3  # as if what was applied last had been lost on the way to the disk
    db.engine.poison(OSError("I/O error"))
    heal(db)
    for number in range(5):
        db.messaging.send("team", "ann", {"text": f"new word {number}"})
    go_on.set()
    assert len(texts(db)) == 6


# --- building -------------------------------------------------------------------------------------


def test_the_old_index_is_followed_while_the_new_one_catches_up(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.follower._STEP_BYTES", 1)
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    index = indexer_of(db)
    before = index.index
    catching_up, go_on = threading.Event(), threading.Event()
    step = Follower.step

    def slow(follower: Follower) -> bool:
        if follower.index is before or go_on.is_set():
            return step(follower)
        catching_up.set()
        return True

    monkeypatch.setattr(Follower, "step", slow)
    index.rebuild()
    catching_up.wait(10)
    db.messaging.send("team", "ann", {"text": "second word"})
    assert texts(db) == ["second word", "first word"]
    assert index.index is before
    go_on.set()
    until(db, lambda: index.index is not before)
    assert texts(db) == ["second word", "first word"]


def test_a_build_that_falls_behind_the_log_costs_the_old_index_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    index = indexer_of(db)
    before = index.index
    step = Follower.step
    behind = iter([True])
    again, go_on = threading.Event(), threading.Event()

    def trimmed(follower: Follower) -> bool:
        if follower.index is before or go_on.is_set():
            return step(follower)
        if next(behind, False):
            raise TrimmedError("the log begins behind it")
        again.set()
        return True

    monkeypatch.setattr(Follower, "step", trimmed)
    index.rebuild()
    again.wait(10)
    assert before.path.is_dir()
    go_on.set()
    until(db, lambda: index.index is not before)
    assert texts(db) == ["first word"]
    assert index.builds == 2


def test_a_build_reads_a_bounded_number_of_bytes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr("timeline.search.build._STEP_BYTES", 2_000)
    read = []
    with timeline.open(path, OPTIONS, search=False) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for _ in range(20):
            db.messaging.send("team", "ann", {"text": "word " + "x" * 1_000})
    rows = Build._rows

    def measured(build: Build, timeline_id: int) -> Iterator[object]:
        for part in rows(build, timeline_id):
            read.append(sum(len(row[3]) for row in part))
            yield part

    monkeypatch.setattr(Build, "_rows", measured)
    with timeline.open(path, OPTIONS) as db:
        assert len(texts(db)) == 20
    assert max(read) < 8_000


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
        monkeypatch.setattr(engine, "lock", Forgetting(engine))
        assert len(texts(db)) == 40
        assert len(list(db.search("word", limit=100).hits)) == 40
        assert len(list(db.timeline("@conv:team").range(limit=100))) == 40


class Forgetting:
    """A lock; whenever it is released, others read what they need and use up what is kept of it."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lock, self._depth = engine, engine.lock, 0
        self._known = [
            each.id for each in engine.timelines.by_id.values() if each.name.startswith(b"@conv:")
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
                timelines.ranges.rows(other, 0, 2**63, 64, reverse=False)
                self._forget(timeline_id)
        self._lock.release()

    def _forget(self, timeline_id: int) -> None:
        timelines = self._engine.timelines
        one = timelines.by_id.get(timeline_id)
        if one is not None and one.idle:
            timelines._forget(one)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_closes_its_copy_without_waiting(db: Database) -> None:
    assert texts(db) == []
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with indexer_of(db)._lock:
            held.set()
            go_on.wait(10)

    holder = threading.Thread(target=hold)  # as the indexer may at the moment of the fork
    holder.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        db.close()
        os._exit(0)
    go_on.set()
    holder.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_closing_twice_at_once_is_closing(tmp_path: Path) -> None:
    db = timeline.open(tmp_path / "store", OPTIONS)
    threads = [threading.Thread(target=abandon, args=(db,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not indexer_of(db).alive


def test_a_search_before_there_is_an_index_says_so_to_embedders_too(db: Database) -> None:
    indexer = indexer_of(db)
    indexer._serving = None
    with pytest.raises(IndexLagError, match=r"it is being made, try again in a moment$"):
        texts(db, wait=0)
    indexer.failure = "the disk is full"
    with pytest.raises(IndexLagError, match=r"since making it failed: the disk is full$"):
        texts(db, wait=0)
