"""What the codecs alone cost: entries, segments and log records as bytes and back."""

from __future__ import annotations

from array import array
from typing import Final

from bench.conftest import Rate
from timeline.formats.entries import decode_items, encode_entry, encode_run
from timeline.formats.numbers import Lsn
from timeline.formats.records import Appends, decode_record, encode_record
from timeline.formats.segments import Segment, encode_segments

ITEMS: Final = [b"text", b"x" * 100]
COUNT: Final = 1_000
SEQS: Final = array("Q", range(1, COUNT + 1))
LSNS: Final = array("Q", range(7_001, 7_001 + COUNT))
TIMES: Final = array("Q", [1_700_000_000_000] * COUNT)
PAYLOADS: Final = [encode_entry(seq, ITEMS) for seq in SEQS]
APPENDS: Final = Appends(
    array("Q", [1 + seq % 50 for seq in SEQS]), SEQS, array("I", map(len, PAYLOADS)), None
)


def test_encoding_entries_one_by_one(rate: Rate) -> None:
    payloads = rate(lambda: [encode_entry(seq, ITEMS) for seq in SEQS], COUNT, "entries")
    assert payloads == PAYLOADS


def test_encoding_entries_by_the_run(rate: Rate) -> None:
    columns = [[ITEMS[0]] * COUNT, [ITEMS[1]] * COUNT]
    parts, _ = rate(lambda: encode_run(list(SEQS), columns), COUNT, "entries")
    assert b"".join(parts) == b"".join(PAYLOADS)


def test_decoding_the_fields_of_entries(rate: Rate) -> None:
    fields = rate(lambda: [decode_items(payload) for payload in PAYLOADS], COUNT, "entries")
    assert fields == [ITEMS] * COUNT


def segments() -> list[tuple[bytes, bytes, int]]:
    return list(encode_segments(1, SEQS, LSNS, TIMES, PAYLOADS, 256, 32 << 10))


def test_encoding_segments(rate: Rate) -> None:
    found = rate(segments, COUNT, "entries")
    assert sum(count for _, _, count in found) == COUNT


def test_verifying_and_decoding_segments(rate: Rate) -> None:
    stored = [(key, value) for key, value, _ in segments()]
    decoded = rate(lambda: [Segment(key, value) for key, value in stored], COUNT, "entries")
    assert [row[3] for segment in decoded for row in segment.stored()] == PAYLOADS


def test_encoding_a_log_record(rate: Rate) -> None:
    record = rate(
        lambda: encode_record(Lsn(7_001), COUNT, 1, APPENDS, PAYLOADS, ()), COUNT, "entries"
    )
    assert len(record) > sum(APPENDS.sizes)


def test_decoding_a_log_record(rate: Rate) -> None:
    record = encode_record(Lsn(7_001), COUNT, 1, APPENDS, PAYLOADS, ())
    decoded = rate(lambda: decode_record(Lsn(7_000 + COUNT), record), COUNT, "entries")
    assert decoded.payloads == PAYLOADS
