"""Reading back: what reached a reader, newest first, read only as far as it is taken.

Responsibility: merge an in-box and the timelines that its reader pulls, against the order of
commits, from a place on down.

Rule: each part has an LSN `newest`: none of its entries was made by a later commit. The parts come
in that order, and one is opened only when its turn comes. So the ten newest things of a reader who
pulls 5,000 timelines open some ten of them.

    newest known      a: 90    b: 70    c: 20
    taken so far      90 of a, 80 of a, 70 of b            c was not opened

As in `fanout`, this knows neither users nor posts. The caller holds the engine's lock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from heapq import heappop, heappush, heapreplace, merge
from itertools import chain
from typing import Final, NamedTuple

from timeline.engine.view import Applied
from timeline.errors import UsageError
from timeline.fanout import Position, first_above, ordinal_of
from timeline.formats.keys import MAX
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.segments import StoredEntry
from timeline.lsm.timeline import Timeline

_TOKEN: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")
_FIRST_PAGE: Final = 64  # references of an in-box that are read at a time, at first
_PAGE: Final = 1_024
_PASSED: Final = 16  # entries that are passed before the place to begin at is searched for


class Place(NamedTuple):
    """Where a thing stands among all: its commit, and how many things that made before this one.

    The reference to an entry is made right after it and stands where it does. So a thing has the
    same place whichever way it comes.
    """

    lsn: int
    ordinal: int


def decode_place(token: bytes) -> Place:
    """The place at which a page ended, as its cursor says. Raises `UsageError`."""
    match = _TOKEN.fullmatch(token)
    if match is None or max(place := Place(int(match[1]), int(match[2]))) > MAX:
        raise UsageError("a token is the cursor of the page before")
    return place


def position_below(place: Place) -> Position:
    """Everything that stands below a place."""
    return Position(Lsn(place.lsn - 1), place.ordinal) if place.lsn else Position(Lsn(0), 0)


class Part(NamedTuple):
    """Numbers `first` to `last`, inclusive, of a timeline; no commit above `newest` made one."""

    timeline_id: TimelineId
    first: int
    last: int
    newest: int


class Bounds:
    """Where parts stand at commits that were asked for. It is remembered, so whoever pages through
    what is old has the place in each timeline looked for once.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # By timeline, first and last number: a commit, and the last commit up to it that made an
        # entry, with the number of that.
        self._known: dict[tuple[int, int, int], tuple[int, int, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def lower(self, view: Applied, parts: Iterable[Part], lsn: int) -> Iterator[Part]:
        """What the parts have of commits up to `lsn`, in order as they are."""
        waiting = iter(parts)
        lowered: list[Part] = []
        for part in waiting:
            if part.newest <= lsn:
                lowered.sort(key=_age)
                return merge(lowered, chain([part], waiting), key=_age)
            newest, seq = self._newest(view, part, lsn)
            if newest:
                lowered.append(Part(part.timeline_id, part.first, seq, newest))
        lowered.sort(key=_age)
        return iter(lowered)

    def _newest(self, view: Applied, part: Part, lsn: int) -> tuple[int, int]:
        """The last commit up to `lsn` that made an entry of a part, and its number; 0 for none."""
        key = (part.timeline_id, part.first, part.last)
        known = self._known.get(key)
        if known is not None and lsn <= known[0]:
            if known[1] <= lsn:
                return known[1], known[2]
            part = Part(part.timeline_id, part.first, known[2], part.newest)
        timeline = view.load(part.timeline_id)
        row = None
        if timeline is not None:
            row = next(_rows_back(view, timeline, part, Place(lsn, 0)), None)
        newest, seq = (0, 0) if row is None else (row[1], row[0])
        self._known[key] = lsn, newest, seq
        return newest, seq


def _age(part: Part) -> int:
    return -part.newest


class Thing:
    """One thing that reached a reader. A reference has a kind above 0 and no payload; an entry that
    was pulled has the kind 0, and comes in stored form.
    """

    __slots__ = ("kind", "lsn", "ordinal", "payload", "seq", "timeline_id")

    def __init__(
        self, lsn: int, ordinal: int, timeline_id: TimelineId, seq: int, kind: int, payload: bytes
    ) -> None:
        self.lsn = lsn
        self.ordinal = ordinal
        self.timeline_id = timeline_id
        self.seq = seq
        self.kind = kind
        self.payload = payload

    @property
    def place(self) -> Place:
        return Place(self.lsn, self.ordinal)


def newest_first(
    view: Applied,
    inbox: TimelineId,
    parts: Iterable[Part],
    before: Place,
    of_entries: Collection[int] = (),
) -> Iterator[Thing]:
    """What stands below `before`, from the in-box down to its floor, and from the parts, which come
    in order: those with the newest entries first. `of_entries` are the kinds of references to
    entries of the same commit.
    """
    waiting = iter(parts)
    part = next(waiting, None)
    sources: list[Iterator[Thing]] = []
    # The next thing of each source that was opened, the highest place first.
    heap: list[tuple[int, int, int, Thing]] = []

    def add(source: Iterator[Thing]) -> None:
        thing = next(source, None)
        if thing is not None:
            heappush(heap, (-thing.lsn, -thing.ordinal, len(sources), thing))
            sources.append(source)

    if inbox:
        add(references_back(view, inbox, before, of_entries))
    while True:
        while part is not None and (not heap or -heap[0][0] <= part.newest):
            add(_entries(view, part, before))
            part = next(waiting, None)
        if not heap:
            return
        _, _, number, thing = heap[0]
        yield thing
        following = next(sources[number], None)
        if following is None:
            heappop(heap)
        else:
            heapreplace(heap, (-following.lsn, -following.ordinal, number, following))


def references_back(
    view: Applied, inbox: TimelineId, before: Place, of_entries: Collection[int] = ()
) -> Iterator[Thing]:
    """The references of an in-box that stand below `before`, newest first. Those of the kinds
    `of_entries` stand one thing further down than they were made.
    """
    lsn, number = Lsn(before.lsn), MAX
    most = _FIRST_PAGE
    while True:
        page = view.inboxes.read_back(inbox, lsn, number, most)
        for (at, timeline_id, seq, kind, made), _ in page:
            ordinal = made - 1 if kind in of_entries else made
            if at < before.lsn or (at == before.lsn and ordinal < before.ordinal):
                yield Thing(at, ordinal, timeline_id, seq, kind, b"")
        if len(page) < most:
            return
        (lsn, *_), number = page[-1]
        lsn, number = (lsn, number - 1) if number else (Lsn(lsn - 1), MAX)
        most = _PAGE


def _entries(view: Applied, part: Part, before: Place) -> Iterator[Thing]:
    timeline = view.load(part.timeline_id)
    if timeline is None:
        return
    for seq, lsn, _, payload in _rows_back(view, timeline, part, before):
        ordinal = ordinal_of(payload)
        if lsn < before.lsn or (lsn == before.lsn and ordinal < before.ordinal):
            yield Thing(lsn, ordinal, timeline.id, seq, 0, payload)


def _rows_back(
    view: Applied, timeline: Timeline, part: Part, before: Place
) -> Iterator[StoredEntry]:
    """The entries of a part, newest first, from about `before` on. A reader who pages has usually
    seen only the newest few entries of a part. So we search there first.
    """
    last = min(part.last, view.extent(timeline).head)
    passed = 0
    for row in view.stored(timeline, part.first, last, reverse=True):
        if row[1] <= before.lsn:
            yield row
        elif passed == _PASSED:
            break
        else:
            passed += 1
    else:
        return
    last = first_above(view, timeline, Lsn(before.lsn), part.first, last) - 1
    yield from view.stored(timeline, part.first, last, reverse=True)
