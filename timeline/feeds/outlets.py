"""Outlets: which timelines a sync reads, of all that its reader pulls.

Rule: a page looks at a bounded number of things, so it needs no more outlets than that: those whose
next entries come first. Where the next entry of each is, is remembered. So a device that catches up
page by page has it looked for once.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from timeline.engine.view import Applied
from timeline.fanout import Outlet, first_above
from timeline.formats.numbers import Lsn
from timeline.lsm.timeline import Timeline
from timeline.pullback import Part

_PASSED: Final = 16  # entries that are passed from the newest on before the place is searched for


class Next(NamedTuple):
    """The next entry of a part: the commit that made it, and its number."""

    lsn: int
    seq: int


class NextEntries:
    """Where parts go on above commits that were asked for."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # By timeline, first and last number: a commit, and the next entry above it.
        self._known: dict[tuple[int, int, int], tuple[int, Next]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def outlets(self, view: Applied, parts: Iterable[Part], lsn: int, most: int) -> list[Outlet]:
        """The `most` outlets that come first above commit `lsn`, of parts that may have anything
        there.
        """
        there: list[tuple[int, int, int, Part, Timeline]] = []
        for at, part in enumerate(parts):
            timeline = view.load(part.timeline_id)
            following = None if timeline is None else self._next(view, timeline, part, lsn)
            if timeline is not None and following is not None:
                there.append((following.lsn, at, following.seq, part, timeline))
        if len(there) <= most:
            return [Outlet(timeline, seq, part.last) for _, _, seq, part, timeline in there]
        heapify(there)
        found: list[Outlet] = []
        while there and len(found) < most:
            made, at, _, part, timeline = heappop(there)
            following = self._check(view, timeline, part, lsn)
            if following is not None and following.lsn == made:
                found.append(Outlet(timeline, following.seq, part.last))
            elif following is not None:
                heappush(there, (following.lsn, at, following.seq, part, timeline))
        return found

    def _next(self, view: Applied, timeline: Timeline, part: Part, lsn: int) -> Next | None:
        """The next entry, or where it was before it was deleted."""
        key = (part.timeline_id, part.first, part.last)
        known = self._known.get(key)
        if known is not None and known[0] <= lsn < known[1].lsn:
            return known[1]
        found = _find(view, timeline, part, lsn)
        if found is not None:
            self._known[key] = lsn, found
        return found

    def _check(self, view: Applied, timeline: Timeline, part: Part, lsn: int) -> Next | None:
        """The next entry, which is there."""
        found = self._next(view, timeline, part, lsn)
        if found is not None and view.entry(timeline, found.seq) is None:
            del self._known[part.timeline_id, part.first, part.last]
            found = self._next(view, timeline, part, lsn)
        return found


def _find(view: Applied, timeline: Timeline, part: Part, lsn: int) -> Next | None:
    """Most parts have few entries above, so the newest are looked at first."""
    last = min(part.last, view.extent(timeline).head)
    found: Next | None = None
    for passed, row in enumerate(view.stored(timeline, part.first, last, reverse=True)):
        if row[1] <= lsn:
            return found
        if passed == _PASSED:
            break
        found = Next(row[1], row[0])
    else:
        return found
    first = first_above(view, timeline, Lsn(lsn), part.first, last)
    following = next(view.stored(timeline, first, last), None)
    return None if following is None else Next(following[1], following[0])
