"""The promise: who opens a store read only is told of damage, is never shown it as content, and
keeps what they have seen.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import timeline
from tests.engine.readonly.opening import newest_file, opened
from tests.engine.stores import (
    SMALL,
    copy_as_killed,
    state_of,
    wait_for_spare,
)
from tests.engine.test_corruption import Forgetful, flip, frames_of, spoil
from tests.engine.twin import Twin, picture_of
from timeline.errors import (
    CorruptError,
)
from timeline.formats.logfiles import FRAME_BYTES
from timeline.storage.mark import DurableMark


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
        wait_for_spare(twin.db.engine.store)
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
