"""Rows of feeds: as FORMAT.md says, and nothing short or foreign is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.formats.samples import FORMAT
from timeline.errors import CorruptError
from timeline.formats import feeds as rows, names
from timeline.formats.stretches import Stretch

numbers = st.integers(0, 2**64 - 1)
bytes_ = st.integers(0, 255)
stretches = st.lists(st.builds(Stretch, *[numbers] * 5), max_size=3).map(tuple)

ROWS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "feed": (
        st.builds(rows.FeedRow, bytes_, *[numbers] * 3, stretches),
        rows.encode_feed,
        rows.decode_feed,
    ),
    "home": (st.builds(rows.HomeRow, bytes_, numbers), rows.encode_home, rows.decode_home),
    "follow": (
        st.builds(rows.FollowRow, bytes_, *[numbers] * 5),
        rows.encode_follow,
        rows.decode_follow,
    ),
}


@pytest.mark.parametrize("name", ROWS)
@given(data=st.data())
def test_a_row_comes_back_and_short_or_long_ones_are_refused(
    name: str, data: st.DataObject
) -> None:
    strategy, encode, decode = ROWS[name]
    row = data.draw(strategy)
    value = encode(row)
    assert decode(value) == row
    with pytest.raises(CorruptError):
        decode(value[: data.draw(st.integers(0, 8))])
    with pytest.raises(CorruptError):
        decode(value + b"x")


def test_the_newest_followers_come_first() -> None:
    newest, older = rows.follower_key(7, 12, 3), rows.follower_key(7, 11, 1)
    assert newest < rows.follower_key(7, 12, 4) < older < rows.follower_key(8, 99, 1)
    assert rows.split_follower_key(newest) == (7, 12, 3)
    with pytest.raises(CorruptError):
        rows.split_follower_key(newest[:-1])


def test_a_follow_is_laid_out_as_described() -> None:
    page = FORMAT.read_text("utf-8").partition("### Feeds")[2].partition("\n## ")[0]
    example = page.partition("```text")[2].partition("```")[0]
    lines = [line.split("  ")[-1] for line in example.splitlines() if " · " in line]
    key, one, two, follower = (bytes.fromhex(line.replace("·", "")) for line in lines)
    assert rows.follow_key(9, 7) == key
    row = rows.FollowRow(0, 201, 300, 480, 500, 1_700_000_000_000)
    assert rows.encode_follow(row) == one + two
    assert rows.follower_key(7, 500, 9) == follower


def test_every_row_kind_and_name_is_described() -> None:
    page = FORMAT.read_text("utf-8").partition("### Feeds")[2].partition("\n## ")[0]
    for family in rows.FAMILIES:
        assert f"`{family.decode()}`" in page
    for kind, word in rows.KINDS.items():
        assert f"{kind} {word}" in page
    for name in (names.FEEDS, names.FEED_EVENTS, names.HOMES):
        assert f"`{name.decode()}u`" in page
