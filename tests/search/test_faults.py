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

import pytest

import timeline
from tests.engine.stores import SMALL, Clock, abandon
from tests.engine.test_corruption import damage
from timeline.database import Database
from timeline.engine import Engine
from timeline.errors import CorruptError, IndexLagError, TimelineError, TrimmedError
from timeline.search.build import Build
from timeline.search.checksums import _files
from timeline.search.documents import Documents
from timeline.search.follower import Follower
from timeline.search.index import LEAST_MEMORY, Index, IndexFaultError, hold
from timeline.search.indexer import Indexer
from timeline.storage import SEGMENTS, Storage

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
    monkeypatch.setattr("timeline.search.indexer._BACK_OFF", 0.01)
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
        with pytest.raises(IndexLagError, match="INFO"):
            second.messaging.search("bob", "word")
        first.messaging.send("team", "ann", {"text": "another word"})
        assert texts(first) == ["another word", "first word"]
        assert indexer_of(first).builds == 1
        first.close()
        assert texts(second) == ["second word"]


def test_a_directory_that_was_removed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.indexer._BACK_OFF", 0.01)
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
    monkeypatch.setattr("timeline.search.indexer._BACK_OFF", 0.001)
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
    monkeypatch.setattr("timeline.search.indexer._BACK_OFF", 60.0)
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


def panicking(*_: object, **options: object) -> None:
    raise PanicException("index out of bounds")


def test_a_panic_while_searching_is_damage(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    before = indexer_of(db).index

    class Panicking:
        search = panicking

    with monkeypatch.context() as patch:
        patch.setattr(before, "searcher", Panicking())
        with pytest.raises(IndexLagError, match="damaged"):
            texts(db, wait=0)
    assert texts(db) == ["word"]
    assert indexer_of(db).builds == 2


def test_a_panic_while_indexing_is_a_failure(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeline.search.indexer._BACK_OFF", 0.01)
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
        content = bytearray(damaged.read_bytes())
        content[5] ^= 0x04  # in the content: a file ends with its checksum
        damaged.write_bytes(content)
        with timeline.open(copy, OPTIONS) as db:
            index = indexer_of(db)
            until(db, lambda index=index: index.builds == 1)  # type: ignore[misc]
            assert len(texts(db)) == 29
            assert len(texts(db, '"word 9"')) == 1


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
    monkeypatch.setattr("timeline.search.build._ROWS", 2)
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
    monkeypatch.setattr("timeline.search.indexer._BACK_OFF", 0.01)
    monkeypatch.setattr("timeline.health._HEAL_SECONDS", 0.0)
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


def test_an_index_ahead_of_its_store_is_built_anew_however_late_that_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    looking, go_on = threading.Event(), threading.Event()
    find = Index.find

    def late(*args: object) -> Index | None:
        looking.set()
        go_on.wait(10)
        return find(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "find", late)
    with timeline.open(tmp_path / "before", OPTIONS) as db:
        looking.wait(10)
        for number in range(8):
            db.messaging.send("team", "ann", {"text": f"new word {number}"})
        go_on.set()
        assert texts(db, "lost") == []
        assert len(texts(db)) == 9


def test_an_index_ahead_of_a_healed_store_is_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "first word"})
    assert texts(db) == ["first word"]
    index = indexer_of(db)
    follower = index._current
    assert follower is not None
    monkeypatch.setattr("timeline.health._HEAL_SECONDS", 0.0)
    step, go_on = Follower.step, threading.Event()
    monkeypatch.setattr(Follower, "step", lambda each: go_on.is_set() and step(each))
    follower.position += 3  # as if what was applied last had been lost on the way to the disk
    db.engine.health.poison(None, OSError("I/O error"))
    heal(db)
    for number in range(5):
        db.messaging.send("team", "ann", {"text": f"new word {number}"})
    go_on.set()
    assert len(texts(db)) == 6


# --- building -------------------------------------------------------------------------------------


def test_the_old_index_is_followed_while_the_new_one_catches_up(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.follower._BYTES", 1)
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
    monkeypatch.setattr("timeline.search.build._BYTES", 2_000)
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
