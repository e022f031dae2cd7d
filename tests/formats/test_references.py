"""The promise: references and floors come back, and no damage to a floor passes."""

from __future__ import annotations

import struct
from itertools import pairwise
from zlib import compress

import pytest
from crc32c import crc32c
from hypothesis import given, strategies as st

from tests.formats.samples import u32, u64
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.numbers import Lsn, Seq, TimelineId
from timeline.formats.references import (
    COMPACT,
    Fields,
    begin_references,
    compact_references,
    count_references,
    cut_back,
    cut_references,
    decode_floor,
    decode_references,
    encode_floor,
    encode_reference,
    encode_references,
    finish_references,
    lsn_of,
    packed_references,
    references_below,
)


@given(st.lists(st.tuples(st.integers(1, 9), u64, u64, st.integers(0, 255), u32), min_size=1))
def test_references_come_back_and_commits_stay_whole(fields: list[Fields]) -> None:
    packed = [encode_reference(*each) for each in sorted(fields)]
    found = []
    for run in cut_references(packed, 3):
        key = keys.pair(4, lsn_of(run[-1]))
        found += decode_references(packed_references(key, encode_references(key, run)))
        if len(found) < len(packed):
            assert lsn_of(packed[len(found)]) != found[-1].lsn
    assert list(map(tuple, found)) == sorted(fields)


@given(
    st.lists(st.tuples(st.integers(1, 9), u64, u64, st.integers(0, 255), u32), min_size=1),
    st.integers(0, 10),
    st.integers(1, 4),
)
def test_references_are_cut_from_the_back_and_commits_stay_whole(
    fields: list[Fields], lsn: int, most: int
) -> None:
    fields = sorted(fields)
    packed = [encode_reference(*each) for each in fields]
    runs = list(cut_back(packed, len(packed), most))
    assert [each for run in reversed(runs) for each in run] == packed
    for newer, older in pairwise(runs):
        assert len(newer) >= most
        assert lsn_of(newer[0]) != lsn_of(older[-1])
    below = references_below(b"".join(packed), lsn, most)
    reached = [each for each in fields if each[0] <= lsn]
    assert below == reached[len(reached) - len(below) :]
    left = reached[: len(reached) - len(below)]
    if left:
        assert sum(each[0] < lsn for each in below) >= most
        assert left[-1][0] != below[0][0]


@given(
    st.lists(st.tuples(u64, u64, u64, st.integers(0, 255), u32), min_size=1),
    u64,
    st.integers(0),
)
def test_a_compact_segment_says_the_same_and_no_damage_to_it_passes(
    fields: list[Fields], inbox_id: int, bit: int
) -> None:
    references, key = [encode_reference(*each) for each in fields], keys.pair(inbox_id, 9)
    value = finish_references(key, compact_references(begin_references(references)))
    assert packed_references(key, value) == b"".join(references)
    assert count_references(value) == len(fields)
    damaged = bytearray(value)
    damaged[bit // 8 % len(value)] ^= 1 << bit % 8
    for bad in (bytes(damaged), value[:-1], value + b"\0"):
        with pytest.raises(CorruptError):
            packed_references(key, bad)


def test_what_a_large_group_gets_takes_little_room() -> None:
    references = [encode_reference(Lsn(n), TimelineId(7), Seq(n), 1) for n in range(1, 1_001)]
    assert len(compact_references(begin_references(references))) < 300


@pytest.mark.parametrize("content", [b"", b"no zlib", compress(bytes(28)), compress(bytes(99))])
def test_foreign_content_of_a_compact_segment_is_refused(content: bytes) -> None:
    key = keys.pair(4, 9)
    body = struct.pack("<B3xI", COMPACT, 1) + content
    with pytest.raises(CorruptError):
        packed_references(key, body + struct.pack("<I", crc32c(body, crc32c(key))))


def test_a_segment_of_version_1_has_no_ordinals() -> None:
    key = keys.pair(4, 9)
    body = struct.pack("<B3xI", 1, 2)
    body += struct.pack("<QQQB", 8, 3, 1, 1) + struct.pack("<QQQB", 9, 3, 2, 1)
    value = body + struct.pack("<I", crc32c(body, crc32c(key)))
    found = decode_references(packed_references(key, value))
    assert list(map(tuple, found)) == [(8, 3, 1, 1, 0), (9, 3, 2, 1, 0)]


@given(u64, u64, st.integers(0, 95))
def test_a_floor_comes_back_and_damage_does_not_pass(inbox_id: int, lsn: int, bit: int) -> None:
    key = keys.pair(inbox_id, 0)
    value = encode_floor(key, lsn)
    assert decode_floor(key, value) == lsn
    damaged = bytearray(value)
    damaged[bit // 8] ^= 1 << bit % 8
    for bad in (bytes(damaged), value[:-1], value + b"\0", b""):
        with pytest.raises(CorruptError):
            decode_floor(key, bad)
