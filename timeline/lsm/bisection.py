"""Binary search over the numbers of a timeline, of which some may have no entry."""

from __future__ import annotations

from collections.abc import Callable

from timeline.formats.segments import StoredEntry


def bisect_entries(
    entry_at: Callable[[int], StoredEntry | None],
    before: Callable[[StoredEntry], bool],
    low: int,
    high: int,
) -> int:
    """The lowest number from `low` to `high` with no entry at or above it that is `before` what is
    looked for; `high` + 1 when all are.

    `entry_at(number)` is the first entry of that number or above, None when there is none. Entries
    that are `before` come first: LSNs, and times by the order of commits, never fall along a
    timeline.
    """
    while low <= high:
        middle = (low + high) // 2
        entry = entry_at(middle)
        if entry is not None and before(entry):
            low = entry[0] + 1
        else:
            high = middle - 1
    return low
