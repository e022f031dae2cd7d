"""The promise: a gate lets commits in until a group is full, and none while it is shut."""

from __future__ import annotations

import pytest

from timeline.commit.gate import Gate
from timeline.errors import BusyError, ReadOnlyError

MOST = 100


def test_a_group_that_is_full_takes_no_other_commit() -> None:
    gate = Gate(MOST)
    gate.check_room(MOST)
    with pytest.raises(BusyError):
        gate.check_room(MOST + 1)


def test_a_shut_gate_raises_why_however_little_a_group_holds() -> None:
    gate = Gate(MOST)
    gate.shut(ReadOnlyError("a failure"))
    assert gate.room < 0, "which no group is within"
    with pytest.raises(ReadOnlyError, match="a failure"):
        gate.check()
    with pytest.raises(ReadOnlyError, match="a failure"):
        gate.check_room(0)


def test_an_opened_gate_has_room_again() -> None:
    gate = Gate(MOST)
    gate.shut(ReadOnlyError("a failure"))
    gate.open()
    gate.check_room(MOST)
    assert (gate.room, gate.refusal) == (MOST, None)
