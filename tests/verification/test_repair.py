"""The promise: repair keeps everything that is whole and says exactly what is not; the damaged
store stays as it is until the repaired one is there, whatever happens on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from tests.verification.damage import (
    fill,
    flip_record,
    flipped,
    frames,
    pairs,
    put,
    state,
    take_out,
)
from timeline.errors import (
    CorruptError,
    LockedError,
    NotFoundError,
    StorageError,
    TrimmedError,
    UsageError,
)
from timeline.formats import keys
from timeline.formats.segments import Segment
from timeline.verification import repair, repair_in_place, verify


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    with timeline.open(path, search=False, segment_entries=10) as db:
        for _ in range(10):
            db.timeline("audit").append_many([{"n": str(n)} for n in range(10)])
    return path


def numbers(path: Path, name: str = "audit") -> list[int]:
    with timeline.open(path, create=False, search=False) as db:
        return [entry.seq for entry in db.timeline(name)]


def damage_segment(path: Path, place: int) -> range:
    """Flip a bit in a segment; the numbers that were in it."""
    key, value = pairs(path, "segments")[place]
    segment = Segment(key, value)
    put(path, "segments", key, flipped(value))
    return range(segment.first, segment.last + 1)


def test_a_damaged_segment_costs_its_entries_and_no_other(store: Path, tmp_path: Path) -> None:
    lost = damage_segment(store, 3)
    done = repair(store, tmp_path / "new")
    assert numbers(tmp_path / "new") == [n for n in range(1, 101) if n not in lost]
    assert {(each.timeline, each.number) for each in done.lost} >= {(b"audit", lost[-1])}
    assert any(f"{lost[0]}-{lost[-1]}" in each.text for each in done.lost), "the range is named"
    with timeline.open(tmp_path / "new", search=False) as db:
        assert len(db.timeline("audit")) == 100 - len(lost), "what is lost is a hole"


def test_the_newest_entries_lost_leave_their_numbers_given_out(store: Path, tmp_path: Path) -> None:
    lost = damage_segment(store, -1)
    repair(store, tmp_path / "new")
    with timeline.open(tmp_path / "new", search=False) as db:
        assert db.timeline("audit").append({"n": "next"}) == lost[-1] + 1


def test_a_name_that_is_spoilt_in_one_place_is_known_from_the_other(
    store: Path, tmp_path: Path
) -> None:
    with timeline.open(store, search=False) as db:
        db.timeline("other").append({"n": "other"})
    row = keys.ROW + keys.number(1)
    value = dict(pairs(store, "state", row))[row]
    put(store, "state", row, value.replace(b"audit", b"\xffudit"))
    repair(store, tmp_path / "row")
    assert numbers(tmp_path / "row") == list(range(1, 101))
    put(store, "state", row, value)
    put(store, "state", b"naudit", keys.number(2))
    put(store, "state", b"nother", keys.number(1))
    repair(store, tmp_path / "names")
    assert numbers(tmp_path / "names") == list(range(1, 101))
    assert numbers(tmp_path / "names", "other") == [1]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A store that was killed: everything is in the log only, a commit each."""
    with timeline.open(tmp_path / "live", search=False) as db:
        for n in range(1, 21):
            db.timeline("audit").append({"n": str(n)})
        return copy_as_killed(db, tmp_path / "killed")


def test_the_whole_prefix_of_the_log_is_kept(killed: Path, tmp_path: Path) -> None:
    take_out(killed, 13)
    with pytest.raises(CorruptError, match="timeline repair"):
        timeline.open(killed)
    report = verify(killed)
    assert any(each.family == "log" and each.number in (13, 14) for each in report.findings)
    done = repair(killed, tmp_path / "new")
    assert numbers(tmp_path / "new") == list(range(1, 13))
    assert any(each.family == "log" and each.lost for each in done.lost)


def test_a_damaged_record_ends_the_prefix(killed: Path, tmp_path: Path) -> None:
    flip_record(killed, 8)
    repair(killed, tmp_path / "new")
    assert numbers(tmp_path / "new") == list(range(1, 8))


@pytest.fixture
def followed(tmp_path: Path) -> Path:
    """A store that was killed: its commits up to the tenth are sealed, and kept for a consumer."""
    with timeline.open(tmp_path / "live", search=False) as db:
        db.log.move("reader", 0)
        for n in range(1, 21):
            db.timeline("audit").append({"n": str(n)})
            if n == 10:
                db.engine.seal()
                db.engine.store.storage.flush()
        return copy_as_killed(db, tmp_path / "killed")


@pytest.mark.parametrize("alter", [flip_record, take_out])
@pytest.mark.parametrize("places", [range(1), range(4, 5), range(6, 10), range(10)])
def test_damage_to_log_that_is_sealed_costs_only_its_followers(
    followed: Path, tmp_path: Path, alter: Callable[[Path, int], None], places: range
) -> None:
    where = str(frames(followed)[0].file)
    for lsn in places:
        alter(followed, lsn + 1)
    assert where in " ".join(each.text for each in verify(followed).findings)
    done = repair(followed, tmp_path / "new")
    assert numbers(tmp_path / "new") == list(range(1, 21))
    assert done.lost == []
    assert done.left == []
    assert verify(tmp_path / "new").sound


def test_followers_go_on_behind_damage_to_log_that_is_sealed(
    followed: Path, tmp_path: Path
) -> None:
    flip_record(followed, 4)
    repair(followed, tmp_path / "new")
    with timeline.open(tmp_path / "new", search=False) as db:
        assert [each.lsn for each in db.log.read(after=4)] == list(range(5, 21))
        with pytest.raises(TrimmedError):
            db.log.read(after=db.log.checkpoint("reader"))


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_a_list_of_files_that_is_lost_costs_nothing(
    followed: Path, tmp_path: Path, name: str
) -> None:
    """Nor what is in the log only."""
    for file in (followed / "rocks").glob(name):
        file.unlink()
    before = state(followed)
    done = repair(followed, tmp_path / "new")
    assert numbers(tmp_path / "new") == list(range(1, 21))
    assert done.lost == []
    assert verify(tmp_path / "new").sound
    assert state(followed) == before


def test_what_is_sealed_is_kept_although_its_log_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with timeline.open(path, search=False) as db:
        db.log.move("reader", 0)
        for n in range(1, 21):
            db.timeline("audit").append({"n": str(n)})
    take_out(path, *range(9, 21))
    assert not verify(path).sound
    done = repair(path, tmp_path / "new")
    assert done.lost == []
    with timeline.open(tmp_path / "new", search=False) as db:
        assert [entry.seq for entry in db.timeline("audit")] == list(range(1, 21))
        with pytest.raises(TrimmedError):
            db.log.read(after=db.log.checkpoint("reader"))
        db.timeline("audit").append({"n": "next"})
        assert db.log.head == 21
    assert verify(tmp_path / "new").sound


def test_a_log_that_ends_below_the_mark_is_accepted(killed: Path, tmp_path: Path) -> None:
    take_out(killed, 20)
    with pytest.raises(CorruptError, match="were acknowledged"):
        timeline.open(killed)
    done = repair(killed, tmp_path / "new")
    assert numbers(tmp_path / "new") == list(range(1, 20))
    assert any(each.family == "MARK" for each in done.lost)


def test_in_place_keeps_the_damaged_files_beside(store: Path) -> None:
    lost = damage_segment(store, 3)
    before = state(store / "rocks"), state(store / "log")
    done = repair_in_place(store)
    assert done.kept == store / "rocks.damaged"
    assert (state(store / "rocks.damaged"), state(store / "log.damaged")) == before
    assert numbers(store) == [n for n in range(1, 101) if n not in lost]
    assert verify(store).sound
    damage_segment(store, 3)
    assert repair_in_place(store).kept == store / "rocks.damaged.2"
    assert (store / "log.damaged.2").is_dir()


def test_devices_are_told_to_begin_anew(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    with timeline.open(tmp_path / "data") as db:
        cursor = db.messaging.conversations("bob").position
        assert not db.messaging.sync("bob", "phone", after=cursor).resync
    repair(tmp_path / "data", tmp_path / "new")
    with timeline.open(tmp_path / "new") as db:
        assert db.messaging.sync("bob", "phone", after=cursor).resync


class Stop(BaseException):
    """Ctrl-C, at a step."""


@pytest.mark.parametrize("at", ["looking", "copying", "applying", "mending"])
@pytest.mark.parametrize("in_place", [False, True])
def test_stopped_anywhere_nothing_is_left(
    store: Path, tmp_path: Path, at: str, in_place: bool
) -> None:
    damage_segment(store, 3)
    before, around = state(store), sorted(tmp_path.iterdir())

    def step(name: str) -> None:
        if name.startswith(at):
            raise Stop

    with pytest.raises(Stop):
        repair_in_place(store, step=step) if in_place else repair(
            store, tmp_path / "new", step=step
        )
    assert state(store) == before
    assert sorted(tmp_path.iterdir()) == around


def test_a_full_disk_leaves_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, around = state(store), sorted(tmp_path.iterdir())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("timeline.storage.rocks.Storage.write", full)
    with pytest.raises(StorageError, match="the disk is full: free some space"):
        repair(store, tmp_path / "new")
    assert state(store) == before
    assert sorted(tmp_path.iterdir()) == around


def test_what_cannot_be_repaired_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError):
        repair(tmp_path / "empty", tmp_path / "new")
    with pytest.raises(UsageError, match="exists already"):
        repair(store, tmp_path)
    with timeline.open(store, search=False) as db:
        with pytest.raises(LockedError, match="open in this process"):
            repair(store, tmp_path / "new")
        with pytest.raises(LockedError, match="open in this process"):
            repair_in_place(store)
        db.timeline("audit").append({"still": "mine"})
    assert not (tmp_path / "new").exists()


def test_every_error_that_names_repair_or_verify_names_what_there_is() -> None:
    texts = "".join(
        path.read_text("utf-8") for path in (Path(timeline.__file__).parent).rglob("*.py")
    )
    named = set(re.findall(r"`timeline ([a-z]+)", texts))
    assert {"verify", "repair"} <= named
    assert named <= {"verify", "repair", "reindex", "compact", "restore"}
