"""The promise: a name that was dropped lately is known, and of older ones the worst is assumed."""

from __future__ import annotations

from timeline.commit import dropped
from timeline.commit.dropped import DroppedNames


def test_a_name_is_known_from_when_it_was_dropped() -> None:
    names = DroppedNames()
    names.note(b"a")
    before = names.count
    assert not names.holds_since(b"a", before)
    names.note(b"b")
    assert names.holds_since(b"b", before)
    assert not names.holds_since(b"a", before)
    names.note(b"a")
    assert names.holds_since(b"a", before)


def test_what_is_too_long_ago_to_tell_counts_as_dropped() -> None:
    names = DroppedNames()
    for _ in range(dropped._REMEMBERED + 1):
        names.note(b"a")
    assert names.holds_since(b"never", 0)
    assert not names.holds_since(b"never", 1)
