"""The promise: small rows come back, and nothing short or torn is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.formats.samples import i64, u64
from timeline.errors import CorruptError
from timeline.formats.rows import (
    FORMAT,
    ExpiryRow,
    StoreRow,
    TimelineRow,
    decode_expiry,
    decode_mark,
    decode_row,
    decode_spans,
    decode_store,
    encode_expiry,
    encode_mark,
    encode_row,
    encode_spans,
    encode_store,
)


@given(st.builds(TimelineRow, st.integers(0, 1), u64, u64, u64, u64, u64, st.binary(), i64))
def test_the_row_of_a_timeline_comes_back(row: TimelineRow) -> None:
    assert decode_row(encode_row(row)) == row


@given(st.integers(0, FORMAT + 1), u64)
def test_an_epoch_that_no_store_has_is_damage_unless_a_later_format_has_it(
    version: int, epoch: int
) -> None:
    row = StoreRow(version, epoch)
    if version <= FORMAT and epoch >= 1 << 32:
        with pytest.raises(CorruptError):
            decode_store(encode_store(row))
    else:
        assert decode_store(encode_store(row)) == row


@given(st.lists(st.tuples(u64, u64)))
def test_spans_come_back(spans: list[tuple[int, int]]) -> None:
    assert decode_spans(encode_spans(spans)) == spans


@given(u64, u64, st.lists(st.tuples(u64, u64)).map(tuple))
def test_the_row_of_expiry_comes_back(
    floor: int, swept: int, marks: tuple[tuple[int, int], ...]
) -> None:
    row = ExpiryRow(floor, swept, marks)
    assert decode_expiry(encode_expiry(row)) == row
    for bad in (b"", encode_expiry(row)[:-1]):
        with pytest.raises(CorruptError):
            decode_expiry(bad)


@given(u64, st.integers(0, 95))
def test_a_torn_mark_counts_for_nothing(lsn: int, bit: int) -> None:
    slot = encode_mark(lsn)
    assert decode_mark(slot) == lsn
    torn = bytearray(slot)
    torn[bit // 8] ^= 1 << bit % 8
    assert decode_mark(bytes(torn)) is None
