"""Fan-out: write, read and mixed diffusion over audiences and in-boxes.

    push    one reference for a whole audience, recorded once (write diffusion)
    nothing the entry itself is enough, readers come for it (read diffusion)
    pull    a reader's in-box and the timelines he pulls, merged in the order of commits

Rule: an entry reaches a reader by exactly one of the two ways. Which one is decided when it is
written, and what is pulled is bounded by numbers, so that switching from one way to the other
between two entries loses and repeats nothing. A position is (LSN, n): everything up to that commit
and the first n things of the next; it means the same for every reader.

It knows neither users nor messages: who may see what is decided above. The caller holds the
engine's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final, NamedTuple

from timeline.draft import Draft
from timeline.formats import keys
from timeline.inboxes import Inboxes
from timeline.tails import Timeline
from timeline.view import View

_PAGE: Final = 1_024
_EVERY: Final = keys.MAX  # above every ordinal


class Position(NamedTuple):
    """Everything up to commit `lsn`, and the first `ordinal` things of the commit after it."""

    lsn: int
    ordinal: int


class Outlet(NamedTuple):
    """A stretch of a timeline that is pulled: numbers `first` to `last`, inclusive."""

    timeline: Timeline
    first: int
    last: int


class Item(NamedTuple):
    """One thing that reached a reader. `kind` is 0 and `payload` the entry when it was pulled;
    otherwise it is a reference, yet to be resolved.
    """

    lsn: int
    rank: int  # in-box first, then each timeline pulled
    order: int
    timeline_id: int
    seq: int
    kind: int
    payload: bytes


def push(draft: Draft, audience: int, timeline: Timeline, seq: int, kind: int) -> None:
    """Put one reference into the in-box of every member of `audience`."""
    draft.deliver(audience, timeline, seq, kind)


def notify(draft: Draft, inboxes: Sequence[int], timeline: Timeline, seq: int, kind: int) -> None:
    """Put one reference into the in-boxes named; `seq` may be a number without an entry."""
    if inboxes:
        draft.notify(inboxes, timeline, seq, kind)


def first_above(view: View, timeline: Timeline, lsn: int, low: int, high: int) -> int:
    """The lowest number from `low` to `high` whose entry was committed above `lsn`; else high + 1.

    LSNs never fall along a timeline, so this is a bisection over numbers.
    """
    return _bisect(view, timeline, 1, lsn, low, high)


def first_since(view: View, timeline: Timeline, time: int, low: int, high: int) -> int:
    """As `first_above`, for entries committed at `time` (ms) or later."""
    return _bisect(view, timeline, 2, time - 1, low, high)


def _bisect(view: View, timeline: Timeline, column: int, bound: int, low: int, high: int) -> int:
    low = max(low, view.extent(timeline).first)
    while low <= high:
        middle = (low + high) // 2
        row = next(view.rows(timeline, middle, high), None)
        if row is not None and int(row[column]) <= bound:
            low = row[0] + 1
        else:
            high = middle - 1
    return low


class Pull:
    """What reached an in-box behind a position, lazily and in the order of commits."""

    def __init__(
        self,
        view: View,
        inboxes: Inboxes,
        inbox: int,
        after: Position,
        outlets: Sequence[Outlet],
    ) -> None:
        self._position = after
        sources = [_references(inboxes, inbox, after.lsn)]
        sources += [
            _entries(view, outlet, rank, after.lsn) for rank, outlet in enumerate(outlets, 1)
        ]
        self._items = sources[0] if len(sources) == 1 else merge(*sources)
        self._next = next(self._items, None)
        self._lsn = 0  # of the last item taken
        self._taken = 0  # items of that commit taken or skipped
        skip = after.ordinal
        while skip and self._next is not None and self._next.lsn == after.lsn + 1:
            self.take(1)
            skip -= 1

    def take(self, most: int) -> list[tuple[Item, Position]]:
        """At most `most` items, each with the position behind it; fewer only at the end."""
        found: list[tuple[Item, Position]] = []
        following, items = self._next, self._items
        lsn, taken, position = self._lsn, self._taken, self._position
        while len(found) < most and following is not None:
            item, following = following, next(items, None)
            taken = taken + 1 if item.lsn == lsn else 1
            lsn = item.lsn
            if following is not None and following.lsn == lsn:
                position = Position(lsn - 1, taken)
            else:
                position = Position(lsn, 0)
            found.append((item, position))
        self._next, self._lsn, self._taken, self._position = following, lsn, taken, position
        return found

    @property
    def more(self) -> bool:
        return self._next is not None

    @property
    def position(self) -> Position:
        """Behind the last item taken."""
        return self._position


def _references(inboxes: Inboxes, inbox: int, lsn: int) -> Iterator[Item]:
    ordinal = _EVERY
    order = 0
    while True:
        page = inboxes.read(inbox, lsn, ordinal, _PAGE)
        for reference, ordinal in page:  # noqa: B007  the last one is where the next page begins
            order += 1
            yield Item(
                reference.lsn, 0, order, reference.timeline_id, reference.seq, reference.kind, b""
            )
        if len(page) < _PAGE:
            return
        lsn = page[-1][0].lsn
        ordinal = page[-1][1]


def _entries(view: View, outlet: Outlet, rank: int, lsn: int) -> Iterator[Item]:
    timeline, low, last = outlet
    first = first_above(view, timeline, lsn, low, min(last, view.extent(timeline).head))
    for seq, at, _, payload in view.rows(timeline, first, last):
        yield Item(at, rank, seq, timeline.id, seq, 0, payload)
