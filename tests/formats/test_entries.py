"""The promise: an entry is stored as it is sent, and nothing short or foreign is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.formats.samples import HI
from timeline.errors import CorruptError
from timeline.formats.entries import decode_items, encode_entry, encode_run, resp_id, split_items


def test_an_entry_is_what_goes_over_the_wire() -> None:
    assert HI == b"*2\r\n$3\r\n1-0\r\n*2\r\n$4\r\ntext\r\n$2\r\nhi\r\n"


@given(st.integers(1, 2**64 - 2), st.lists(st.binary(max_size=40), min_size=2, max_size=9))
def test_fields_come_back_in_order_with_duplicates(seq: int, items: list[bytes]) -> None:
    payload = encode_entry(seq, items)
    assert decode_items(payload) == items
    assert payload[4:].startswith(resp_id(seq))


@given(
    st.integers(1, 2**64 - 2),
    st.lists(
        st.binary(max_size=9) | st.lists(st.sampled_from([b"\r\n", b"$1", b"x"])).map(b"".join),
        min_size=2,
        max_size=9,
    ),
)
def test_items_are_the_same_however_they_are_split(seq: int, items: list[bytes]) -> None:
    assert split_items(encode_entry(seq, items)) == items


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
def test_a_run_is_what_its_entries_are(seqs: list[int], many: list[list[bytes]]) -> None:
    entries = many[: len(seqs)]
    parts, sizes = encode_run(seqs, list(map(list, zip(*entries, strict=True))))
    expected = [encode_entry(seq, items) for seq, items in zip(seqs, entries, strict=True)]
    assert b"".join(parts) == b"".join(expected)
    assert sizes == list(map(len, expected))


@pytest.mark.parametrize("size", [0, 1, 4_095, 4_096, 70_000])
def test_every_size_of_value_is_announced_rightly(size: int) -> None:
    assert decode_items(encode_entry(16_383, [b"f", b"v" * size])) == [b"f", b"v" * size]
    assert decode_items(encode_entry(16_384, [b"f" * size, b""])) == [b"f" * size, b""]


@given(st.binary(max_size=60))
def test_foreign_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(CorruptError):
        decode_items(b"!" + payload)
    with pytest.raises(CorruptError):
        split_items(b"!" + payload)


@given(st.integers(0, len(HI) - 1))
def test_a_shortened_entry_is_refused(size: int) -> None:
    for decode in (decode_items, split_items):
        with pytest.raises(CorruptError):
            decode(HI[:size])
