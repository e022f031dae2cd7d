"""Rows of feeds: as FORMAT.md says, and nothing short or foreign is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.formats.samples import FORMAT
from timeline.errors import CorruptError
from timeline.formats import feeds as rows, names, posts
from timeline.formats.entries import encode_entry
from timeline.formats.stretches import Stretch

numbers = st.integers(0, 2**64 - 1)
bytes_ = st.integers(0, 255)
stretches = st.lists(st.builds(Stretch, *[numbers] * 5), max_size=3).map(tuple)

ROWS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "feed": (
        st.builds(rows.FeedRow, bytes_, *[numbers] * 5, stretches),
        rows.encode_feed,
        rows.decode_feed,
    ),
    "home": (st.builds(rows.HomeRow, bytes_, *[numbers] * 2), rows.encode_home, rows.decode_home),
    "tie": (st.builds(rows.TieRow, bytes_, *[numbers] * 2), rows.encode_tie, rows.decode_tie),
    "follow": (
        st.builds(rows.FollowRow, bytes_, *[numbers] * 5),
        rows.encode_follow,
        rows.decode_follow,
    ),
    "repost": (numbers, posts.encode_repost, posts.decode_repost),
    "counts": (
        st.builds(
            posts.Counts,
            *[numbers] * 3,
            st.lists(
                st.builds(posts.Reaction, bytes_, numbers, st.binary(max_size=255)), max_size=3
            ).map(tuple),
        ),
        posts.encode_counts,
        posts.decode_counts,
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
        decode(value[: data.draw(st.integers(0, 7))])
    with pytest.raises(CorruptError):
        decode(value + b"x")


def test_the_newest_followers_come_first() -> None:
    newest, older = rows.follower_key(7, 12, 3), rows.follower_key(7, 11, 1)
    assert newest < rows.follower_key(7, 12, 4) < older < rows.follower_key(8, 99, 1)
    assert rows.split_follower_key(newest) == (7, 12, 3)
    assert rows.split_listed_key(rows.listed_key(rows.BLOCK, 9, 12, 7)) == (9, 12, 7)
    with pytest.raises(CorruptError):
        rows.split_follower_key(newest[:-1])


def test_replies_are_in_the_order_of_commits() -> None:
    older, newer = posts.Link(7, 3, 11, 2, 9, 4), posts.Link(7, 3, 11, 3, 2, 1)
    keys = [posts.link_key(posts.REPLY, each) for each in (older, newer)]
    assert keys[0] < keys[1] < posts.link_key(posts.REPLY, older._replace(seq=4))
    assert [posts.split_link_key(key) for key in keys] == [older, newer]
    assert posts.split_repost_key(posts.repost_key(7, 3, 9)) == (7, 3, 9)
    assert posts.split_reaction_key(posts.reaction_key(7, 3, 2, 5)) == (7, 3, 2, 5)
    for split in (posts.split_link_key, posts.split_repost_key, posts.split_reaction_key):
        with pytest.raises(CorruptError):
            split(keys[0][:-1])


def test_a_post_is_what_its_fields_of_the_store_say() -> None:
    def header(*items: bytes) -> posts.Header:
        return posts.header_of(encode_entry(1, items))

    bare = header(b"@time", b"1", b"text", b"@for all")
    assert (bare.audience, bare.reply, bare.repost, *bare.mentions) == (b"", b"", b"")
    named = header(b"@for", b"named", b"@mentions", b"bob", b"@mentions", b"cat", b"text", b"x")
    assert (named.audience, *named.mentions) == (posts.NAMED, b"bob", b"cat")
    assert header(b"@repost", b"ann/1").kind == "repost"
    assert header(b"@repost", b"ann/1", b"text", b"x").kind == "post"
    assert header(b"@reply", b"ann/1", b"text", b"x").kind == "reply"


def test_a_name_of_a_post_is_split_at_the_last_slash() -> None:
    assert posts.split_post_name(posts.post_name(b"a/b", 12)) == (b"a/b", 12)
    for name in (b"ann", b"ann/", b"/1", b"ann/01", b"ann/0", b"ann/x"):
        assert posts.split_post_name(name) is None


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
    for family in (*rows.FAMILIES, *posts.FAMILIES):
        assert f"`{family.decode()}`" in page
    for kind, word in rows.KINDS.items():
        assert f"{kind} {word}" in page
    for name in (names.FEEDS, names.FEED_EVENTS, names.HOMES):
        assert f"`{name.decode()}u`" in page
