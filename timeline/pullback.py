"""Reading back: what reached a reader, newest first, read only as far as it is taken.

Responsibility: merge an in-box and the timelines that its reader pulls, against the order of
commits, from a place on down.

Rule: each part of a timeline says first which commit made its newest entry, or one above. A heap
keeps the parts by that, and a part is opened only when its turn comes. So the ten newest
things of a reader who pulls 5,000 timelines open some ten of them.

    newest known      a: 90    b: 70    c: 20
    taken so far      90 of a, 80 of a, 70 of b            c was not opened

As in `fanout`, this knows neither users nor posts. The caller holds the engine's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Final, NamedTuple

from timeline.engine.view import Applied
from timeline.fanout import first_above, ordinal_of
from timeline.formats.keys import MAX
from timeline.formats.numbers import Lsn, TimelineId

_FIRST_PAGE: Final = 64  # references of an in-box that are read at a time, at first
_PAGE: Final = 1_024


class Place(NamedTuple):
    """Where a thing stands among all: its commit, and how many things that had made before."""

    lsn: int
    ordinal: int


class Part(NamedTuple):
    """Numbers `first` to `last`, inclusive, of a timeline; no commit above `newest` made one."""

    timeline_id: TimelineId
    first: int
    last: int
    newest: int


class Thing(NamedTuple):
    """One thing that reached a reader. A reference has a kind above 0 and no payload; an entry that
    was pulled has the kind 0, and comes in stored form.
    """

    place: Place
    timeline_id: TimelineId
    seq: int
    kind: int
    payload: bytes


def newest_first(
    view: Applied, inbox: int, parts: Sequence[Part], before: Place
) -> Iterator[Thing]:
    """What stands below `before`, from the in-box down to its floor, and from the parts."""
    sources: list[Iterator[Thing] | None] = [_references(view, inbox, before)]
    sources += [None] * len(parts)
    # The next thing of each source, the highest place first. One that was not opened may have any
    # thing of the commit that it names.
    heap: list[tuple[int, int, int, Thing | None]] = [(-before.lsn, -MAX, 0, None)]
    for number, part in enumerate(parts, 1):
        heap.append((-min(part.newest, before.lsn), -MAX, number, None))
    heapify(heap)
    while heap:
        _, _, number, thing = heap[0]
        if thing is not None:
            yield thing
        source = sources[number]
        if source is None:
            source = sources[number] = _entries(view, parts[number - 1], before)
        following = next(source, None)
        if following is None:
            heappop(heap)
        else:
            lsn, ordinal = following.place
            heapreplace(heap, (-lsn, -ordinal, number, following))


def _references(view: Applied, inbox: int, before: Place) -> Iterator[Thing]:
    lsn, number = Lsn(before.lsn), MAX
    most = _FIRST_PAGE
    while True:
        page = view.inboxes.read_back(inbox, lsn, number, most)
        for reference, _ in page:
            place = Place(reference.lsn, reference.ordinal)
            if place < before:
                yield Thing(place, reference.timeline_id, reference.seq, reference.kind, b"")
        if len(page) < most:
            return
        reference, number = page[-1]
        lsn, number = (reference.lsn, number - 1) if number else (Lsn(reference.lsn - 1), MAX)
        most = _PAGE


def _entries(view: Applied, part: Part, before: Place) -> Iterator[Thing]:
    timeline = view.load(part.timeline_id)
    if timeline is None:
        return
    last = min(part.last, view.extent(timeline).head)
    if part.newest > before.lsn:
        last = first_above(view, timeline, Lsn(before.lsn), part.first, last) - 1
    for seq, lsn, _, payload in view.stored(timeline, part.first, last, reverse=True):
        place = Place(lsn, ordinal_of(payload))
        if place < before:
            yield Thing(place, timeline.id, seq, 0, payload)
