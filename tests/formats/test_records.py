"""The promise: records of the log are as FORMAT.md says, and no damage to one passes."""

from __future__ import annotations

import struct
from array import array

import pytest
from hypothesis import given, strategies as st

from tests.formats.samples import APPENDS, HI, YO, examples
from timeline.errors import CorruptError
from timeline.formats.numbers import NO_TIMELINE, Lsn, TimelineId
from timeline.formats.records import (
    DROP,
    OPENING,
    PATCH,
    PUT,
    REMOVE,
    TRIM,
    Appends,
    Operation,
    decode_record,
    decode_target,
    encode_record,
    encode_target,
)


def test_the_record_is_byte_for_byte_as_described() -> None:
    value = encode_record(Lsn(7), 2, 1_700_000_000_000, APPENDS, [HI, YO], [])
    begin, end = examples()[1]
    assert value.startswith(begin)
    assert value.endswith(end)


@given(
    st.integers(1, 2**63),
    st.lists(st.binary(max_size=20), max_size=5),
    st.lists(st.binary(max_size=20), max_size=4),
    st.booleans(),
)
def test_a_record_comes_back_whole(
    first: int, payloads: list[bytes], bodies: list[bytes], spread: bool
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


@given(
    st.lists(
        st.tuples(st.sampled_from(range(PUT, OPENING + 1)), st.sampled_from([b"m", b"mx", b"a1"])),
        max_size=12,
    )
)
def test_a_reader_may_pass_over_deliveries_and_the_state_of_other_families(
    chosen: list[tuple[int, bytes]],
) -> None:
    operations = [
        Operation(kind, Lsn(7), TimelineId(at), 1, body) for at, (kind, body) in enumerate(chosen)
    ]
    value = encode_record(Lsn(7), 2, 5, APPENDS, [HI, YO], operations)
    whole, part = decode_record(Lsn(8), value), decode_record(Lsn(8), value, b"m"[0])
    assert part[:-1] == whole[:-1]
    assert list(part.operations) == [
        each
        for each in whole.operations
        if each.kind in (PATCH, TRIM, DROP)
        or (each.kind in (PUT, REMOVE) and each.body[:1] == b"m")
    ]


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    value = encode_record(Lsn(7), 2, 5, APPENDS, [HI, YO], [])
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    damaged = bytearray(value)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptError):
        decode_record(Lsn(8), bytes(damaged))


@given(st.binary(max_size=80))
def test_foreign_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(CorruptError):
        decode_record(Lsn(8), value)


@pytest.mark.parametrize("inboxes", [[], [5], [5, 6]])
def test_a_target_of_a_store_without_ordinals_is_told_apart(inboxes: list[int]) -> None:
    ids = struct.pack(f"<{len(inboxes)}Q", *inboxes)
    old = decode_target(struct.pack("<QB", 3, 1) + ids)
    new = decode_target(encode_target(TimelineId(3), 1, 258, inboxes))
    assert (old.ordinal, new.ordinal) == (0, 258)
    for found in (old, new):
        assert (found.timeline_id, found.kind, list(found.inboxes)) == (3, 1, inboxes)
