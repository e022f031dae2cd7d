"""The promise: an entry is found by its commit, whichever numbers have no entry."""

from __future__ import annotations

from hypothesis import given, strategies as st

from timeline.formats.segments import StoredEntry
from timeline.lsm.bisection import bisect_entries


@given(st.sets(st.integers(1, 40)), st.integers(0, 45), st.integers(1, 20), st.integers(20, 40))
def test_a_bisection_agrees_with_a_scan(seqs: set[int], lsn: int, low: int, high: int) -> None:
    """Entry n is of commit n."""

    def entry_at(seq: int) -> StoredEntry | None:
        at = min((each for each in seqs if seq <= each <= high), default=None)
        return None if at is None else (at, at, 0, b"")

    found = bisect_entries(entry_at, lambda entry: entry[1] <= lsn, low, high)
    below = [seq for seq in seqs if low <= seq <= high and seq <= lsn]
    assert found == max(below, default=low - 1) + 1
