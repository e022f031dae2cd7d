"""The promise: what is known of an idle timeline is found by id and name, until it is taken out,
and nothing is found that was not kept.
"""

from __future__ import annotations

from hypothesis import given, strategies as st

from timeline.formats.rows import INBOX, RAW, TimelineRow
from timeline.lsm.headcache import Head, HeadCache


def row(name: bytes) -> TimelineRow:
    return TimelineRow(RAW, 5, 2, 1, 0, 0, name)


def test_a_timeline_comes_back_once() -> None:
    cache = HeadCache(2)
    assert (cache.find(b"a"), cache.take(7), 7 in cache) == (None, None, False)
    cache.put(7, row(b"a"), 9)
    assert cache.find(b"a") == 7
    assert 7 in cache
    assert cache.take(7) == Head(row(b"a"), 9)
    assert cache.take(7) is None
    assert cache.find(b"a") is None
    assert 7 not in cache


def test_as_many_as_there_is_room_for_are_kept_and_no_more() -> None:
    cache = HeadCache(1_000)
    for number in range(1, 1_501):
        cache.put(number, row(b"t%d" % number), number)
    assert [number for number in range(1, 1_501) if number in cache] == [*range(501, 1_501)]
    assert cache.take(1) is None
    assert cache.take(1_500) == Head(row(b"t1500"), 1_500)
    HeadCache(0).put(1, row(b"a"), 1)


IDS = st.integers(1, 9)
ROWS = st.builds(
    TimelineRow,
    st.sampled_from([RAW, INBOX]),
    st.sampled_from([0, 2**63]),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([b"", b"a", b"b", b"ab", b"aab", b"\xff" * 30]),
    st.integers(-1, 1),
)
STEP = st.one_of(
    st.tuples(st.just("put"), IDS, ROWS, st.integers(0, 2**64 - 1)),
    st.tuples(st.just("take"), IDS, st.none(), st.none()),
)


@given(st.integers(1, 6), st.lists(STEP, max_size=40))
def test_nothing_else_is_found_than_what_was_kept_last(
    limit: int, steps: list[tuple[str, int, TimelineRow | None, int | None]]
) -> None:
    cache = HeadCache(limit)
    kept: dict[int, Head] = {}
    for verb, timeline_id, held, head in steps:
        if held is not None and head is not None:
            cache.put(timeline_id, held, head)
            kept[timeline_id] = Head(held, head)
            kept = {other: it for other, it in kept.items() if other in cache}
            assert timeline_id in kept
        else:
            assert verb == "take"
            assert cache.take(timeline_id) == kept.pop(timeline_id, None)
        assert len(kept) <= limit
        assert all((each in cache) == (each in kept) for each in range(1, 10))
        for name in {each.row.name for each in kept.values()} | {b"b", b"zz"}:
            found = cache.find(name)
            assert found is None or kept[found].row.name == name
