"""The promise: a store is verified while its owner writes to it, flushes, and lets the log go; none
of that looks like damage.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import timeline
from tests.verification.damage import flip, frame_of, log_files
from timeline.embedded.database import Database
from timeline.log import salvage
from timeline.log.file import name_of
from timeline.log.salvage import SalvagedFiles
from timeline.options import Options
from timeline.verification import verify
from timeline.verification.snapshot import snapshot

OPTIONS = Options(
    search=False, fsync="inline", log_file_bytes=4_096, retention_check_ms=10**9, segment_entries=8
)


def fill(db: Database, count: int = 30) -> None:
    for _ in range(count):
        db.timeline("audit").append({"pad": "x" * 200})


def let_go(db: Database) -> None:
    """What was read of RocksDB needs log that is no longer there."""
    fill(db)
    db.engine.seal()
    db.engine.store.flush()
    with db.engine.lock:
        db.engine.store.let_log_go()
    fill(db, 1)


def write(db: Database) -> None:
    fill(db, 5)


class Meanwhile:
    """Has something done between a look at RocksDB and a look at the log, some times."""

    def __init__(self, do: Callable[[], None], times: int, patch: pytest.MonkeyPatch) -> None:
        self.done = 0

        def files(directory: Path) -> SalvagedFiles:
            if self.done < times:
                self.done += 1
                do()
            return SalvagedFiles(directory)

        patch.setattr(snapshot, "SalvagedFiles", files)


@pytest.mark.parametrize("do", [let_go, write])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_what_happens_between_two_looks_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, do: Callable[[Database], None], times: int
) -> None:
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        fill(db)
        meanwhile = Meanwhile(lambda: do(db), times, monkeypatch)
        report = verify(tmp_path / "data")
        assert report.findings == []
        assert meanwhile.done >= 1
        assert report.applied <= db.log.head


def test_a_file_that_goes_while_files_are_listed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        db.log.move("reader", 0)
        fill(db)
        db.engine.seal()
        db.engine.store.flush()
        first = log_files(tmp_path / "data")[0]
        look = salvage._header_of

        def looking(path: Path) -> bytes:
            if path == first:
                first.unlink(missing_ok=True)
            return look(path)

        monkeypatch.setattr(salvage, "_header_of", looking)
        assert verify(tmp_path / "data").findings == []
        assert not first.exists()


def test_damage_is_found_while_the_store_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        fill(db)
        found = frame_of(tmp_path / "data", 20)
        flip(found.file, found.place + 40)
        Meanwhile(lambda: write(db), 100, monkeypatch)
        told = [each for each in verify(tmp_path / "data").findings if each.family == "log"]
        assert [(each.number, each.lost) for each in told] == [(20, True)]
        assert str(found.file) in told[0].text


def test_any_of_it_at_once(tmp_path: Path) -> None:
    """What is found is what was there at some moment. It ends when some of the log was let go."""
    stop = threading.Event()
    options = Options(
        search=False, unsealed_bytes=20_000, segment_entries=8, compact_after=2,
        write_buffer_bytes=65_536, log_file_bytes=65_536,
    )  # fmt: skip
    with timeline.open(tmp_path / "data", options) as db:

        def go_on() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                db.timeline(f"t{number % 7}").append_many([{"n": "x" * 100}] * 5)
                db.log.move("reader", db.log.head)
                if number % 10 == 0:
                    db.timeline(f"t{number % 7}").trim(length=20)

        writer = threading.Thread(target=go_on)
        writer.start()
        try:
            rounds = 0
            while rounds < 8 or name_of(1) in {file.name for file in log_files(tmp_path / "data")}:
                assert verify(tmp_path / "data").findings == []
                rounds += 1
        finally:
            stop.set()
            writer.join()
