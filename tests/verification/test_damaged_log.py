"""The promise: damage at any place of any file of the log is found, and named with its file. It is
never taken for a write that a power cut tore, nor such a write for damage. What lies before the
first damage is kept, and so is all that is sealed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import timeline
from tests.engine.stores import abandon, copy_as_killed
from tests.verification.damage import (
    flip,
    flip_record,
    frame_of,
    frames,
    log_files,
    put_record,
    spoil_header,
    take_out,
)
from timeline.errors import CorruptError, FormatVersionError
from timeline.formats.logfiles import FRAME_BYTES, HEADER_BYTES
from timeline.log.reader import LogReader
from timeline.log.salvage import SalvagedFiles
from timeline.options import Options
from timeline.storage.mark import read_mark
from timeline.verification import repair, verify
from timeline.verification.snapshot.commits import Commits, in_files
from timeline.verification.snapshot.findings import Finding

SEALED, LAST = 15, 40
OPTIONS = Options(search=False, log_file_bytes=4_096, fsync="inline", retention_check_ms=10**9)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was killed, with a log in several small files. It is sealed in the middle of
    one, and moved checkpoints lie among its commits.
    """
    directory = tmp_path_factory.mktemp("log")
    with timeline.open(directory / "live", OPTIONS) as db:
        db.log.move("reader", 0)
        for n in range(1, LAST + 1):
            db.timeline("audit").append({"n": str(n), "pad": "x" * (n * 37 % 200)})
            if n % 7 == 0:
                db.log.move("reader", n // 7)
            if n == SEALED:
                db.engine.seal()
                db.engine.store.flush()
        return copy_as_killed(db, directory / "killed")


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def found_in(path: Path, sealed: int = SEALED) -> list[Finding]:
    """What is found in the log alone."""
    mark = read_mark(path / "MARK")
    assert mark is not None
    files = SalvagedFiles(path / "log")
    return Commits(in_files(files, mark.lsn), files.size, sealed, mark.lsn).findings


def is_refused(path: Path) -> bool:
    """Whether an opening refuses the log."""
    mark = read_mark(path / "MARK")
    assert mark is not None
    try:
        LogReader(path / "log", after=SEALED, marked=mark.lsn, read_only=True)
    except CorruptError:
        return True
    return False


class Place(NamedTuple):
    file: Path
    at: int
    used: bool


def places(path: Path) -> Iterator[Place]:
    """Places of all files: every byte of headers and of what is before a record, some others."""
    files = log_files(path)
    for file, next_ in zip(files, [*files[1:], None], strict=True):
        below = None if next_ is None else int(next_.stem)
        for at in range(HEADER_BYTES):
            if at % 512 < 64 or at % 8 == 0:
                yield Place(file, at, used=True)
        inside = [each for each in frames(path) if each.file == file]
        for _, first, _, begin, end in inside:
            used = below is None or first < below  # else the next file holds it too
            size = int.from_bytes(file.read_bytes()[begin + 16 : begin + 20], "little")
            stop = begin + FRAME_BYTES + size
            for at in range(begin, stop):
                if at < begin + FRAME_BYTES or at % 8 == 0:
                    yield Place(file, at, used)
            for at in range(stop, end):  # zeros that pad it
                yield Place(file, at, used=False)
        for at in range(inside[-1].end, file.stat().st_size, 61):
            yield Place(file, at, used=False)


def test_the_store_is_what_these_tests_need(filled: Path) -> None:
    assert len(log_files(filled)) >= 3
    below = [each for each in frames(filled) if each.last < SEALED]
    assert {each.file for each in frames(filled)} - {each.file for each in below}
    assert any(each.last < each.first <= SEALED for each in frames(filled))
    assert any(each.first > SEALED and each.last < each.first for each in frames(filled))
    assert verify(filled).findings == []


def test_a_bit_at_any_place_is_found_and_named(store: Path) -> None:
    draw = random.Random(1)
    for file, at, used in places(store):
        content = file.read_bytes()
        flip(file, at, 1 << draw.randrange(8))
        found = found_in(store)
        where = f"byte {at} of {file.name}"
        if used:
            assert str(file) in " ".join(each.text for each in found), where
        else:
            assert found == [], where
        assert any(each.lost for each in found) is is_refused(store), where
        file.write_bytes(content)


def test_whatever_is_damaged_the_prefix_is_kept(
    filled: Path, tmp_path: Path, damage_cases: int
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    used = [each for each in places(filled) if each.used]
    for number in range(damage_cases // 4):
        file, at, _ = draw.choice(used)
        where = f"byte {at} of {file.name}, seed {seed}"
        path = Path(shutil.copytree(filled, tmp_path / f"data{number}"))
        flip(path / "log" / file.name, at)
        report = verify(path)
        assert str(path / "log" / file.name) in " ".join(each.text for each in report.findings)
        inside = (each for each in frames(filled) if each.file == file)
        damaged = next((each for each in inside if each.place <= at < each.end), None)
        last = LAST
        if damaged is not None and damaged.first > SEALED and damaged.last >= damaged.first:
            last = damaged.first - 1
        done = repair(path, tmp_path / f"new{number}")
        assert done.left == [], where
        assert verify(tmp_path / f"new{number}").findings == [], where
        assert entries(tmp_path / f"new{number}") == list(range(1, last + 1)), where
        assert bool(done.lost) >= (last < LAST), where


def entries(path: Path) -> list[int]:
    with timeline.open(path, create=False, search=False) as db:
        return [entry.seq for entry in db.timeline("audit")]


def test_an_opening_names_the_byte_and_repair_keeps_what_is_before_it(
    store: Path, tmp_path: Path
) -> None:
    found = frame_of(store, 30)
    flip_record(store, 30)
    text = f"{found.file.name} is damaged at byte {found.place}"
    with pytest.raises(CorruptError, match=text):
        timeline.open(store, search=False)
    told = [each for each in verify(store).findings if each.family == "log"]
    assert [text in each.text for each in told] == [True]
    assert told[0].lost
    done = repair(store, tmp_path / "new")
    assert entries(tmp_path / "new") == list(range(1, 30))
    assert any(text in each.text for each in done.lost)


def test_a_write_that_a_power_cut_tore_is_no_damage(store: Path) -> None:
    """The group was not acknowledged: the mark ends before it."""
    found = frame_of(store, LAST)
    with timeline.open(store, OPTIONS) as db:
        db.timeline("audit").append({"n": "torn"})
        abandon(db)
    torn = frame_of(store, LAST + 1)
    content = found.file.read_bytes()
    (store / "MARK").unlink()
    for cut in range(torn.place, torn.end - 8, 5):
        torn.file.write_bytes(content[:cut].ljust(len(content), b"\0"))
        assert found_in_with(store, marked=LAST) == []


def found_in_with(path: Path, *, marked: int) -> list[Finding]:
    files = SalvagedFiles(path / "log")
    return Commits(in_files(files, marked), files.size, SEALED, marked).findings


@pytest.mark.parametrize("name", ["first", "middle", "newest"])
@pytest.mark.parametrize("kind", ["gone", "empty", "header", "cut"])
def test_a_whole_file_that_is_lost_costs_what_was_in_it(
    store: Path, tmp_path: Path, name: str, kind: str
) -> None:
    files = log_files(store)
    file = {"first": files[0], "middle": files[-2], "newest": files[-1]}[name]
    inside = [each for each in frames(store) if each.file == file and each.last >= each.first]
    if kind == "gone":
        file.unlink()
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "header":
        file.write_bytes(bytes(HEADER_BYTES) + file.read_bytes()[HEADER_BYTES:])
    else:
        file.write_bytes(file.read_bytes()[: inside[0].place])
    last = inside[0].first - 1
    if last < SEALED:
        last = LAST if inside[-1].last <= SEALED else SEALED
    report = verify(store)
    if (name, kind) != ("first", "gone"):  # it may have been let go
        assert not report.sound
    assert any(each.lost for each in report.findings) is (last < LAST)
    done = repair(store, tmp_path / "new")
    assert entries(tmp_path / "new") == list(range(1, last + 1))
    assert bool(done.lost) is (last < LAST)
    assert done.left == []
    assert verify(tmp_path / "new").findings == []


def test_a_header_of_which_only_the_salt_is_left_loses_nothing(store: Path, tmp_path: Path) -> None:
    file = log_files(store)[-1]
    for copy in (0, 512):
        flip(file, copy + 20)
    assert is_refused(store)
    (told,) = verify(store).findings
    assert not told.lost
    assert str(file) in told.text
    done = repair(store, tmp_path / "new")
    assert done.lost == []
    assert entries(tmp_path / "new") == list(range(1, LAST + 1))


def test_a_file_of_a_later_version_is_none_of_ours(store: Path) -> None:
    file = log_files(store)[-1]
    spoil_header(file, 1)
    flip(file, 8, 6)
    with pytest.raises(FormatVersionError, match="version 7"):
        verify(store)


def test_a_record_of_nothing_is_found_although_its_checksums_are_right(
    store: Path, tmp_path: Path
) -> None:
    put_record(store, 30, b"nothing")
    findings = verify(store).findings
    assert {each.family for each in findings} == {"log", "MARK"}
    repair(store, tmp_path / "new")
    assert entries(tmp_path / "new") == list(range(1, 30))


def test_a_log_that_lost_its_sealed_part_serves_no_followers_there(
    store: Path, tmp_path: Path
) -> None:
    take_out(store, 5)
    findings = verify(store).findings
    assert [(each.family, each.number, each.lost) for each in findings] == [("log", 5, False)]
    assert repair(store, tmp_path / "new").lost == []
    with timeline.open(tmp_path / "new", search=False) as db:
        assert [each.lsn for each in db.log.read(after=5)] == list(range(6, LAST + 1))


@pytest.mark.parametrize("lost", ["removed", "emptied", "spoilt", "without a list"])
def test_a_young_store_is_made_of_its_log_alone(tmp_path: Path, lost: str) -> None:
    """Nothing is flushed so far."""
    with timeline.open(tmp_path / "live", search=False) as db:
        for n in range(1, 21):
            db.timeline("audit").append({"n": str(n)})
        db.messaging.create("team", "ann", members=["bob"])
        path = copy_as_killed(db, tmp_path / "killed")
    rocks = path / "rocks"
    if lost == "removed":
        shutil.rmtree(rocks)
    for file in [*rocks.glob("*")]:
        if lost == "emptied" or (lost == "without a list" and "MANIFEST" in file.name):
            file.unlink()
        elif lost == "spoilt":
            file.write_bytes(random.Random(1).randbytes(100))
    with pytest.raises(CorruptError, match="timeline repair"):
        timeline.open(path, search=False)
    assert not verify(path).sound
    done = repair(path, tmp_path / "new")
    assert done.left == []
    assert entries(tmp_path / "new") == list(range(1, 21))
    with timeline.open(tmp_path / "new", search=False) as db:
        assert len(list(db.messaging.members("team"))) == 2
    assert verify(tmp_path / "new").findings == []
