"""Rows of conversations and users: as FORMAT.md says, and nothing short or foreign is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from timeline.errors import CorruptError
from timeline.formats import conversations as rows
from timeline.formats.stretches import OPEN, Stretch

numbers = st.integers(0, 2**64 - 1)
bytes_ = st.integers(0, 255)
stretches = st.lists(st.builds(Stretch, *[numbers] * 5), max_size=3).map(tuple)

ROWS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "conversation": (
        st.builds(
            rows.ConversationRow,
            *[bytes_] * 3,
            *[numbers] * 4,
            st.binary(min_size=8, max_size=8),
            stretches,
        ),
        rows.encode_conversation,
        rows.decode_conversation,
    ),
    "member": (
        st.builds(rows.MemberRow, bytes_, bytes_, *[numbers] * 4, stretches),
        rows.encode_member,
        rows.decode_member,
    ),
    "roster": (
        st.builds(rows.RosterRow, bytes_, numbers),
        rows.encode_roster,
        rows.decode_roster,
    ),
    "device": (
        st.builds(rows.DeviceRow, bytes_, numbers, st.integers(0, 2**32 - 1), numbers, st.binary()),
        rows.encode_device,
        rows.decode_device,
    ),
    "tombstone": (
        st.builds(rows.GraveRow, numbers, st.binary(min_size=1)),
        rows.encode_grave,
        rows.decode_grave,
    ),
    "key": (
        st.builds(rows.KeyRow, numbers, numbers, st.binary(min_size=16, max_size=16)),
        rows.encode_key,
        rows.decode_key,
    ),
    "generation": (
        st.builds(rows.GenerationRow, *[numbers] * 3),
        rows.encode_generation,
        rows.decode_generation,
    ),
}


@pytest.mark.parametrize("name", ROWS)
@given(data=st.data())
def test_a_row_comes_back_and_short_ones_are_refused(name: str, data: st.DataObject) -> None:
    strategy, encode, decode = ROWS[name]
    row = data.draw(strategy)
    value = encode(row)
    assert decode(value) == row
    with pytest.raises(CorruptError):
        decode(value[: data.draw(st.integers(0, 8))])


def test_a_member_is_laid_out_as_described() -> None:
    """Member, pinned and with hidden messages, from the second message on; read up to the third."""
    span = Stretch(2, OPEN, 1, OPEN, OPEN)
    row = rows.MemberRow(
        rows.PLAIN, rows.PINNED | rows.HAS_HIDDEN, 1_700_000_000_000, 3, 0, 0, (span,)
    )
    assert rows.encode_member(row).hex() == (
        "0209"  # role, flags
        "0068e5cf8b010000"  # joined
        "030000000000000000000000000000000000000000000000"  # read, cleared, unlisted
        "0200000000000000ffffffffffffffff"  # messages of the span
        "0100000000000000ffffffffffffffff"  # events
        "ffffffffffffffff"  # it has not ended
    )  # fmt: skip


def test_admins_come_first_in_a_roster_and_who_left_last() -> None:
    admin, member = rows.roster_key(7, rows.ADMIN, 9), rows.roster_key(7, rows.READER, 1)
    gone = rows.roster_key(7, rows.NONE, 1)
    assert admin < member < gone < rows.roster_key(8, rows.ADMIN, 1)
    start, stop = rows.roster_between(7)
    assert start < admin < member < stop < gone
    start, stop = rows.roster_between(7, admins=True)
    assert start < admin < stop < member
    assert rows.split_roster_key(admin) == (7, 0, 9)
    assert admin.hex() == "7572" + "0000000000000007" + "00" + "0000000000000009"


def test_what_is_kept_decoded_is_bounded_in_bytes() -> None:
    """A row that is large, and another one at each change, is not kept."""
    for number in range(50):
        pulled = tuple(Stretch(*[number] * 5) for _ in range(60))
        row = rows.ConversationRow(0, 0, 0, number, 0, 0, 0, bytes(8), pulled)
        value = rows.encode_conversation(row)
        assert rows.decode_conversation(value) == row
        assert rows._CONVERSATIONS.get(value) is None
    row = rows.ConversationRow(0, 0, 0, 123_456, 0, 0, 0, bytes(8), ())
    value = rows.encode_conversation(row)
    assert rows._CONVERSATIONS.get(value) == row
    assert rows.decode_conversation(value) == row
