"""What the codecs alone cost: entries, segments and log records as bytes and back."""

from __future__ import annotations

from typing import Final

from bench.conftest import Rate
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.records import decode_record, encode_record
from timeline.formats.segments import Row, Segment, encode_segments

ITEMS: Final = [b"text", b"x" * 100]
COUNT: Final = 1_000
ROWS: Final[list[Row]] = [
    (seq, 7_000 + seq, 1_700_000_000_000 + seq, encode_entry(seq, ITEMS))
    for seq in range(1, COUNT + 1)
]
TIMELINES: Final = [1 + seq % 50 for seq in range(COUNT)]


def test_encoding_entries(rate: Rate) -> None:
    payloads = rate(lambda: [encode_entry(row[0], ITEMS) for row in ROWS], COUNT, "entries")
    assert payloads == [row[3] for row in ROWS]


def test_decoding_the_fields_of_entries(rate: Rate) -> None:
    fields = rate(lambda: [decode_items(row[3]) for row in ROWS], COUNT, "entries")
    assert fields == [ITEMS] * COUNT


def test_encoding_segments(rate: Rate) -> None:
    segments = rate(lambda: list(encode_segments(1, ROWS, 256, 32 << 10)), COUNT, "entries")
    assert sum(count for _, _, count in segments) == COUNT


def test_verifying_and_decoding_segments(rate: Rate) -> None:
    stored = [(key, value) for key, value, _ in encode_segments(1, ROWS, 256, 32 << 10)]
    decoded = rate(lambda: [Segment(key, value) for key, value in stored], COUNT, "entries")
    assert [row for segment in decoded for row in segment.rows()] == ROWS


def test_encoding_a_log_record(rate: Rate) -> None:
    record = rate(lambda: encode_record(7_001, COUNT, 1, TIMELINES, ROWS, ()), COUNT, "entries")
    assert len(record) > sum(len(row[3]) for row in ROWS)


def test_decoding_a_log_record(rate: Rate) -> None:
    record = encode_record(7_001, COUNT, 1, TIMELINES, ROWS, ())
    decoded = rate(lambda: decode_record(7_000 + COUNT, record), COUNT, "entries")
    assert [row[3] for row in decoded.rows] == [row[3] for row in ROWS]
