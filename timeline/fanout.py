"""Fan-out on write (write diffusion), on read (read diffusion), or both, over in-boxes.

    write diffusion   `push` puts one reference into the in-box of every member, recorded once
    read diffusion    nothing is put anywhere: readers pull the timeline itself
    replay            one reference stands for a stretch of a timeline that a reader missed
    `Pull`            reads in-boxes, and the timelines that its reader pulls, in commit order

Rule: an entry reaches a reader in exactly one of the two ways. The way is decided when the entry is
written. A reader pulls a timeline between two numbers only, so that a switch from one way to the
other between two entries loses and repeats nothing.

    entries 1 – 40      written while write-diffused: references 1 – 40 in each in-box
    entries 41 –        written while read-diffused: each reader pulls from 41 on

A position is (LSN, n): everything up to that commit, and the first n things that the next commit
made: references and read-diffused entries. It means the same for every reader.

In both ways, the things that one commit made come in the order in which it made them. So each thing
has an ordinal: how many things its commit had made before. A reference holds it. A read-diffused
entry holds it in a field of its own (`stamp`); the first thing of a commit has ordinal 0 and needs
no field.

What is replayed comes after everything else of its commit. Each entry of it has an ordinal of its
own, so that a reader may stop anywhere in it and go on there, however long it is.

This module knows neither users nor messages. Those above decide who may see what, and
`timeline/messaging/conversations/membership.py` decides when a conversation switches from one way
to the other. The caller holds the engine's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.formats.entries import decode_items
from timeline.formats.numbers import Lsn, Seq, TimelineId
from timeline.formats.references import REPLAY, Fields
from timeline.formats.segments import StoredEntry
from timeline.lsm.bisection import bisect_entries
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.timeline import Timeline

_PAGE_REFERENCES: Final = 1_024  # references of an in-box read at a time, after the first page
ORDINAL: Final = b"@ordinal"  # the field of a read-diffused entry that holds its ordinal
# Ordinals from here on are of what is replayed; those of what a commit makes are below.
_FIRST_REPLAYED: Final = 1 << 31


class Position(NamedTuple):
    """Everything up to commit `lsn`, and the first `ordinal` things the commit after it made."""

    lsn: Lsn
    ordinal: int


class Outlet(NamedTuple):
    """A stretch of a timeline that is read-diffused: numbers `first` to `last`, inclusive."""

    timeline: Timeline
    first: int
    last: int


# One thing that reached a reader: a reference, or an entry that was pulled, whose kind is 0. Its
# content is read by whoever wants it: entry `seq` of the timeline.
Arrival = Fields


class Arrivals(NamedTuple):
    """What reached a reader, in order, as columns of equal length: row by row one thing."""

    lsns: Sequence[Lsn]
    timelines: Sequence[TimelineId]
    seqs: Sequence[Seq]
    kinds: Sequence[int]
    # The fields of the `Position` after each.
    reached: Sequence[Lsn]
    passed: Sequence[int]


_in_order = itemgetter(0, 4)  # LSN and ordinal; what has the same keeps the order of its source
_kind = itemgetter(3)
_NOTHING: Final = Arrivals((), (), (), (), (), ())


def push(draft: Draft, audience: TimelineId, timeline: Timeline, seq: int, kind: int) -> None:
    """Put one reference into the in-box of every member of `audience`."""
    draft.deliver(audience, timeline, seq, kind)


def notify(draft: Draft, inboxes: Sequence[int], timeline: Timeline, seq: int, kind: int) -> None:
    """Put one reference into the in-boxes named. `seq` may be a number without an entry."""
    if inboxes:
        draft.notify(inboxes, timeline, seq, kind)


def replay(draft: Draft, inboxes: Sequence[int], timeline: Timeline, first: int) -> None:
    """Give readers what they missed of a timeline: its entries from number `first` up to those of
    this commit, as if they pulled them now.
    """
    notify(draft, inboxes, timeline, first, REPLAY)


def stamp(draft: Draft) -> list[bytes]:
    """The field that a read-diffused entry gets besides its own, so that it keeps its place among
    what the commit made.
    """
    return [ORDINAL, b"%d" % draft.made] if draft.made else []


def first_above(view: View, timeline: Timeline, lsn: Lsn, low: int, high: int) -> int:
    """The lowest number from `low` to `high` whose entry was committed above `lsn`; `high` + 1 when
    there is none.
    """
    return _first(view, timeline, lambda entry: entry[1] <= lsn, low, high)


def first_since(view: View, timeline: Timeline, time: int, low: int, high: int) -> int:
    """As `first_above`, for entries committed at `time` (ms) or later, by the order of commits."""
    by_order = view.clock.by_order
    return _first(view, timeline, lambda entry: by_order(entry[1], entry[2]) < time, low, high)


def _first(
    view: View, timeline: Timeline, before: Callable[[StoredEntry], bool], low: int, high: int
) -> int:
    def entry_at(seq: int) -> StoredEntry | None:
        return next(view.stored(timeline, seq, high), None)

    return bisect_entries(entry_at, before, max(low, view.extent(timeline).first), high)


class Pull:
    """What reached a reader after a position, in commit order, read as far as it is taken."""

    def __init__(
        self,
        view: View,
        inboxes: Inboxes,
        own: Sequence[int],
        after: Position,
        outlets: Sequence[Outlet],
        expected: int = _PAGE_REFERENCES,
    ) -> None:
        """`own` are the reader's in-boxes, `expected` is how many will be taken, about."""
        self._position = after
        sources: list[Iterator[Arrival]] = [
            chain.from_iterable(_references(view, inboxes, inbox, after, expected + 1))
            for inbox in own
        ]
        sources += [_entries(view, outlet, after.lsn) for outlet in outlets]
        # Commits of the first stores kept no ordinals: there the in-box comes first.
        self._items = sources[0] if len(sources) == 1 else merge(*sources, key=_in_order)
        self._next = next(self._items, None)
        self._lsn = 0  # of the last item taken
        self._passed = 0  # how many things of that commit were passed, also those of other readers
        while self._next is not None and self._next[0] == after.lsn + 1:
            if max(self._next[4], self._passed) >= after.ordinal:
                break
            self.take(1)

    def take(self, most: int) -> Arrivals:
        """At most `most` arrivals; fewer only at the end."""
        if self._next is None or most < 1:
            return _NOTHING
        found = [self._next, *islice(self._items, most - 1)]
        following = self._next = next(self._items, None)
        lsns: tuple[Lsn, ...]
        ordinals: tuple[int, ...]
        lsns, timelines, seqs, kinds, ordinals = zip(*found, strict=True)
        reached, after = list(lsns), [0] * len(found)
        lsn, passed = self._lsn, self._passed
        for at, each in enumerate(lsns):
            if each == lsn:
                if at:  # the one before was not the last of its commit
                    reached[at - 1], after[at - 1] = Lsn(lsn - 1), passed
                # Commits of the first stores: all ordinals are 0, and are counted as they come.
                passed = 1 + max(ordinals[at], passed)
            else:
                lsn, passed = each, 1 + ordinals[at]
        if following is not None and following[0] == lsn:
            reached[-1], after[-1] = Lsn(lsn - 1), passed
        self._lsn, self._passed, self._position = lsn, passed, Position(reached[-1], after[-1])
        return Arrivals(lsns, timelines, seqs, kinds, reached, after)

    @property
    def more(self) -> bool:
        return self._next is not None

    @property
    def position(self) -> Position:
        """The position after the last arrival taken."""
        return self._position


def _references(
    view: View, inboxes: Inboxes, inbox: int, after: Position, most: int
) -> Iterator[Iterable[Arrival]]:
    lsn = after.lsn
    while True:
        page = inboxes.above(inbox, lsn, most)
        if page:
            yield _unfold(view, page, after) if REPLAY in map(_kind, page) else page
        if len(page) < most:
            return
        lsn, most = page[-1][0], _PAGE_REFERENCES


def _unfold(view: View, items: Iterable[Arrival], after: Position) -> Iterator[Arrival]:
    """The arrivals of whole commits, with what is replayed after the others of its commit."""
    for lsn, commit in groupby(items, itemgetter(0)):
        replays = []
        for item in commit:
            if item[3] == REPLAY:
                replays.append(item)
            else:
                yield item
        passed = after.ordinal if lsn == after.lsn + 1 else 0
        room = _FIRST_REPLAYED // max(1, len(replays))
        for at, item in enumerate(replays):
            yield from _replayed(view, item, passed, _FIRST_REPLAYED + at * room)


def _replayed(view: View, item: Arrival, passed: int, base: int) -> Iterator[Arrival]:
    """The entries of the stretch that a reference stands for. The ordinal of each follows from its
    number alone, so that what the reader has passed is not read again, whatever became of others.
    """
    lsn, timeline_id, begin, _, _ = item
    timeline = view.load(timeline_id)
    if timeline is None:
        return
    stop = first_above(view, timeline, lsn, begin, view.extent(timeline).head)
    first = begin + max(0, passed - base)
    for entry in view.stored(timeline, first, stop - 1):
        yield lsn, timeline_id, Seq(entry[0]), 0, base + entry[0] - begin


def _entries(view: View, outlet: Outlet, lsn: Lsn) -> Iterator[Arrival]:
    timeline, low, last = outlet
    first = first_above(view, timeline, lsn, low, min(last, view.extent(timeline).head))
    for seq, at, _, payload in view.stored(timeline, first, last):
        yield Lsn(at), timeline.id, Seq(seq), 0, ordinal_of(payload)


def ordinal_of(payload: bytes) -> int:
    """The ordinal of an entry in stored form; 0 when it holds none."""
    if ORDINAL not in payload:
        return 0
    items = decode_items(payload)
    for field, value in zip(items[::2], items[1::2], strict=True):
        if field == ORDINAL and value.isdigit():
            return int(value)
    return 0
