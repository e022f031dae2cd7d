"""The promise: the order of keys is the order in which a store is read."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.formats.samples import u64
from timeline.errors import CorruptError
from timeline.formats import keys


@given(st.binary(max_size=30).filter(lambda prefix: prefix.strip(b"\xff")))
def test_the_successor_bounds_a_prefix(prefix: bytes) -> None:
    assert prefix + b"\xff" * 9 < keys.successor(prefix)


@given(st.tuples(u64, u64), st.tuples(u64, u64))
def test_pairs_are_ordered_by_id_and_then_by_position(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    assert (keys.pair(*one) < keys.pair(*other)) == (one < other)
    assert keys.split_pair(keys.pair(*one)) == one


@given(st.binary(max_size=40).filter(lambda key: len(key) not in (8, 16)))
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(CorruptError):
        keys.split_pair(key)
    with pytest.raises(CorruptError):
        keys.split_number(key)
