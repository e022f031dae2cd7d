"""The promise: a load makes the same store, however often it was interrupted, or none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.admin.exports import exported
from tests.engine.stores import SMALL, Clock, small_steps
from tests.engine.twin import Twin, picture_of, scenario
from timeline.admin import load as loading
from timeline.errors import CorruptError, FormatVersionError, UsageError
from timeline.formats.export import (
    End,
    EntryRecord,
    ExportRecord,
    Header,
    RowRecord,
    TimelineRecord,
)
from timeline.storage.rocks import Batch, Storage


@pytest.fixture(params=range(3))
def twin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Twin]:
    with Clock().installed() as clock, small_steps():
        twin = Twin(tmp_path / "data", replace(SMALL, fsync="inline"), clock)
        for step in scenario(80, request.param):
            twin.do(step)
            twin.db.engine.work(0.0001)
        twin.db.close()
        yield twin


def test_a_load_makes_the_same_store(twin: Twin, tmp_path: Path) -> None:
    records = exported(twin.path)
    (tmp_path / "new").mkdir()
    assert loading.load(tmp_path / "new", iter(records)) == len(records)
    with timeline.open(tmp_path / "new", SMALL) as db:
        assert picture_of(db, twin.users) == twin.expected()
        assert db.log.head == twin.oracle.lsn
    assert exported(tmp_path / "new")[1:] == records[1:]


def test_a_load_that_is_killed_at_any_write_goes_on(
    twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_BATCH_BYTES", 400)
    monkeypatch.setattr(loading, "_RUN_ENTRIES", 3)
    records = exported(twin.path)
    copies: list[Path] = []
    write = Storage.write

    def copy_and_write(storage: Storage, batch: Batch) -> None:
        copies.append(tmp_path / f"killed{len(copies)}")
        shutil.copytree(tmp_path / "new", copies[-1])
        write(storage, batch)
        if len(copies) % 4 == 0:
            storage.flush()  # so that the copies differ in how far they are

    (tmp_path / "new").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", copy_and_write)
        loading.load(tmp_path / "new", iter(records))
    assert len(copies) > 8
    for copy in copies:
        loading.load(copy, iter(records))
        assert exported(copy)[1:] == records[1:]


HEADER = Header(exact=True, whole=True, lsn=9, time=9, next_id=9)


ROOM = TimelineRecord(b"a", 1, first=2, head=5)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([], "header"),
        ([ROOM], "header"),
        ([HEADER, EntryRecord(2, 1, 1, [b"a", b"b"])], "without a timeline"),
        ([HEADER, ROOM, EntryRecord(1, 1, 1, [b"a", b"b"])], "out of order"),
        ([HEADER, ROOM, EntryRecord(6, 1, 1, [b"a", b"b"])], "out of order"),
        (
            [HEADER, ROOM, EntryRecord(3, 1, 1, [b"a", b"b"]), EntryRecord(3, 1, 1, [b"a", b"b"])],
            "out of order",
        ),
        ([HEADER, HEADER], "out of place"),
        ([HEADER, End(1, None)], "out of place"),
    ],
)
def test_records_in_another_order_make_no_store(
    tmp_path: Path, records: list[ExportRecord], problem: str
) -> None:
    with pytest.raises(CorruptError, match=problem):
        loading.load(tmp_path, iter(records))


def test_what_is_not_exact_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no times"):
        loading.load(tmp_path, iter([Header(exact=False, whole=False)]))


def test_what_is_not_finished_is_no_store_and_no_start_for_another(tmp_path: Path) -> None:
    def torn() -> Iterator[ExportRecord]:
        yield HEADER
        yield RowRecord("state", b"u1", bytes(5_000_000))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loading.load(tmp_path, torn())
    with pytest.raises(UsageError, match="another export"):
        loading.load(tmp_path, iter([HEADER._replace(lsn=8)]))
    with pytest.raises(FormatVersionError, match="not finished"):
        timeline.open(tmp_path)
    loading.load(tmp_path, iter([HEADER, RowRecord("state", b"u1", bytes(5_000_000))]))
    timeline.open(tmp_path, search=False).close()
