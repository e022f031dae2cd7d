"""A page of updates: what reached a reader after a position, resolved as far as it fits.

Rule: a page looks at a bounded number of references and ends with the update that brings it to a
number of bytes. When many references lead to nothing any more it comes back short, with `more`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from itertools import accumulate
from typing import Final, NamedTuple, Protocol

from timeline.devices.updates import Updates
from timeline.fanout import Arrivals, Position, Pull

PAGE_BYTES: Final = 4 << 20  # after which a page ends
_LOOKS_PER_ENTRY: Final = 4  # references looked at for each entry asked for, and
_LEAST_LOOKS: Final = 512  # references looked at for any page
_FIRST_LOOKS: Final = 64  # references resolved before it is known how large they are


class Resolved(NamedTuple):
    """What arrivals mean now, in their order; what is gone or not shown falls out. `used` is how
    many of them were looked at, all unless what was read for them makes the page `full`.
    """

    updates: Updates
    used: int
    full: bool = False


class Resolver(Protocol):
    def resolve(self, arrivals: Arrivals) -> Resolved: ...


class Found(NamedTuple):
    """Some updates, the position after them, and whether there is more now."""

    updates: Updates
    position: Position
    more: bool


def looks_for(count: int) -> int:
    """How many references a page of `count` updates looks at, at most."""
    return max(_LEAST_LOOKS, _LOOKS_PER_ENTRY * count)


def read_page(pull: Pull, resolver: Resolver, count: int, most: int, end: Position) -> Found:
    """At most `count` updates and about `most` bytes of them. `end` is the position of a reader who
    has everything.
    """
    found = Updates()
    budget = looks_for(count)
    size = looked = 0
    room = _FIRST_LOOKS
    while pull.more and len(found) < count and budget > 0 and size < most:
        arrivals = pull.take(min(count - len(found), budget, room))
        budget -= len(arrivals.seqs)
        looked += len(arrivals.seqs)
        updates, used, full = resolver.resolve(arrivals)
        ends = list(accumulate(map(len, updates.payloads), initial=size))
        fitting = bisect_left(ends, most, 1)
        if fitting < len(updates):  # the rest does not fit
            updates.cut(fitting)
            found.extend(updates)
            return Found(found, updates.position(fitting - 1), more=True)
        found.extend(updates)
        if full:
            reached = Position(arrivals.reached[used - 1], arrivals.passed[used - 1])
            return Found(found, reached, used < len(arrivals.seqs) or pull.more)
        size = ends[-1]
        room = max(_FIRST_LOOKS, (most - size) * looked // (size or 1))
    return Found(found, pull.position if pull.more else end, pull.more)


def collapse(updates: Updates, kinds: Collection[int]) -> None:
    """Of several updates of one of these kinds to one thing in a page, keep the last: all show the
    same.
    """
    if sum(map(updates.kinds.count, kinds)) <= 1:
        return
    places = list(zip(updates.kinds, updates.sources, updates.seqs, strict=True))
    last = {place: at for at, place in enumerate(places)}
    updates.select([place[0] not in kinds or last[place] == at for at, place in enumerate(places)])
