"""The promise: an export says all there is of timelines, in a form that never changes, and a load
of it makes the same, however often it was interrupted, or nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, Clock, small_steps
from tests.engine.twin import Twin, picture_of, scenario
from timeline.admin import load as loading
from timeline.admin.export import export_records
from timeline.admin.merge import EngineDestination, merge
from timeline.errors import BusyError, CorruptError, FormatVersionError, UsageError
from timeline.formats.export import (
    End,
    EntryRecord,
    ExportRecord,
    Header,
    RowRecord,
    TimelineRecord,
    decode_line,
    encode_line,
)
from timeline.formats.export_binary import HEAD, decode_binary, encode_binary
from timeline.formats.rows import Retention
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.storage.rocks import Batch, Storage

LINES: list[tuple[ExportRecord, str]] = [
    (
        Header(exact=True, whole=False, epoch=1, lsn=2, time=3, next_id=4),
        (
            '{"export": 1, "exact": true, "whole": false, "epoch": 1, "lsn": 2, "time": 3, '
            '"next_id": 4}'
        ),
    ),
    (
        TimelineRecord(
            b"\xff", 3, 0, 9, 1, 8, 7, 6, 5, (b"a", b"\xe6\x81\xaf"), Retention(1, 2, 3), -4
        ),
        (
            '{"timeline": {"base64": "/w=="}, "id": 3, "kind": 0, "created": 9, "first": 1, '
            '"head": 8, "floor": 7, "holes": 6, "deleted": 5, "skipped": -4, '
            '"metadata": [["a", "息"]], "retention": {"age": 1, "length": 2, "size": 3}}'
        ),
    ),
    (
        EntryRecord(1, 2, 3, [b"text", b"hi", b"", b"\x80"]),
        '{"seq": 1, "time": 2, "lsn": 3, "fields": [["text", "hi"], ["", {"base64": "gA=="}]]}',
    ),
    (RowRecord("state", b"k", b"\x00"), '{"family": "state", "key": "aw==", "value": "AA=="}'),
    (End(4, 5), '{"end": 4, "crc": 5}'),
]


@pytest.mark.parametrize(("record", "line"), LINES)
def test_the_form_of_a_line(record: ExportRecord, line: str) -> None:
    assert encode_line(record) == line.encode() + b"\n"
    assert decode_line(line.encode()) == record


@pytest.mark.parametrize("record", [record for record, _ in LINES])
def test_the_binary_form_says_the_same(record: ExportRecord) -> None:
    encoded = encode_binary(record)
    kind, size = HEAD.unpack_from(encoded)
    assert size == len(encoded) - HEAD.size
    assert decode_binary(kind, encoded[HEAD.size :]) == record
    # The value of a row is what the record's size leaves, so it may be cut; nothing else may.
    for cut in range(size - 1 if isinstance(record, RowRecord) else size):
        with pytest.raises(CorruptError):
            decode_binary(kind, encoded[HEAD.size : HEAD.size + cut])


def test_the_bytes_of_the_binary_form() -> None:
    entry = b"*2\r\n$3\r\n1-0\r\n*2\r\n$4\r\ntext\r\n$2\r\nhi\r\n"
    assert encode_binary(EntryRecord(1, 2, 3, [b"text", b"hi"])) == (
        bytes.fromhex("02 3b000000 0100000000000000 0200000000000000 0300000000000000") + entry
    )
    assert encode_binary(RowRecord("state", b"k", b"vv")) == bytes.fromhex(
        "03 08000000 05 01000000 6b 7676"
    )
    assert encode_binary(End(4, 5)) == b"\x01\x14\x00\x00\x00" + b'{"end": 4, "crc": 5}'


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "[]",
        "1",
        "{}",
        '{"seq": 1}',
        '{"seq": -1, "fields": []}',
        '{"seq": 1, "fields": [["a"]]}',
        '{"seq": 1, "fields": [["a", 1]]}',
        '{"seq": 1, "fields": [["a", {"base64": "!"}]]}',
        '{"seq": 18446744073709551616, "fields": []}',
        '{"seq": "1", "fields": []}',
        '{"timeline": 1}',
        '{"timeline": "a", "id": "x"}',
        '{"timeline": "a", "retention": {"years": 1}}',
        '{"family": "state", "key": 1, "value": ""}',
        '{"export": 1, "more": 1}',
        '{"export": "1"}',
        '{"export": 1, "lsn": "1"}',
        '{"export": 1, "exact": "yes"}',
        '{"family": "other", "key": "", "value": ""}',
        '{"timeline": "a", "kind": 2}',
        '{"timeline": "a", "retention": {"age": -1, "length": 0, "size": 0}}',
        '{"timeline": "a", "retention": {"age": "1", "length": 0, "size": 0}}',
        '{"end": 1, "crc": "x"}',
        '{"export": null}',
    ],
)
def test_what_is_no_record(line: str) -> None:
    with pytest.raises(CorruptError, match="no record of an export"):
        decode_line(line.encode())


def test_a_later_version_is_refused() -> None:
    with pytest.raises(FormatVersionError, match="version 2"):
        decode_line(b'{"export": 2, "anything": []}')


# --- whole stores ---------------------------------------------------------------------------------


def exported(path: Path) -> list[ExportRecord]:
    with (
        timeline.open(path, SMALL, read_only=True) as db,
        closing(export_records(db.engine)) as records,
    ):
        return list(records)


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


def committed(records: Iterable[ExportRecord]) -> list[ExportRecord]:
    """Those that do not say when in-boxes were looked at."""
    return [
        each for each in records if not (isinstance(each, RowRecord) and each.key == EXPIRY_KEY)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_it_says_the_same_however_the_store_lies(seed: int, tmp_path: Path) -> None:
    with Clock().installed() as clock, small_steps():
        twin = Twin(tmp_path / "data", replace(SMALL, fsync="inline"), clock)
        for step in scenario(60, seed):
            twin.do(step)
        beside = committed(exported(twin.path))
        with closing(export_records(twin.db.engine)) as records:
            assert committed(records) == beside
        twin.db.engine.seal()
        assert committed(exported(twin.path)) == beside
        twin.db.compact()
        assert committed(exported(twin.path)) == beside
        twin.db.close()
        assert committed(exported(twin.path)) == beside


def test_a_load_that_is_killed_at_any_write_goes_on(
    twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_BATCH_BYTES", 400)
    monkeypatch.setattr(loading, "_RUN_ENTRIES", 3)
    records = exported(twin.path)
    copies: list[Path] = []
    write = Storage.write

    def copy_and_write(storage: Storage, batch: Batch, *, logged: bool) -> None:
        copies.append(tmp_path / f"killed{len(copies)}")
        shutil.copytree(tmp_path / "new", copies[-1])
        write(storage, batch, logged=logged)
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


def test_what_was_written_to_meanwhile_is_not_exported(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", SMALL) as db:
        db.timeline("a").append({"n": "1"})
        records = export_records(db.engine)
        next(records)
        db.timeline("a").append({"n": "2"})
        with pytest.raises(BusyError, match="written to"):
            list(records)


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


# --- added to a store -----------------------------------------------------------------------------


def test_what_is_added_is_there_once(tmp_path: Path) -> None:
    records: list[ExportRecord] = [
        Header(exact=False, whole=False),
        TimelineRecord(
            b"a", first=3, head=9, metadata=(b"k", b"v"), retention=Retention(0, 100, 0)
        ),
        EntryRecord(3, 0, 0, [b"n", b"3"]),
        EntryRecord(5, 0, 0, [b"n", b"5"]),
        TimelineRecord(b"empty", first=4, head=3),
    ]
    with timeline.open(tmp_path / "data", SMALL) as db:
        assert merge(EngineDestination(db.engine), records) == (2, 2, 0)
        assert merge(EngineDestination(db.engine), records) == (2, 0, 2)
        a = db.timeline("a")
        assert [entry.seq for entry in a] == [3, 5]
        assert a.extent()[:3] == (3, 9, 2)
        assert a.metadata() == {b"k": b"v"}
        assert db.timeline("empty").extent()[:3] == (4, 3, 0)


def test_nothing_is_added_under_a_name_of_the_store(tmp_path: Path) -> None:
    records: list[ExportRecord] = [
        Header(exact=False, whole=False),
        TimelineRecord(b"@conv:team", head=1),
        EntryRecord(1, 0, 0, [b"n", b"not mine"]),
    ]
    with timeline.open(tmp_path / "data", SMALL) as db:
        with pytest.raises(UsageError, match="'@conv:team' cannot be imported"):
            merge(EngineDestination(db.engine), records)
        assert list(db.timelines("@")) == []
