"""The promise: followers read every commit that they need, and the log goes when none needs it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.errors import NotFoundError, TrimmedError, UsageError
from timeline.formats import keys
from timeline.formats.entries import encode_entry
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.records import (
    PATCH,
    TRIM,
    Appends,
    Operation,
    Record,
    decode_record,
    encode_record,
)
from timeline.lsm.log import Log, split_record, superseded
from timeline.options import Options
from timeline.storage.rocks import LOG, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path, Options())
    yield opened
    opened.close()


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


def filled(storage: Storage, *groups: int) -> Log:
    """A log of groups of so many commits, all applied."""
    log = Log(storage)
    for count in groups:
        batch = storage.batch()
        first = log.applied + 1
        value = group(first, list(range(first, first + count)))
        log.applied += count
        batch.put(LOG, keys.number(log.applied), value)
        storage.write(batch)
    return log


def decoded(first: int, seqs: list[int], operations: list[Operation]) -> Record:
    last = first + len(seqs) + bool(operations) - 1
    return decode_record(Lsn(last), group(first, seqs, operations))


def lsns(log: Log, after: int, limit: int = 100) -> list[int]:
    return [commit.lsn for commit in log.read(after, limit)]


def test_commits_are_read_in_order_from_anywhere(storage: Storage) -> None:
    log = filled(storage, 3, 1, 2)
    assert lsns(log, 0) == [1, 2, 3, 4, 5, 6]
    assert lsns(log, 1, 3) == [2, 3, 4], "from the middle of a group into the next"
    assert lsns(log, 6) == []
    assert [lsn for lsn, _ in log.stored(2, 1)] == [3], "one record at least"
    assert [lsn for lsn, _ in log.stored(0, 1 << 20)] == [3, 4, 6]


def test_what_is_not_applied_is_not_read(storage: Storage) -> None:
    log = filled(storage, 2, 2)
    log.applied = 3
    assert lsns(log, 0) == [1, 2, 3]
    assert lsns(log, 3) == []


def test_a_position_that_is_no_longer_kept_is_refused(storage: Storage) -> None:
    log = filled(storage, 2, 2, 2)
    batch = storage.batch()
    batch.delete(LOG, keys.number(2))
    storage.write(batch)
    assert log.first() == 3
    assert lsns(log, 2) == [3, 4, 5, 6]
    with pytest.raises(TrimmedError, match="begins at 3"):
        log.read(1, 10)


def test_a_checkpoint_is_moved_forgotten_and_never_ahead(storage: Storage) -> None:
    log = filled(storage, 4)
    for lsn in (3, 2):
        batch = storage.batch()
        log.move(batch, b"mine", lsn)
        storage.write(batch)
        assert log.checkpoint(b"mine") == lsn
    with pytest.raises(UsageError):
        log.move(storage.batch(), b"mine", 5)
    assert log.checkpoints() == {b"mine": 2}
    batch = storage.batch()
    log.move(batch, b"mine", None)
    storage.write(batch)
    assert not log.knows(b"mine")
    with pytest.raises(NotFoundError):
        log.checkpoint(b"mine")


def let_go(storage: Storage, log: Log, sealed: int, *, most: int, oldest: int = 0) -> None:
    batch = storage.batch()
    log.delete_sealed(batch, sealed, 100, 1_000, most=most, oldest=oldest)
    storage.write(batch)


def test_the_log_is_kept_for_the_lowest_checkpoint_within_bounds(storage: Storage) -> None:
    log = filled(storage, 2, 2, 2, 2)
    batch = storage.batch()
    log.move(batch, b"slow", 2)
    storage.write(batch)
    let_go(storage, log, 4, most=10_000)
    assert (log.kept(), log.first()) == (100, 1), "the record before the checkpoint is newest"
    let_go(storage, log, 6, most=10_000)
    assert lsns(log, 2) == [3, 4, 5, 6, 7, 8]
    let_go(storage, log, 8, most=150)
    assert log.kept() == 100
    with pytest.raises(TrimmedError):
        log.read(2, 10)


def test_sealed_log_goes_by_age_and_the_newest_record_stays(storage: Storage) -> None:
    log = filled(storage, 2, 2)
    let_go(storage, log, 4, most=10_000, oldest=5_000)
    assert (log.kept(), log.first(), lsns(log, 2)) == (0, 3, [3, 4])


def test_a_cut_takes_back_records_and_checkpoints(storage: Storage) -> None:
    log = filled(storage, 2, 2)
    batch = storage.batch()
    log.move(batch, b"ahead", 4)
    storage.write(batch)
    batch = storage.batch()
    log.cut(batch, 2)
    storage.write(batch)
    log.applied = 2
    assert (lsns(log, 0), log.checkpoint(b"ahead")) == ([1, 2], 2)


def test_a_record_splits_into_its_commits() -> None:
    trim = Operation(TRIM, Lsn(3), TimelineId(1), 2, b"")
    commits = list(split_record(decoded(1, [1, 2], [trim])))
    assert [(commit.lsn, [change.kind for change in commit.changes]) for commit in commits] == [
        (1, ["append"]), (2, ["append"]), (3, ["trim"]),
    ]  # fmt: skip


def test_a_record_that_holds_what_it_takes_back_is_known() -> None:
    patch = Operation(PATCH, Lsn(3), TimelineId(1), 2, b"")
    assert superseded(decoded(1, [1, 2], [patch])) == 1
    assert superseded(decoded(1, [1, 3], [patch])) is None
