"""The promise: a store opened read only shows what its owner wrote, and changes not a byte.

Held against the oracle after every step of a scenario with sealing, compaction and reopening, and
on copies that a kill left.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import timeline
from tests.engine.readonly.opening import INLINE, opened
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    small_steps,
    state_of,
)
from tests.engine.twin import Twin, picture_of, scenario
from timeline.engine.store.directory import STORE_KEY
from timeline.errors import (
    CorruptError,
    FormatVersionError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    TimelineError,
)
from timeline.formats.rows import FORMAT, StoreRow, encode_store
from timeline.storage.rocks import META


@pytest.mark.parametrize("seed", range(4))
def test_after_every_step_it_shows_what_the_owner_holds(directory: Path, seed: int) -> None:
    """Opened once and refreshed, and opened anew; the owner seals, compacts and reopens."""
    draw = random.Random(seed)
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", INLINE, clock)
        with opened(twin.path) as followed:
            for step in scenario(60, seed):
                twin.do(step)
                if draw.random() < 0.1:
                    twin.db.close()
                    twin.db = timeline.open(twin.path, INLINE)
                if draw.random() < 0.3:
                    twin.db.engine.store.storage.flush()
                if draw.random() < 0.6:
                    before = followed.log.head
                    assert followed.refresh() == (twin.oracle.lsn > before)
                    assert followed.log.head == twin.oracle.lsn
                    assert picture_of(followed, twin.users) == twin.expected(), step
                if draw.random() < 0.2:
                    with opened(twin.path) as anew:
                        assert picture_of(anew, twin.users) == twin.expected(), step
        abandon(twin.db)


def test_looking_changes_nothing_stopped_killed_or_live(directory: Path) -> None:
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "live", INLINE, clock)
        for step in scenario(40, 9):
            twin.do(step)
        copy_as_killed(twin.db, directory / "killed")
        for name in ("live", "killed"):
            before = state_of(directory / name)
            with opened(directory / name) as db:
                assert picture_of(db, twin.users) == twin.expected()
                db.refresh()
                db.inspect()
            assert state_of(directory / name) == before, name
        twin.db.close()
        before = state_of(directory / "live")
        with opened(directory / "live") as db:
            assert picture_of(db, twin.users) == twin.expected()
        assert state_of(directory / "live") == before
        with timeline.open(directory / "killed", INLINE) as db:
            assert picture_of(db, twin.users) == twin.expected(), "it can still be opened"


def test_every_write_is_refused_and_none_is_made(directory: Path) -> None:
    with timeline.open(directory / "store") as db:
        db.timeline("audit").append({"n": "1"})
        db.messaging.create("team", "ann", members=["bob"])
    before = state_of(directory / "store")
    with timeline.open(directory / "store", read_only=True) as db:
        audit, im = db.timeline("audit"), db.messaging
        for write in (
            lambda: audit.append({"n": "2"}),
            lambda: audit.append_many([{"n": "2"}]),
            lambda: audit.append_async({"n": "2"}),
            lambda: audit.trim(before=1),
            lambda: audit.set_metadata({"a": "b"}),
            audit.compact,
            db.compact,
            lambda: db.log.move("me", 1),
            lambda: im.send("team", "ann", {"text": "hi"}),
            db.index.searchable.rebuild,
        ):
            with pytest.raises(ReadOnlyError) as refused:
                write()
            assert not refused.value.retryable
        with pytest.raises(ReadOnlyError), db.transaction() as both:
            both.append("audit", {"n": "2"})
        assert not db.engine.work()
        assert len(audit) == 1
    assert state_of(directory / "store") == before


def test_nothing_is_left_behind(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeline.open(directory / "store").close()
    temporary = directory / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with timeline.open(directory / "store", read_only=True) as db:
        assert list(temporary.iterdir())
        db.inspect()
    assert not list(temporary.iterdir())
    (directory / "none" / "rocks").mkdir(parents=True)
    (directory / "none" / "rocks" / "CURRENT").write_text("MANIFEST-000001\n")
    with pytest.raises(TimelineError):
        opened(directory / "none")
    assert not list(temporary.iterdir()), "nor by an opening that fails"


def test_where_no_temporary_directory_can_be_made(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline.open(directory / "store").close()
    monkeypatch.setattr("tempfile.tempdir", str(directory / "nowhere"))
    with pytest.raises(StorageError, match="TMPDIR"):
        opened(directory / "store")


def test_what_is_no_store_is_left_alone(directory: Path) -> None:
    (directory / "file").touch()
    (directory / "empty").mkdir()
    for name in ("file", "empty", "nowhere"):
        with pytest.raises(NotFoundError, match="no Timeline store"):
            opened(directory / name)
    assert not list((directory / "empty").iterdir())


def test_a_store_of_a_newer_version_is_named(directory: Path) -> None:
    with timeline.open(directory / "store", SMALL) as db:
        storage = db.engine.store.storage
        batch = storage.batch()
        batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT + 1, 7)))
        storage.write(batch)
    with pytest.raises(FormatVersionError, match=f"format {FORMAT + 1}"):
        opened(directory / "store")


def test_a_store_without_the_file_it_is_opened_by_is_no_new_one(directory: Path) -> None:
    with timeline.open(directory, SMALL) as db:
        db.timeline("a").append({"n": "1"})
    (directory / "rocks" / "CURRENT").unlink()
    shutil.rmtree(directory / "index", ignore_errors=True)
    before = sorted(directory.rglob("*"))
    for reading in (True, False):
        with pytest.raises(CorruptError, match=r"rocks/CURRENT has gone: .*timeline repair"):
            timeline.open(directory, SMALL, read_only=reading)
    assert sorted(directory.rglob("*")) == before


def test_a_backup_and_a_store_are_not_mistaken_for_each_other(directory: Path) -> None:
    with timeline.open(directory / "store", SMALL) as db:
        db.timeline("a").append({"n": "1"})
        db.backup(directory / "backup")
    for reading in (True, False):
        with pytest.raises(NotFoundError, match=r"is a backup: .*timeline restore"):
            timeline.open(directory / "backup", SMALL, read_only=reading)
    with pytest.raises(NotFoundError, match="is a store, no backup"):
        timeline.restore(directory / "store", directory / "new")
