"""The promise: a name that is deleted and made anew goes on above the numbers that it had given
out, whatever lies between, for as many names as the option `deleted_names` says.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import timeline
from timeline.admin.export import export_records
from timeline.admin.load import load
from timeline.commit.deleted import forget
from timeline.commit.draft import Draft
from timeline.errors import SequenceError
from timeline.formats import keys
from timeline.verification import verify

OPTIONS = timeline.Options(search=False)


def make(db: timeline.Database, *names: str, entries: int = 3) -> None:
    for name in names:
        db.timeline(name).append_many([{"n": "x"}] * entries)


def known(db: timeline.Database) -> set[bytes]:
    """The deleted names that are remembered, told in both ways."""
    state = db.engine.state
    names = {key[1:] for key, _ in state.scan(keys.DELETED, keys.DELETIONS)} - {b""}
    stop = keys.successor(keys.DELETIONS)
    assert {key[9:] for key, _ in state.scan(keys.DELETIONS, stop)} == names
    count = state.get(keys.DELETED)
    assert (keys.split_pair(count)[0] if count else 0) == len(names)
    return names


def test_numbers_go_on_within_one_commit(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        with db.transaction() as write:
            assert write.append("a", {"n": "1"}) == 1
            assert write.drop("a")
            assert write.append("a", {"n": "2"}) == 2
            assert write.drop("a")
        assert db.timeline("a").append({"n": "3"}) == 3
        extent = db.timeline("a").extent()
        assert (extent.first, extent.head, extent.length, extent.added) == (3, 3, 1, 1)
        assert known(db) == set()


def test_a_number_given_out_and_trimmed_in_one_commit_stays_given(tmp_path: Path) -> None:
    def work(draft: Draft) -> None:
        made = draft.create(b"a")
        assert draft.append(made, [b"n", b"1"]) == 1
        draft.trim_to_length(made, 0)
        with pytest.raises(SequenceError, match="equal or smaller"):
            draft.append(made, [b"n", b"1"], 1)
        assert draft.append(made, [b"n", b"2"]) == 2

    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.engine.commit(work)


def test_what_was_trimmed_away_or_skipped_counts(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        make(db, "a")
        db.timeline("a").trim(length=0)
        db.timeline("a").append({"n": "x"}, seq=10)
        db.timeline("a").delete(10)
        db.timeline("a").drop()
        db.timeline("a").set_metadata({"owner": "ann"})  # made anew, and no entry yet
        assert db.timeline("a").head == 10
        assert len(db.timeline("a")) == 0
        db.timeline("a").drop()
        assert db.timeline("a").append({"n": "x"}) == 11


def test_a_name_that_gave_out_nothing_is_not_remembered(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.timeline("a").set_metadata({"owner": "ann"})
        db.timeline("a").drop()
        assert known(db) == set()
        assert db.timeline("a").append({"n": "x"}) == 1


def test_the_names_deleted_first_are_forgotten_first(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        names = ["d", "b", "c", "a"]
        make(db, *names)
        for name in names:
            db.timeline(name).drop()
        assert known(db) == {b"a", b"b", b"c", b"d"}
        db.engine.commit(lambda draft: forget(draft, 2))
        assert known(db) == {b"c", b"a"}
        assert not db.engine.commit(lambda draft: forget(draft, 2))
        make(db, "d")
        db.timeline("d").drop()
        db.engine.commit(lambda draft: forget(draft, 2))
        assert known(db) == {b"a", b"d"}
        assert db.timeline("b").append({"n": "x"}) == 1
        assert db.timeline("a").append({"n": "x"}) == 4
    assert verify(tmp_path / "store").sound


def test_beyond_the_option_they_are_forgotten_in_the_background(tmp_path: Path) -> None:
    options = timeline.Options(search=False, deleted_names=1, fsync="inline")
    with timeline.open(tmp_path / "store", options) as db:
        for name in "abc":
            make(db, name)
            db.timeline(name).drop()
        while known(db) != {b"c"}:
            db.engine.work()
            db.flush()


def test_however_busy_the_store_is_there_are_never_many_more(tmp_path: Path) -> None:
    options = timeline.Options(search=False, deleted_names=2, fsync="inline")
    with timeline.open(tmp_path / "store", options) as db:  # nothing is done in the background
        for name in "abcdef":
            make(db, name)
            db.timeline(name).drop()
        assert known(db) == {b"c", b"d", b"e", b"f"}
        with db.transaction() as write:
            for name in "ghi":
                write.append(name, {"n": "x"})
                write.drop(name)
        assert len(known(db)) == 4
        assert b"i" in known(db)


def test_an_option_of_zero_remembers_nothing(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", timeline.Options(search=False, deleted_names=0)) as db:
        make(db, "a")
        db.timeline("a").drop()
        assert db.timeline("a").append({"n": "x"}) == 1


def test_an_export_of_a_whole_store_tells_them(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        make(db, "a", "b")
        db.timeline("a").drop()
        db.timeline("b").drop()
        db.timeline("b").append({"n": "x"})
        with closing(export_records(db.engine)) as records:
            load(tmp_path / "copy", records)
    assert verify(tmp_path / "copy").sound
    with timeline.open(tmp_path / "copy", OPTIONS) as db:
        assert db.timeline("a").append({"n": "x"}) == 4
        assert db.timeline("b").extent().added == 1
        assert db.timeline("b").append({"n": "x"}) == 5


def test_no_number_is_above_what_protocols_can_tell(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        handle = db.timeline("a")
        with pytest.raises(SequenceError, match=str(keys.LAST)):
            handle.append({"n": "x"}, seq=keys.LAST + 1)
        assert handle.append({"n": "x"}, seq=keys.LAST) == keys.LAST
        with pytest.raises(SequenceError, match="last sequence number"):
            handle.append({"n": "x"})
        with pytest.raises(SequenceError, match="last sequence number"):
            handle.append_many([{"n": "x"}])

        def move(draft: Draft) -> None:
            draft.set_head(draft.find_or_create(b"b"), keys.LAST + 1)

        with pytest.raises(SequenceError):
            db.engine.commit(move)
        handle.drop()
        assert handle.append({"n": "x"}) == 1  # above the last there is none
