"""The promise: followers read every commit that they need, and the log goes when none needs it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.errors import NotFoundError, TrimmedError, UsageError
from timeline.formats.entries import encode_entry
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.records import (
    TRIM,
    Appends,
    Operation,
    Record,
    decode_record,
    encode_record,
)
from timeline.log.log import CommitLog
from timeline.lsm.checkpoints import Checkpoints
from timeline.lsm.log import Log, split_record
from timeline.options import Options
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import Storage

NOW = 1_000_000


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path / "rocks", Options())
    yield opened
    opened.close()


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[DurableMark]:
    opened = DurableMark(tmp_path / "MARK")
    yield opened
    opened.close()


class Opened:
    """A log in files of which each holds one group."""

    def __init__(
        self, directory: Path, storage: Storage, mark: DurableMark, sealed: int = 0
    ) -> None:
        self.files = CommitLog(
            directory, file_bytes=2048, epoch=1, after=sealed, marked=mark.read()
        )
        self.checkpoints = Checkpoints(storage)
        self.log = Log(self.files, self.checkpoints, self.files, mark)
        for record in self.log.records(sealed):
            for operation in record.operations:
                self.checkpoints.take(operation)
            self.log.applied = record.last

    def fill(self, *groups: int) -> Log:
        """Append and apply groups of so many commits."""
        for count in groups:
            self.turn()
            first = self.log.applied + 1
            value = group(first, list(range(first, first + count)))
            self.log.append(first, first + count - 1, value, NOW + first, durable=True)
            self.log.applied += count
        return self.log

    def turn(self) -> None:
        while not self.log.turn(self.log.applied, NOW + self.log.applied):
            self.files._spare.wait()

    def let_go(self, flushed: int, *, most: int = 1 << 20, oldest: int = 0) -> None:
        self.turn()
        self.log.let_go(flushed, most=most, oldest=oldest)


@pytest.fixture
def opened(tmp_path: Path, storage: Storage, mark: DurableMark) -> Iterator[Opened]:
    found = Opened(tmp_path / "log", storage, mark)
    yield found
    found.log.close()


def group(first: int, seqs: list[int], operations: list[Operation] | None = None) -> bytes:
    """The record of a group: an append a commit to timeline 1, then one commit of operations."""
    operations = operations or []
    payloads = [encode_entry(seq, [b"f", b"v"]) for seq in seqs]
    appends = Appends(
        array("Q", [1] * len(seqs)), array("Q", seqs), array("I", map(len, payloads)),
        array("I", range(len(seqs))) if operations else None,
    )  # fmt: skip
    commits = len(seqs) + bool(operations)
    return encode_record(Lsn(first), commits, 5, appends, payloads, operations)


def decoded(first: int, seqs: list[int], operations: list[Operation]) -> Record:
    last = first + len(seqs) + bool(operations) - 1
    return decode_record(Lsn(last), group(first, seqs, operations))


def lsns(log: Log, after: int, limit: int = 100) -> list[int]:
    return [commit.lsn for commit in log.read(after, limit)]


def test_commits_are_read_in_order_from_anywhere(opened: Opened) -> None:
    log = opened.fill(3, 1, 2)
    assert lsns(log, 0) == [1, 2, 3, 4, 5, 6]
    assert lsns(log, 1, 3) == [2, 3, 4], "from the middle of a group into the next"
    assert lsns(log, 6) == []
    assert [lsn for lsn, _ in log.stored(2, 1)] == [3], "one record at least"
    assert [lsn for lsn, _ in log.stored(0, 1 << 20)] == [3, 4, 6]


def test_what_is_not_applied_is_not_read(opened: Opened) -> None:
    log = opened.fill(2, 2)
    log.applied = 2
    assert lsns(log, 0) == [1, 2]
    assert lsns(log, 2) == []
    assert log.stored(2, 1) == []


def test_a_position_that_is_no_longer_kept_is_refused(opened: Opened) -> None:
    log = opened.fill(2, 2, 2)
    opened.let_go(2)
    assert log.first() == 3
    assert lsns(log, 2) == [3, 4, 5, 6]
    with pytest.raises(TrimmedError, match="begins at 3"):
        log.read(1, 10)
    assert [lsn for lsn, _ in log.stored(0, 1)] == [4], "a follower sees the gap itself"


def test_a_checkpoint_is_moved_forgotten_and_never_ahead(opened: Opened) -> None:
    log = opened.fill(4)
    for lsn in (3, 2):
        log.move(b"mine", lsn, NOW)
        assert log.checkpoint(b"mine") == lsn
    with pytest.raises(UsageError):
        log.move(b"mine", 5, NOW)
    assert log.checkpoints() == {b"mine": 2}
    log.move(b"mine", None, NOW)
    with pytest.raises(NotFoundError):
        log.checkpoint(b"mine")
    assert lsns(log, 0) == [1, 2, 3, 4], "moves are no commits"


def test_moves_are_known_to_the_next_opening_wherever_they_lie(
    opened: Opened, tmp_path: Path, storage: Storage, mark: DurableMark
) -> None:
    log = opened.fill(2)
    assert log.move(b"new", 1, NOW), "durable at once"
    log.move(b"gone", 1, NOW)
    assert not log.move(b"new", 2, NOW), "durable with what follows"
    assert log.move(b"new", 2, NOW), "there is nothing to note"
    log.move(b"gone", None, NOW)
    opened.fill(2)
    log.move(b"late", 4, NOW)
    batch = storage.batch()
    opened.checkpoints.keep(batch)
    storage.write(batch)
    opened.checkpoints.kept()
    log.move(b"new", 4, NOW)
    opened.turn()
    opened.let_go(4)
    assert opened.files.parts == []
    log.close()
    again = Opened(tmp_path / "log", storage, mark, sealed=4)
    assert again.log.checkpoints() == {b"new": 4, b"late": 4}
    again.log.close()


def test_the_log_is_kept_for_the_lowest_checkpoint_within_bounds(opened: Opened) -> None:
    log = opened.fill(2, 2, 2, 2)
    log.move(b"slow", 2, NOW)
    opened.let_go(4)
    assert log.first() == 3
    opened.let_go(8)
    assert lsns(log, 2) == [3, 4, 5, 6, 7, 8]
    part = opened.files.parts[0].bytes
    assert log.kept(8) == 3 * part
    assert log.kept(4) == part
    opened.let_go(8, most=part)
    assert (log.first(), log.kept(8)) == (7, part)
    with pytest.raises(TrimmedError):
        log.read(2, 10)
    log.move(b"slow", 8, NOW)
    opened.let_go(8)
    assert log.first() == 9
    assert lsns(log, 8) == []


def test_sealed_log_goes_by_age_and_what_is_not_flushed_stays(opened: Opened) -> None:
    log = opened.fill(2, 2, 2)
    log.move(b"slow", 0, NOW)
    opened.let_go(4, oldest=NOW)
    assert log.first() == 1
    opened.let_go(4, oldest=10 * NOW)
    assert lsns(log, 4) == [5, 6]
    assert log.first() == 5


def test_checkpoints_above_the_end_come_back_to_it(opened: Opened) -> None:
    log = opened.fill(2, 2)
    log.move(b"ahead", 4, NOW)
    log.move(b"behind", 1, NOW)
    opened.checkpoints.clip(2)
    assert log.checkpoints() == {b"ahead": 2, b"behind": 1}


def test_a_record_splits_into_its_commits() -> None:
    trim = Operation(TRIM, Lsn(3), TimelineId(1), 2, b"")
    commits = list(split_record(decoded(1, [1, 2], [trim])))
    assert [(commit.lsn, [change.kind for change in commit.changes]) for commit in commits] == [
        (1, ["append"]), (2, ["append"]), (3, ["trim"]),
    ]  # fmt: skip
