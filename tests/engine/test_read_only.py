"""The promise: a store opened read only shows what its owner wrote, and changes not a byte.

Held against the oracle after every step of a scenario with sealing, compaction and reopening, on
copies that a kill left, and on damaged ones; and against an owner that writes meanwhile.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    scratch_directory,
    small_steps,
    state_of,
)
from tests.engine.test_corruption import Forgetful, flip, frames_of, spoil
from tests.engine.twin import Twin, picture_of, scenario
from tests.forked import CONTEXT
from timeline.engine.store.directory import STORE_KEY
from timeline.engine.store.openedreadonly import ReadOnlyStore
from timeline.errors import (
    CorruptError,
    FormatVersionError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    TimelineError,
)
from timeline.formats.logfiles import FRAME_BYTES
from timeline.formats.rows import FORMAT, StoreRow, encode_store
from timeline.log.file import LogFile
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import META

INLINE = replace(SMALL, fsync="inline")


@pytest.fixture
def directory() -> Iterator[Path]:
    path = scratch_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


def opened(path: Path) -> timeline.Database:
    return timeline.open(path, SMALL, read_only=True)


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
            im.messages.searchable.rebuild,
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


# --- damage ---------------------------------------------------------------------------------------


@pytest.fixture
def twin(directory: Path) -> Iterator[Twin]:
    """A live store with a log of several files, of which the newest commits are not sealed."""
    options = replace(INLINE, write_buffer_bytes=2**25, log_file_bytes=4_096)
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", options, clock)
        for step in scenario(30, 21):
            if step[0] not in ("drop", "compact"):
                twin.do(step)
        for number in range(30):
            twin.do(("append", b"a", b"new %d" % number))
        yield twin
        abandon(twin.db)


def newest_file(path: Path) -> Path:
    return max((path / "log").glob("*.log"))


def test_a_log_that_misses_its_end_is_told(twin: Twin, directory: Path) -> None:
    """Its newest file was cut at the border of a record, or has gone: only the mark knows."""
    frames = [each for each in frames_of(twin.path) if each.file == newest_file(twin.path)]
    assert len(frames) > 2
    for place in (frames[-1].place, frames[1].place, 0):
        copy_as_killed(twin.db, directory / "cut")
        file = newest_file(directory / "cut")
        if place:
            content = file.read_bytes()
            file.write_bytes(content[:place].ljust(len(content), b"\0"))
        else:
            file.unlink()
        with pytest.raises(CorruptError, match="acknowledged"):
            opened(directory / "cut")
        shutil.rmtree(directory / "cut")


def test_a_torn_tail_of_a_killed_owner_is_read_around_and_left_alone(
    twin: Twin, directory: Path
) -> None:
    """The write that was under way is there in part. It was never acknowledged."""
    last = frames_of(twin.path)[-1]
    before = twin.pictures[last.first - 1]
    for kept in range(0, FRAME_BYTES + last.size, 5):
        copy_as_killed(twin.db, directory / "torn")
        file = newest_file(directory / "torn")
        content = file.read_bytes()
        torn = content[: last.place + kept].ljust(len(content), b"\0")
        file.write_bytes(torn)
        mark(directory / "torn", last.first - 1)
        state = state_of(directory / "torn")
        with opened(directory / "torn") as db:
            assert db.log.head == last.first - 1
            assert picture_of(db, twin.users) == before
            assert not db.refresh()
            file.write_bytes(content)  # and now it is whole
            assert db.refresh()
            assert picture_of(db, twin.users) == twin.expected()
            file.write_bytes(torn)
        assert [each[:2] for each in state_of(directory / "torn")] == [each[:2] for each in state]
        shutil.rmtree(directory / "torn")


def mark(path: Path, lsn: int) -> None:
    (path / "MARK").unlink()
    written = DurableMark(path / "MARK")
    written.write(lsn)
    written.close()


def test_a_flipped_bit_in_the_log_is_never_shown_as_content(
    twin: Twin, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.storage.tuning._caches", Forgetful())
    draw = random.Random(5)
    refused = 0
    for file in sorted((twin.path / "log").glob("*.log")):
        for position in sorted(draw.sample(range(file.stat().st_size), 12)):
            path = directory / "copy"
            copy_as_killed(twin.db, path)
            flip(path / "log" / file.name, position, draw.randrange(8))
            try:
                with opened(path) as db:
                    assert picture_of(db, twin.users) == twin.expected(), f"byte {position}"
            except CorruptError:
                refused += 1
            shutil.rmtree(path)
    assert refused


def test_damage_that_comes_while_it_is_read_is_told_and_what_was_read_stays(
    twin: Twin, directory: Path
) -> None:
    copy_as_killed(twin.db, directory / "copy")
    file = newest_file(directory / "copy")
    with opened(directory / "copy") as db:
        for number in range(3):
            twin.do(("append", b"a", b"later %d" % number))
        shutil.copytree(twin.path / "log", directory / "copy" / "log", dirs_exist_ok=True)
        shutil.copy(twin.path / "MARK", directory / "copy" / "MARK")
        frame = next(each for each in frames_of(directory / "copy") if each.last > db.log.head)
        flip(frame.file, frame.body + 2, 1)
        with pytest.raises(CorruptError, match=f"{frame.file.name}.*damaged"):
            db.refresh()
        assert frame.file >= file
        flip(frame.file, frame.body + 2, 1)
        assert db.refresh()
        assert picture_of(db, twin.users) == twin.expected()


@pytest.mark.parametrize("how", ["bit", "record"])
def test_a_look_that_fails_after_the_owner_sealed_leaves_what_was_seen_before(
    twin: Twin, directory: Path, how: str
) -> None:
    """Both the tables and the log have moved on, and a record that is not sealed is damaged."""
    copy_as_killed(twin.db, directory / "copy")
    with opened(directory / "copy") as db:
        before = picture_of(db, twin.users)
        head = db.log.head
        twin.do(("append", b"a", b"sealed"))
        twin.db.engine.seal()
        twin.db.engine.store.flush()
        for number in range(3):
            twin.do(("append", b"a", b"later %d" % number))
        shutil.rmtree(directory / "copy")
        copy_as_killed(twin.db, directory / "copy")
        frame = frames_of(directory / "copy")[-2]
        whole = frame.file.read_bytes()
        if how == "bit":
            flip(frame.file, frame.body + 2, 1)
        else:
            spoil(frame)
        for _ in range(2):
            with pytest.raises(CorruptError, match=r"damaged|checksum"):
                db.refresh()
            assert db.log.head == head
            assert picture_of(db, twin.users) == before
        frame.file.write_bytes(whole)
        assert db.refresh()
        assert picture_of(db, twin.users) == twin.expected()


def test_what_was_marked_since_it_was_opened_must_be_there(twin: Twin, directory: Path) -> None:
    """The mark is read at each look, before the log."""
    copy_as_killed(twin.db, directory / "copy")
    with opened(directory / "copy") as db:
        mark(directory / "copy", twin.oracle.lsn + 1)
        with pytest.raises(CorruptError, match=f"up to {twin.oracle.lsn + 1} were acknowledged"):
            db.refresh()
        mark(directory / "copy", twin.oracle.lsn)
        assert not db.refresh()
        assert picture_of(db, twin.users) == twin.expected()


@pytest.mark.parametrize("again", [False, True], ids=["opened", "refreshed"])
def test_a_file_of_the_log_that_goes_while_it_is_opened_is_no_failure(
    directory: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """The owner lets it go between the look at the directory and the opening of the file."""
    with timeline.open(directory / "store", replace(INLINE, log_file_bytes=4_096)) as owner:
        owner.log.move("behind", 0)
        for number in range(100):
            owner.timeline("a").append({"n": str(number)})
        owner.engine.store.flush()
        oldest = min((directory / "store" / "log").glob("*.log"))
        assert oldest != newest_file(directory / "store")
        opening = LogFile.open

        def let_go_first(path: Path, *, read_only: bool = False) -> LogFile | None:
            oldest.unlink(missing_ok=True)
            return opening(path, read_only=read_only)

        def look(db: timeline.Database) -> None:
            assert len(db.timeline("a")) == 100

        if again:
            with opened(directory / "store") as db:
                assert isinstance(db.engine.store, ReadOnlyStore)
                db.engine.store._reader._files = []  # as if it came since
                monkeypatch.setattr(LogFile, "open", let_go_first)
                db.refresh()
                look(db)
        else:
            monkeypatch.setattr(LogFile, "open", let_go_first)
            with opened(directory / "store") as db:
                look(db)
        assert not oldest.exists()


# --- an owner that writes meanwhile ---------------------------------------------------------------


def write_on(path: Path, changes: dict[str, Any], pipe: Connection) -> None:
    """Append to timelines in turn, two at a time, from where the one before was killed, as many as
    the reader asks for.
    """
    with timeline.open(path, replace(SMALL, **changes)) as db:
        number = db.timeline("even").head
        pipe.send(number)
        while True:
            for _ in range(pipe.recv()):
                with db.transaction() as both:
                    for name in ("even", f"room:{number % 40}"):
                        both.append(name, {"n": str(number), "filling": "x" * (number % 300)})
                number += 1
                if number % 150 == 0:
                    db.compact()


@pytest.mark.parametrize("followed", [False, True])
def test_what_is_read_while_it_is_written_has_no_gap(directory: Path, followed: bool) -> None:
    """Log files, table files and manifests come and go under the reader; owners are killed. Where
    a consumer keeps the log, it can be followed by who reads, too.
    """
    path = directory / "store"
    with timeline.open(path, SMALL) as made:
        if followed:
            made.log.move("keeps the log", 0)
    # Interval durability survives a kill. Log files are small, so they come and go.
    changes = {"fsync": "inline", "durability": "interval", "log_file_bytes": 4_096}
    draw = random.Random(1)
    seen = 0
    with opened(path) as db:
        for _ in range(3):
            ours, theirs = CONTEXT.Pipe()
            child = CONTEXT.Process(target=write_on, args=(path, changes, theirs))
            child.start()
            try:
                assert ours.recv() >= seen, "what was seen is what the next owner goes on from"
                until = seen + draw.randint(150, 450)
                while seen < until:
                    ours.send(40)  # while that is written, it is looked at
                    seen = look(db, seen)
                    if draw.random() < 0.2:
                        with opened(path) as anew:
                            assert look(anew, seen) >= seen
                ours.send(10**9)  # so that it is killed while it writes
                seen = look(db, seen)
            finally:
                child.kill()
                child.join()
            seen = look(db, seen)


def look(db: timeline.Database, seen: int) -> int:
    """How many commits are there now, which have no gap."""
    db.refresh()
    even = db.timeline("even")
    numbers = [int(entry.text("n")) for entry in even.range(first=max(1, seen - 50))]
    assert numbers == list(range(max(0, seen - 51), even.head)), "a gap, or something twice"
    assert even.head >= seen, "what was seen is still there"
    rooms = sum(len(db.timeline(f"room:{room}")) for room in range(40))
    assert rooms == even.head, "a commit is there wholly or not at all"
    if db.log.checkpoints():
        behind = max(0, db.log.head - 100)
        commits = [commit.lsn for commit in db.log.read(after=behind, limit=1_000)]
        assert commits == list(range(behind + 1, db.log.head + 1))
    return even.head


@pytest.mark.parametrize("how", ["gone", "cut", "its end changed"])
def test_a_file_that_cannot_be_opened_is_told_and_no_family_taken_for_empty(
    directory: Path, how: str
) -> None:
    with timeline.open(directory / "whole", SMALL) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(200):
            db.messaging.send("team", "ann", {"text": str(number)})
        db.messaging.edit("team", 3, "ann", {"text": "another"})
        db.engine.seal()
    names = [path.name for path in (directory / "whole" / "rocks").glob("*.sst")]
    assert len(names) > 3
    for name in names:
        shutil.copytree(directory / "whole", directory / name)
        file = directory / name / "rocks" / name
        if how == "gone":
            file.unlink()
        elif how == "cut":
            file.write_bytes(file.read_bytes()[:-1])
        else:
            flip(file, file.stat().st_size - 1, 3)
        with pytest.raises(CorruptError, match=f"{name}.*restore a backup"):
            opened(directory / name)


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
