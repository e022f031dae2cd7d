"""The promise: what is known of an idle timeline is found by id and name, until it is taken out."""

from __future__ import annotations

from timeline.formats.rows import RAW, TimelineRow
from timeline.lsm.headcache import Head, HeadCache


def row(name: bytes) -> TimelineRow:
    return TimelineRow(RAW, 5, 2, 1, 0, 0, name)


def test_a_timeline_comes_back_once() -> None:
    cache = HeadCache(2)
    cache.put(7, row(b"a"), 9)
    assert cache.find(b"a") == 7
    assert cache.take(7) == Head(row(b"a"), 9)
    assert cache.take(7) is None
    assert cache.find(b"a") is None


def test_those_that_were_kept_first_go_first() -> None:
    cache = HeadCache(2)
    for number, name in enumerate((b"a", b"b", b"c")):
        cache.put(number, row(name), number)
    assert [cache.find(name) for name in (b"a", b"b", b"c")] == [None, 1, 2]
