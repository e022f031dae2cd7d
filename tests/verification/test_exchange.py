"""The promise: a repair in place that is killed anywhere is begun anew by the next one, and until
then no opening takes new files together with damaged ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from tests.verification.damage import flip_record, flipped, pairs, put, state
from timeline.errors import CorruptError, UsageError
from timeline.verification import repair, repair_in_place, verify

KEPT = list(range(1, 13))  # of entries, after the repair


def damaged_log(tmp_path: Path) -> Path:
    """A store that was killed, with everything in its log, in which the 13th commit is damaged."""
    with timeline.open(tmp_path / "live", search=False) as db:
        for n in range(1, 21):
            db.timeline("audit").append({"n": str(n)})
        path = copy_as_killed(db, tmp_path / "damaged")
    flip_record(path, 13)
    return path


def damaged_tables(tmp_path: Path) -> Path:
    """A closed store of which a segment is damaged."""
    path = tmp_path / "damaged"
    with timeline.open(path, search=False, segment_entries=4) as db:
        db.timeline("audit").append_many([{"n": str(n)} for n in range(1, 17)])
    key, value = pairs(path, "segments")[-1]
    put(path, "segments", key, flipped(value))
    return path


def damaged_again(tmp_path: Path) -> Path:
    """The same, and beside it lies what an earlier repair has put aside."""
    path = damaged_tables(tmp_path)
    for name in ("rocks", "log"):
        (path / f"{name}.damaged").mkdir()
        (path / f"{name}.damaged" / "earlier").write_text("kept")
    return path


STORES = (damaged_log, damaged_tables, damaged_again)


def numbers(path: Path) -> list[int]:
    with timeline.open(path, create=False, search=False) as db:
        return [entry.seq for entry in db.timeline("audit")]


def copies_as_killed(path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Repair a store; what it would be if that were killed before or after any of its renames."""
    copies: list[Path] = []
    replace = Path.replace

    def copy() -> None:
        copies.append(Path(shutil.copytree(path, into / str(len(copies)))))

    def copying(self: Path, target: Path) -> Path:
        if not copies:
            copy()
        found = replace(self, target)
        copy()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", copying)
        repair_in_place(path)
    assert len(copies) == 6
    return copies


@pytest.mark.parametrize("make", STORES)
def test_killed_anywhere_it_is_begun_anew(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    damaged = state(path / "rocks"), state(path / "log")
    for number, copy in enumerate(copies_as_killed(path, tmp_path / "copies", monkeypatch)):
        untouched, repaired = number == 0, number >= 4
        if not untouched and not repaired:
            assert not (copy / "rocks").exists()
            with pytest.raises(CorruptError, match="timeline repair"):
                timeline.open(copy, search=False)
            with pytest.raises(CorruptError, match="timeline repair"):
                timeline.open(copy, search=False, read_only=True)
            with pytest.raises(UsageError, match="--in-place"):
                repair(copy, tmp_path / "elsewhere")
        assert not verify(copy).sound or repaired
        done = repair_in_place(copy)
        assert numbers(copy) == KEPT, number
        assert verify(copy).findings == []
        assert done.kept is not None
        if not repaired:
            log = done.kept.with_name(done.kept.name.replace("rocks", "log"))
            assert (state(done.kept), state(log)) == damaged
    assert numbers(path) == KEPT


@pytest.mark.parametrize("make", STORES)
@pytest.mark.parametrize("at", range(5))
def test_stopped_anywhere_it_is_undone_or_done(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    path = make(tmp_path)
    before = state(path)
    replace, calls = Path.replace, 0

    def refusing(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refusing)
        with pytest.raises(KeyboardInterrupt):
            repair_in_place(path)
    assert not (path / "repairing").exists()
    if at < 4:
        assert state(path) == before
    repair_in_place(path)
    assert numbers(path) == KEPT


def test_what_an_earlier_version_was_killed_in_is_undone(tmp_path: Path) -> None:
    """It put aside what RocksDB keeps, and knew no other files."""
    path = damaged_tables(tmp_path)
    (path / "rocks").rename(path / "rocks.damaged")
    repair_in_place(path)
    assert numbers(path) == KEPT


def test_what_was_put_aside_long_ago_does_not_come_back(tmp_path: Path) -> None:
    """The tables were lost since; the log that goes on from there is not taken for a leftover."""
    path = damaged_log(tmp_path)
    repair_in_place(path)
    with timeline.open(path, search=False) as db:
        db.timeline("audit").append({"n": "new"})
    log = state(path / "log")
    shutil.rmtree(path / "rocks")
    done = repair_in_place(path)
    assert done.kept == path / "rocks.damaged.2"
    assert state(path / "log.damaged.2") == log
    assert verify(path).findings == []


def test_undoing_it_may_be_killed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = damaged_tables(tmp_path)
    damaged = state(path / "rocks"), state(path / "log")
    copy = copies_as_killed(path, tmp_path / "copies", monkeypatch)[3]
    shutil.rmtree(copy / "log")
    (copy / "log.damaged").rename(copy / "log")
    done = repair_in_place(copy)
    assert done.kept == copy / "rocks.damaged"
    assert (state(copy / "rocks.damaged"), state(copy / "log.damaged")) == damaged
    assert numbers(copy) == KEPT
