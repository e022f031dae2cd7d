"""The promise: segments are as FORMAT.md says, and no damage to one passes."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, strategies as st

from tests.formats.samples import ENTRIES, examples
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.segments import Segment, StoredEntry, encode_segments


def segments_of(
    timeline_id: int, entries: list[StoredEntry], most_entries: int, most_bytes: int
) -> list[tuple[bytes, bytes, int]]:
    seqs = array("Q", [entry[0] for entry in entries])
    lsns = array("Q", [entry[1] for entry in entries])
    times = array("Q", [entry[2] for entry in entries])
    payloads = [entry[3] for entry in entries]
    return list(encode_segments(timeline_id, seqs, lsns, times, payloads, most_entries, most_bytes))


def test_the_segment_is_byte_for_byte_as_described() -> None:
    ((key, value, count),) = segments_of(3, ENTRIES, 256, 1 << 15)
    begin, end = examples()[0]
    assert (key + value).startswith(begin)
    assert value.endswith(end)
    assert count == 2


@st.composite
def ascending_entries(draw: st.DrawFn) -> list[StoredEntry]:
    seqs = sorted(draw(st.sets(st.integers(1, 2**32), min_size=1, max_size=40)))
    entries = []
    for index, seq in enumerate(seqs):
        payload = draw(st.binary(min_size=1, max_size=50))
        entries.append((seq, 2**40 + index, 2**41 + index // 2, payload))
    return entries


@given(ascending_entries(), st.integers(1, 10), st.integers(1, 200))
def test_entries_come_back_whatever_the_bounds(
    entries: list[StoredEntry], most: int, size: int
) -> None:
    found = []
    for key, value, count in segments_of(5, entries, most, size):
        segment = Segment(key, value)
        assert segment.count == count <= most
        assert keys.split_pair(key) == (5, segment.last)
        found += list(segment.stored())
    assert found == entries


@given(ascending_entries())
def test_a_search_by_number_agrees_with_a_scan(entries: list[StoredEntry]) -> None:
    ((key, value, _),) = segments_of(5, entries, 100, 1 << 20)
    segment = Segment(key, value)
    for seq in {entry[0] + delta for entry in entries for delta in (-1, 0, 1)}:
        assert segment.index(seq) == sum(entry[0] < seq for entry in entries)
        assert segment.index_after(seq) == sum(entry[0] <= seq for entry in entries)


@given(ascending_entries(), st.data())
def test_any_flipped_bit_is_noticed(entries: list[StoredEntry], data: st.DataObject) -> None:
    ((key, value, _),) = segments_of(5, entries, 100, 1 << 20)
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    damaged = bytearray(value)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptError):
        Segment(key, bytes(damaged))


def test_a_segment_under_another_key_is_refused() -> None:
    ((_, value, _),) = segments_of(3, ENTRIES, 256, 1 << 15)
    with pytest.raises(CorruptError):
        Segment(keys.pair(4, 2), value)


@given(st.binary(max_size=80))
def test_foreign_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(CorruptError):
        Segment(keys.pair(3, 2), value)
