"""The promise: whatever was acknowledged before a power cut is there after it, in order and without
a gap, wherever the cut falls and whatever it leaves of what was being written.
"""

from __future__ import annotations

import random
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.log.disk import Disk, PowerCut
from tests.log.logs import append, bodies, numbered, open_log
from timeline.errors import StallError, StorageError
from timeline.log.ledger import LogFullError
from timeline.log.log import CommitLog

SMALL: Final = 4096
NOW: Final = 1_700_000_000_000


@pytest.fixture(autouse=True)
def threads_may_lose_power(monkeypatch: pytest.MonkeyPatch) -> None:
    def ignore(arguments: threading.ExceptHookArgs) -> None:
        assert arguments.exc_type is PowerCut, arguments

    monkeypatch.setattr(threading, "excepthook", ignore)


class Session:
    """One opening of the log, and what its callers know."""

    def __init__(self, path: Path, disk: Disk, acknowledged: list[bytes], moved: int = 0) -> None:
        """`moved` is how often the checkpoint was moved, as far as that must be known."""
        self.disk = disk
        self.log = CommitLog(path, file_bytes=SMALL, epoch=1, after=0, marked=len(acknowledged))
        records = list(self.log.replay(0))
        self.asked = [body for first, last, body in records if last >= first]
        moves = [int(body) for first, last, body in records if last < first]
        assert moves == sorted(moves)
        self.moved = max(moves, default=0)
        assert self.moved >= moved
        self.durable = self.appended = (len(self.asked), self.moved)

    def append(self, body: bytes, *, sync: bool = True) -> None:
        self.asked.append(body)
        self._append(len(self.asked), len(self.asked), body, sync=sync)

    def move(self, *, sync: bool) -> None:
        self.moved += 1
        self._append(len(self.asked) + 1, len(self.asked), b"%d" % self.moved, sync=sync)

    def _append(self, first: int, last: int, body: bytes, *, sync: bool) -> None:
        while True:
            try:
                self.log.append(first, last, body, NOW, sync=sync)
            except StallError:
                self._wait()
            except LogFullError:  # nothing was written: as for a stall
                self._wait()
            except StorageError:
                self.appended = self.durable  # the system may have lost what was not durable yet
                self.heal()
                return
            else:
                self.appended = (len(self.asked), self.moved)
                if sync:
                    self.durable = self.appended
                return

    def _wait(self) -> None:
        """For the next file, which nobody makes once the power has gone."""
        self.log._spare.wait()
        self.disk.check()

    def heal(self) -> None:
        while True:
            try:
                self.log.heal(NOW)
            except (StallError, LogFullError):
                self._wait()
            else:
                break
        self.durable = self.appended = (len(self.asked), self.moved)

    def sync(self) -> None:
        self.log.sync()
        self.durable = (len(self.asked), self.moved)


Step = tuple[str, int]

steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["append", "write"]), st.integers(1, 2500)),
        st.tuples(st.sampled_from(["append", "write"]), st.integers(1, 200)),
        st.tuples(st.sampled_from(["sync", "turn", "fail", "move", "move durably"]), st.just(0)),
    ),
    min_size=1,
    max_size=25,
)


def play(session: Session, disk: Disk, todo: list[Step], choice: random.Random) -> None:
    for verb, size in todo:
        if verb in ("append", "write"):
            session.append(choice.randbytes(size), sync=verb == "append")
        elif verb == "sync":
            session.sync()
        elif verb == "turn":
            with suppress(LogFullError):
                session.log.turn(session.log.last, NOW)
        elif verb == "fail":
            disk.fail_next_write = True
        else:
            session.move(sync=verb == "move durably")
        session.log._spare.wait()


def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path, model_examples: int) -> None:
    path = tmp_path / "log"

    @settings(
        max_examples=5 * model_examples, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        lives=st.lists(
            st.tuples(steps, st.integers(0, 60), st.sampled_from(["cut", "kill"])),
            min_size=1,
            max_size=4,
        ),
        seed=st.integers(0, 1 << 30),
    )
    def live(lives: list[tuple[list[Step], int, str]], seed: int) -> None:
        shutil.rmtree(path, ignore_errors=True)
        choice = random.Random(seed)
        kept: list[bytes] = []
        moved = 0
        with pytest.MonkeyPatch.context() as patched:
            disk = Disk(patched)
            disk.watch(path)
            for todo, calls, end in lives:
                session = Session(path, disk, kept, moved)
                assert session.asked[: len(kept)] == kept
                session.log._spare.wait()
                disk.calls_left = calls
                disk.shows_what_it_dropped = choice.random() < 0.5
                with suppress(PowerCut):
                    play(session, disk, todo, choice)
                disk.fail_next_write = False
                disk.calls_left = 0
                session.log._spare.wait()
                if end == "cut":
                    disk.restore_power(choice)
                else:  # the system goes on, and writes what it was given when it likes
                    disk.calls_left = None
                    session.durable = max(session.durable, session.appended)
                durable, moves = session.durable
                again = Session(path, disk, session.asked[:durable], moves)
                assert again.asked == session.asked[: len(again.asked)]
                assert len(again.asked) >= durable
                assert again.moved <= session.moved
                if choice.random() < 0.5:
                    again.append(b"goes on")
                    again.sync()
                kept, moved = list(again.asked), again.moved  # what was read is there for ever
                again.log.close()

    live()


def test_what_a_killed_process_left_to_the_system_is_durable_once_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    disk = Disk(monkeypatch)
    disk.watch(path)
    killed = Session(path, disk, [])
    for number in range(5):
        killed.append(f"record {number}".encode() * 50)
    reader = Session(path, disk, killed.asked)
    reader.log.close()
    disk.restore_power(random.Random(1))
    assert Session(path, disk, []).asked == killed.asked


def test_what_an_fsync_dropped_and_the_system_still_shows_is_durable_once_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync the process was killed before it could heal."""
    path = tmp_path / "log"
    disk = Disk(monkeypatch)
    disk.watch(path)
    disk.shows_what_it_dropped = True
    killed = Session(path, disk, [])
    killed.append(b"acknowledged")
    disk.fail_next_write = True
    with pytest.raises(StorageError):
        killed.log.append(2, 2, b"in doubt", NOW)
    again = Session(path, disk, [b"acknowledged"])
    assert again.asked == [b"acknowledged", b"in doubt"]
    again.append(b"after it")
    disk.restore_power(random.Random(1))
    assert Session(path, disk, again.asked).asked == again.asked


def test_the_same_of_a_move_of_a_consumer_before_any_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    disk = Disk(monkeypatch)
    disk.watch(path)
    disk.shows_what_it_dropped = True
    killed = Session(path, disk, [])
    disk.fail_next_write = True
    with pytest.raises(StorageError):
        killed.log.append(1, 0, b"1", NOW)
    again = Session(path, disk, [], 1)
    again.append(b"after it")
    disk.restore_power(random.Random(1))
    assert Session(path, disk, again.asked, 1).asked == again.asked


def test_a_power_cut_leaves_no_gap_in_what_was_let_go(tmp_path: Path) -> None:
    """A follower would take the gap for damage."""
    for seed in range(30):
        path = tmp_path / str(seed)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch)
            disk.watch(path)
            log = open_log(path)
            for body in numbered(60):
                append(log, body)
            log._spare.wait()
            files = len(log.parts)
            assert files > 3
            disk.calls_left = seed % (2 * files + 2)
            with suppress(PowerCut):
                log.let_go(60)
            done = disk.calls_left > 0
            log.close()
            disk.restore_power(random.Random(seed))
            again = open_log(path, marked=60, after=60)
            assert again.parts == [] or not done
            left = bodies(again, again.first - 1)
            assert left == numbered(60)[again.first - 1 :], seed
            again.close()


def test_a_power_cut_at_any_call_of_an_opening_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that cuts a torn write, in a file of which half is used."""
    made = tmp_path / "made"
    log = CommitLog(made, file_bytes=SMALL, epoch=1, after=0, marked=0)
    for number in range(5):
        log.append(number + 1, number + 1, b"%d" % number * 400, NOW)
    log.close()
    file = max(made.glob("*.log"))
    content = file.read_bytes()
    end = len(content.rstrip(b"\0"))
    file.write_bytes(content[:end] + b"\1" * 1_000 + content[end + 1_000 :])
    expected = [b"%d" % number * 400 for number in range(5)]
    for calls in range(40):
        path = tmp_path / str(calls)
        shutil.copytree(made, path)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch)
            disk.watch(path)
            disk.calls_left = calls
            with suppress(PowerCut):
                Session(path, disk, expected).append(b"another")
            disk.restore_power(random.Random(calls))
            asked = Session(path, disk, expected).asked
            assert asked in (expected, [*expected, b"another"]), calls
