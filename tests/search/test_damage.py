"""Whatever part of an index is damaged: that is found, said, and costs as little as can be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

import timeline
from tests.engine.test_corruption import damage
from tests.search.indexes import OPTIONS, PanicException, indexer_of, stats, texts, until
from timeline.embedded.database import Database
from timeline.errors import CorruptError, IndexLagError, TimelineError
from timeline.search.index.checksums import _files
from timeline.search.index.index import Index, IndexDamageError
from timeline.storage.rocks import SEGMENTS
from timeline.verification import verify


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
    until(db, lambda: index._generations.checking is None)
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(before, "searcher", Failing(error))
            with pytest.raises(IndexLagError, match="failed"):
                texts(db, wait=0)
            with pytest.raises(IndexLagError, match="failed"):
                db.find("word")
        assert texts(db) == ["word"], "it serves on"
        until(db, lambda: looked_at != [] and index._generations.checking is None)
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
    until(db, lambda: index._generations.checking is None)
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


def test_an_index_that_contradicts_itself_is_built_anew(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.messaging.send("team", "ann", {"text": "word"})
    assert texts(db) == ["word"]
    with monkeypatch.context() as patch:
        patch.setattr("timeline.search.search.Search._collect", contradicting)
        with pytest.raises(IndexLagError, match="damaged"):
            db.messaging.search("bob", "word")
    assert texts(db) == ["word"]
    assert stats(db)["index_builds"] == 2


def contradicting(*_: object) -> None:
    raise IndexDamageError("data corrupted")
