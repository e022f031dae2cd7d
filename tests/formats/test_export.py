"""The promise: the records of an export have a form that never changes, in lines and in bytes."""

from __future__ import annotations

import pytest

from timeline.errors import CorruptError, FormatVersionError
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
