"""The promise: joining gives what encoding all of the entries does, and no damage passes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.formats.test_segments import ascending_entries, segments_of
from timeline.errors import CorruptError
from timeline.formats.joining import join_segments, span_of
from timeline.formats.segments import Segment, StoredEntry


def contiguous(payloads: list[bytes]) -> list[StoredEntry]:
    return [(7 + at, 2**40 + at, 2**41, payload) for at, payload in enumerate(payloads)]


PAYLOADS = st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=40)


@given(PAYLOADS, st.integers(1, 10))
def test_joining_is_encoding_all_of_the_entries(payloads: list[bytes], most: int) -> None:
    entries = contiguous(payloads)
    parts = [(key, value) for key, value, _ in segments_of(5, entries, most, 1 << 20)]
    ((key, value, _),) = segments_of(5, entries, 100, 1 << 20)
    assert join_segments(parts) == (key, value)


@given(ascending_entries())
def test_a_span_is_what_the_segment_has(entries: list[StoredEntry]) -> None:
    ((key, value, _),) = segments_of(5, entries, 100, 1 << 20)
    segment = Segment(key, value)
    payload = sum(len(entry[3]) for entry in entries)
    assert span_of(key, value) == (segment.first, len(entries), payload, segment.seqs is None)


@pytest.mark.parametrize("which", [0, 1])
def test_no_flipped_byte_is_joined(which: int) -> None:
    entries = contiguous([b"one", b"two", b"three"])
    parts = [(key, value) for key, value, _ in segments_of(5, entries, 2, 1 << 20)]
    key, value = parts[which]
    for at in range(len(value)):
        flipped = bytearray(value)
        flipped[at] ^= 0x10
        parts[which] = (key, bytes(flipped))
        with pytest.raises(CorruptError, match=r"segment of timeline 5"):
            join_segments(parts)
    for size in range(len(value)):
        parts[which] = (key, value[:size])
        with pytest.raises(CorruptError, match=r"segment of timeline 5"):
            join_segments(parts)


def test_a_segment_with_gaps_is_not_joined() -> None:
    entries = contiguous([b"one", b"two", b"three"])
    ((key, value, _),) = segments_of(5, [entries[0], entries[2]], 2, 1 << 20)
    with pytest.raises(CorruptError):
        join_segments([(key, value)])


def test_a_value_too_short_for_a_header_has_no_span() -> None:
    with pytest.raises(CorruptError):
        span_of(bytes(15) + b"\1", b"\1\0\1")
