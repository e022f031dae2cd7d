"""Format version 1: FORMAT.md's worked examples hold, and no decoder takes foreign bytes."""

from __future__ import annotations

import re
import struct
from array import array
from pathlib import Path

import pytest
from crc32c import crc32c
from hypothesis import given, strategies as st

import timeline
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.entries import decode_items, encode_entry, encode_run, resp_id
from timeline.formats.numbers import NO_TIMELINE, Lsn, TimelineId
from timeline.formats.records import (
    PATCH,
    PUT,
    Appends,
    Operation,
    decode_record,
    decode_target,
    encode_record,
    encode_target,
)
from timeline.formats.references import (
    Fields,
    cut_references,
    decode_floor,
    decode_references,
    encode_floor,
    encode_reference,
    encode_references,
    lsn_of,
    packed_references,
)
from timeline.formats.rows import (
    ExpiryRow,
    TimelineRow,
    decode_expiry,
    decode_mark,
    decode_row,
    decode_spans,
    encode_expiry,
    encode_mark,
    encode_row,
    encode_spans,
)
from timeline.formats.segments import Segment, StoredEntry, encode_segments

FORMAT = Path(timeline.__file__).parent / "formats" / "FORMAT.md"

HI = encode_entry(1, [b"text", b"hi"])
YO = encode_entry(2, [b"text", b"yo"])
ROWS: list[StoredEntry] = [(1, 7, 1_700_000_000_000, HI), (2, 8, 1_700_000_000_500, YO)]
PAIR = Appends(array("Q", [3, 3]), array("Q", [1, 2]), array("I", [len(HI), len(YO)]), None)


def segments_of(
    timeline_id: int, rows: list[StoredEntry], most_entries: int, most_bytes: int
) -> list[tuple[bytes, bytes, int]]:
    seqs = array("Q", [row[0] for row in rows])
    lsns = array("Q", [row[1] for row in rows])
    times = array("Q", [row[2] for row in rows])
    payloads = [row[3] for row in rows]
    return list(encode_segments(timeline_id, seqs, lsns, times, payloads, most_entries, most_bytes))


u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
small = st.integers(1, 2**32)


def examples() -> list[tuple[bytes, bytes]]:
    """(beginning, end) of each worked example: hex words of its lines around the ellipsis."""
    found = []
    for section in FORMAT.read_text().split("### Worked example")[1:]:
        block = section.split("##", 1)[0]
        words: list[str] = []
        for line in block.splitlines():
            if line.startswith("    "):
                digits = re.match(r"\s+(?:key|value)?\s*((?:[0-9a-f…]+ )*[0-9a-f…]+)", line)
                if digits:
                    words += digits[1].split()
        joined = "".join(words)
        before, after = joined.split("…")
        found.append((bytes.fromhex(before), bytes.fromhex(after)))
    return found


class TestWorkedExamples:
    def test_the_segment_is_byte_for_byte_as_described(self) -> None:
        ((key, value, count),) = segments_of(3, ROWS, 256, 1 << 15)
        begin, end = examples()[0]
        assert (key + value).startswith(begin)
        assert value.endswith(end)
        assert count == 2

    def test_the_record_is_byte_for_byte_as_described(self) -> None:
        value = encode_record(Lsn(7), 2, 1_700_000_000_000, PAIR, [HI, YO], [])
        begin, end = examples()[1]
        assert value.startswith(begin)
        assert value.endswith(end)

    def test_an_entry_is_what_goes_over_the_wire(self) -> None:
        assert HI == b"*2\r\n$3\r\n1-0\r\n*2\r\n$4\r\ntext\r\n$2\r\nhi\r\n"


class TestEntries:
    @given(st.integers(1, 2**64 - 2), st.lists(st.binary(max_size=40), min_size=2, max_size=9))
    def test_fields_come_back_in_order_with_duplicates(self, seq: int, items: list[bytes]) -> None:
        payload = encode_entry(seq, items)
        assert decode_items(payload) == items
        assert payload[4:].startswith(resp_id(seq))

    @given(
        st.lists(st.integers(1, 20_000), min_size=1, max_size=5),
        st.integers(1, 3).flatmap(
            lambda pairs: st.lists(
                st.lists(
                    st.sampled_from([b"", b"a", b"text", b"v" * 4_095, b"v" * 4_096]),
                    min_size=2 * pairs,
                    max_size=2 * pairs,
                ),
                min_size=5,
                max_size=5,
            )
        ),
    )
    def test_a_run_is_what_its_entries_are(self, seqs: list[int], many: list[list[bytes]]) -> None:
        entries = many[: len(seqs)]
        parts, sizes = encode_run(seqs, list(zip(*entries, strict=True)))
        expected = [encode_entry(seq, items) for seq, items in zip(seqs, entries, strict=True)]
        assert b"".join(parts) == b"".join(expected)
        assert sizes == list(map(len, expected))

    @pytest.mark.parametrize("size", [0, 1, 4_095, 4_096, 70_000])
    def test_every_size_of_value_is_announced_rightly(self, size: int) -> None:
        assert decode_items(encode_entry(16_383, [b"f", b"v" * size])) == [b"f", b"v" * size]
        assert decode_items(encode_entry(16_384, [b"f" * size, b""])) == [b"f" * size, b""]

    @given(st.binary(max_size=60))
    def test_foreign_bytes_are_refused(self, payload: bytes) -> None:
        with pytest.raises(CorruptError):
            decode_items(b"!" + payload)

    @given(st.integers(0, len(HI) - 1))
    def test_a_shortened_entry_is_refused(self, size: int) -> None:
        with pytest.raises(CorruptError):
            decode_items(HI[:size])


@st.composite
def ascending_rows(draw: st.DrawFn) -> list[StoredEntry]:
    seqs = sorted(draw(st.sets(small, min_size=1, max_size=40)))
    rows = []
    for index, seq in enumerate(seqs):
        payload = draw(st.binary(min_size=1, max_size=50))
        rows.append((seq, 2**40 + index, 2**41 + index // 2, payload))
    return rows


class TestSegments:
    @given(ascending_rows(), st.integers(1, 10), st.integers(1, 200))
    def test_rows_come_back_whatever_the_bounds(
        self, rows: list[StoredEntry], entries: int, size: int
    ) -> None:
        found = []
        for key, value, count in segments_of(5, rows, entries, size):
            segment = Segment(key, value)
            assert segment.count == count <= entries
            assert keys.split_pair(key) == (5, segment.last)
            found += list(segment.stored())
        assert found == rows

    @given(ascending_rows())
    def test_a_search_by_number_agrees_with_a_scan(self, rows: list[StoredEntry]) -> None:
        ((key, value, _),) = segments_of(5, rows, 100, 1 << 20)
        segment = Segment(key, value)
        for seq in {row[0] + delta for row in rows for delta in (-1, 0, 1)}:
            assert segment.index(seq) == sum(row[0] < seq for row in rows)
            assert segment.index_after(seq) == sum(row[0] <= seq for row in rows)

    @given(ascending_rows(), st.data())
    def test_any_flipped_bit_is_noticed(self, rows: list[StoredEntry], data: st.DataObject) -> None:
        ((key, value, _),) = segments_of(5, rows, 100, 1 << 20)
        bit = data.draw(st.integers(0, 8 * len(value) - 1))
        damaged = bytearray(value)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptError):
            Segment(key, bytes(damaged))

    def test_a_segment_under_another_key_is_refused(self) -> None:
        ((_, value, _),) = segments_of(3, ROWS, 256, 1 << 15)
        with pytest.raises(CorruptError):
            Segment(keys.pair(4, 2), value)

    @given(st.binary(max_size=80))
    def test_foreign_bytes_are_refused(self, value: bytes) -> None:
        with pytest.raises(CorruptError):
            Segment(keys.pair(3, 2), value)


class TestRecords:
    @given(
        st.integers(1, 2**63),
        st.lists(st.binary(max_size=20), max_size=5),
        st.lists(st.binary(max_size=20), max_size=4),
        st.booleans(),
    )
    def test_a_record_comes_back_whole(
        self, first: int, payloads: list[bytes], bodies: list[bytes], spread: bool
    ) -> None:
        count = len(payloads)
        appends = Appends(
            array("Q", range(count)),
            array("Q", range(9, 9 + count)),
            array("I", map(len, payloads)),
            array("I", [2 * index for index in range(count)]) if spread else None,
        )
        operations = [
            Operation(PATCH, Lsn(first + count), TimelineId(8), index, body)
            for index, body in enumerate(bodies)
        ]
        operations.append(Operation(PUT, Lsn(first + count), NO_TIMELINE, 1, b"kvalue"))
        value = encode_record(Lsn(first), count + 1, 99, appends, payloads, operations)
        found = decode_record(Lsn(first + count), value)
        assert (found.first, found.last, found.time) == (first, first + count, 99)
        assert found.appends == appends
        assert found.payloads == payloads
        assert found.operations == operations
        step = 2 if spread else 1
        assert list(found.appends.lsns(first)) == [first + step * n for n in range(count)]

    @given(st.data())
    def test_any_flipped_bit_is_noticed(self, data: st.DataObject) -> None:
        value = encode_record(Lsn(7), 2, 5, PAIR, [HI, YO], [])
        bit = data.draw(st.integers(0, 8 * len(value) - 1))
        damaged = bytearray(value)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptError):
            decode_record(Lsn(8), bytes(damaged))

    @given(st.binary(max_size=80))
    def test_foreign_bytes_are_refused(self, value: bytes) -> None:
        with pytest.raises(CorruptError):
            decode_record(Lsn(8), value)


class TestReferences:
    @given(st.lists(st.tuples(st.integers(1, 9), u64, u64, st.integers(0, 255), u32), min_size=1))
    def test_references_come_back_and_commits_stay_whole(self, fields: list[Fields]) -> None:
        packed = [encode_reference(*each) for each in sorted(fields)]
        found = []
        for run in cut_references(packed, 3):
            key = keys.pair(4, lsn_of(run[-1]))
            found += decode_references(packed_references(key, encode_references(key, run)))
            if len(found) < len(packed):
                assert lsn_of(packed[len(found)]) != found[-1].lsn
        assert list(map(tuple, found)) == sorted(fields)

    def test_a_segment_of_version_1_has_no_ordinals(self) -> None:
        key = keys.pair(4, 9)
        body = struct.pack("<B3xI", 1, 2)
        body += struct.pack("<QQQB", 8, 3, 1, 1) + struct.pack("<QQQB", 9, 3, 2, 1)
        value = body + struct.pack("<I", crc32c(body, crc32c(key)))
        found = decode_references(packed_references(key, value))
        assert list(map(tuple, found)) == [(8, 3, 1, 1, 0), (9, 3, 2, 1, 0)]

    @pytest.mark.parametrize("inboxes", [[], [5], [5, 6]])
    def test_a_target_of_a_store_without_ordinals_is_told_apart(self, inboxes: list[int]) -> None:
        ids = struct.pack(f"<{len(inboxes)}Q", *inboxes)
        old = decode_target(struct.pack("<QB", 3, 1) + ids)
        new = decode_target(encode_target(TimelineId(3), 1, 258, inboxes))
        assert (old.ordinal, new.ordinal) == (0, 258)
        for found in (old, new):
            assert (found.timeline_id, found.kind, list(found.inboxes)) == (3, 1, inboxes)

    @given(u64, u64, st.integers(0, 95))
    def test_a_floor_comes_back_and_damage_does_not_pass(
        self, inbox_id: int, lsn: int, bit: int
    ) -> None:
        key = keys.pair(inbox_id, 0)
        value = encode_floor(key, lsn)
        assert decode_floor(key, value) == lsn
        damaged = bytearray(value)
        damaged[bit // 8] ^= 1 << bit % 8
        for bad in (bytes(damaged), value[:-1], value + b"\0", b""):
            with pytest.raises(CorruptError):
                decode_floor(key, bad)


class TestRows:
    @given(st.builds(TimelineRow, st.integers(0, 1), u64, u64, u64, u64, u64, st.binary(), i64))
    def test_the_row_of_a_timeline_comes_back(self, row: TimelineRow) -> None:
        assert decode_row(encode_row(row)) == row

    @given(st.lists(st.tuples(u64, u64)))
    def test_spans_come_back(self, spans: list[tuple[int, int]]) -> None:
        assert decode_spans(encode_spans(spans)) == spans

    @given(u64, u64, st.lists(st.tuples(u64, u64)).map(tuple))
    def test_the_row_of_expiry_comes_back(
        self, floor: int, swept: int, marks: tuple[tuple[int, int], ...]
    ) -> None:
        row = ExpiryRow(floor, swept, marks)
        assert decode_expiry(encode_expiry(row)) == row
        for bad in (b"", encode_expiry(row)[:-1]):
            with pytest.raises(CorruptError):
                decode_expiry(bad)

    @given(u64, st.integers(0, 95))
    def test_a_torn_mark_counts_for_nothing(self, lsn: int, bit: int) -> None:
        slot = encode_mark(lsn)
        assert decode_mark(slot) == lsn
        torn = bytearray(slot)
        torn[bit // 8] ^= 1 << bit % 8
        assert decode_mark(bytes(torn)) is None

    @given(st.binary(max_size=30).filter(lambda prefix: prefix.strip(b"\xff")))
    def test_the_successor_bounds_a_prefix(self, prefix: bytes) -> None:
        assert prefix + b"\xff" * 9 < keys.successor(prefix)
