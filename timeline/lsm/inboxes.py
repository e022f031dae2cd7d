"""In-boxes and audiences: references instead of copies, and the members who get them.

Responsibility: say which in-boxes a delivery reaches, and read an in-box in commit order.

Rule: an audience is a set of in-boxes. A row of membership keeps the spans of LSNs during which an
in-box belongs to it. A delivery by commit 7 reaches every member with a span that contains 7, both
ends included. A member who joins after the delivery in the same commit, or leaves before it, has
such a span too, so the delivery names them as left out.

    ann    3 – 6     not reached by 7
    bob    5 –       reached
    cat    7 –       reached, unless the delivery leaves them out: joined later in commit 7

The rows answer for every LSN that may still be replayed. So applying the log again, over newer
rows, gives the same in-boxes.

The caller holds the engine's lock. Caches are bounded. An `Inbox` lives as long as a tail or an
audience holds it. Beyond a number of members, the audience used least recently is forgotten.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from weakref import WeakValueDictionary

from timeline.formats import keys
from timeline.formats.numbers import NO_LSN, Lsn, TimelineId
from timeline.formats.references import (
    SIZE,
    Fields,
    Reference,
    cut_back,
    decode_floor,
    decode_references,
    lsn_of,
    packed_references,
    references_above,
    references_below,
)
from timeline.formats.rows import decode_spans
from timeline.lsm.state import State
from timeline.lsm.timeline import Inbox
from timeline.storage.rocks import INBOXES, Storage

_RUN_REFERENCES: Final = 256  # references in memory that are looked at together, about

OPEN: Final = keys.MAX  # the end of a span that has not ended


class Audience:
    """The members of one audience in memory, ready to be delivered to.

    Commits ask in their order. So when somebody has come or gone, only those who did so since the
    last question are looked at one by one.
    """

    def __init__(self, spans: dict[TimelineId, tuple[Inbox, bytes]]) -> None:
        self.spans = spans  # in-box id → (in-box, its encoded spans)
        self.current: list[Inbox] | None = None  # None: to be settled
        self._asked = 0  # the highest LSN that somebody asked for
        self._base = 0  # what that was when the members were settled; and from there on:
        self._settled = 0  # the LSN from which on `current` is right
        self._steady: list[Inbox] = []  # members up to there, and after
        self._moved: list[tuple[Inbox, bytes]] = []  # who came or went in between
        self._edges: list[int] = []  # when they did
        self._between: tuple[int, list[Inbox]] | None = None  # members between two of these

    def reached(self, lsn: Lsn) -> list[Inbox]:
        """The in-boxes that commit `lsn` is delivered to."""
        self._asked = max(self._asked, lsn)
        if lsn >= self._settled and self.current is not None:
            return self.current
        if lsn < self._base:
            return _members_at(lsn, self.spans.values())
        interval = bisect_right(self._edges, lsn)
        between = self._between
        if between is None or between[0] != interval:
            between = self._between = (interval, self._steady + _members_at(lsn, self._moved))
        return between[1]

    def change(self, inbox: Inbox, value: bytes | None) -> None:
        self.current = None
        if value is None:
            self.spans.pop(inbox.id, None)
        else:
            self.spans[inbox.id] = (inbox, value)

    def settle(self, sealed: int) -> None:
        """Find the members from now on, until the next change. Forget those who were none after LSN
        `sealed`.
        """
        base = settled = self._asked
        current: list[Inbox] = []
        steady: list[Inbox] = []
        moved: list[tuple[Inbox, bytes]] = []
        gone: list[TimelineId] = []
        for inbox, value in self.spans.values():
            start = int.from_bytes(value[-16:-8], "little")
            end = int.from_bytes(value[-8:], "little")
            if end == OPEN:
                current.append(inbox)
                if start <= base:
                    steady.append(inbox)
                else:
                    moved.append((inbox, value))
                    settled = max(settled, start)
            elif end <= sealed:
                gone.append(inbox.id)
            elif end >= base:
                moved.append((inbox, value))
                settled = max(settled, end + 1)
        for inbox_id in gone:
            del self.spans[inbox_id]
        edges: set[int] = set()
        for _, value in moved:
            for start, end in decode_spans(value):
                edges.add(start)
                edges.add(end + 1)
        self.current, self._base, self._settled = current, base, settled
        self._steady, self._moved, self._edges = steady, moved, sorted(edges)
        self._between = None


def _members_at(lsn: int, members: Iterable[tuple[Inbox, bytes]]) -> list[Inbox]:
    """Those of `members` of whom a span contains `lsn`."""
    return [
        inbox
        for inbox, value in members
        if any(start <= lsn <= end for start, end in decode_spans(value))
    ]


class Inboxes:
    def __init__(self, storage: Storage, state: State, limit: int) -> None:
        self._storage = storage
        self._state = state
        self._limit = limit
        self._inboxes: WeakValueDictionary[int, Inbox] = WeakValueDictionary()
        self._audiences: OrderedDict[int, Audience] = OrderedDict()
        self._members = 0
        self.sealed = 0  # what lies at or below this LSN is never replayed
        self.floor = NO_LSN  # that of all in-boxes, see `expiry`

    def inbox(self, inbox_id: int) -> Inbox:
        """The one object of an in-box; making it reads nothing."""
        found = self._inboxes.get(inbox_id)
        if found is None:
            found = self._inboxes[inbox_id] = Inbox(TimelineId(inbox_id))
        return found

    # --- applying -----------------------------------------------------------------------------

    def change(self, key: bytes, value: bytes | None) -> None:
        """A row of membership was applied: change the cached audience, if there is one."""
        audience_id, inbox_id = keys.split_pair(key[1:])
        audience = self._audiences.get(audience_id)
        if audience is not None:
            before = len(audience.spans)
            audience.change(self.inbox(inbox_id), value)
            self._members += len(audience.spans) - before

    # --- reading ------------------------------------------------------------------------------

    def audience(self, audience_id: int) -> Audience:
        audience = self._audiences.get(audience_id)
        if audience is not None:
            self._audiences.move_to_end(audience_id)
            if audience.current is None:
                before = len(audience.spans)
                audience.settle(self.sealed)
                self._members += len(audience.spans) - before
            return audience
        prefix = keys.AUDIENCE + keys.number(audience_id)
        spans = {}
        for key, value in self._state.scan(prefix, keys.successor(prefix)):
            inbox_id = TimelineId(keys.split_number(key[9:]))
            spans[inbox_id] = (self.inbox(inbox_id), value)
        audience = self._audiences[audience_id] = Audience(spans)
        audience.settle(self.sealed)
        self._members += len(audience.spans)
        while self._members > self._limit and len(self._audiences) > 1:
            _, gone = self._audiences.popitem(last=False)
            self._members -= len(gone.spans)
        return audience

    def spans(self, audience_id: int, inbox_id: int) -> list[tuple[int, int]]:
        """The LSNs during which an in-box belongs to an audience, as far as a replay reaches."""
        value = self._state.get(keys.AUDIENCE + keys.pair(audience_id, inbox_id))
        return [] if value is None else decode_spans(value)

    def floor_of(self, inbox_id: int) -> Lsn:
        """The LSN up to which the in-box has forgotten what commits delivered."""
        inbox = self.inbox(inbox_id)
        if inbox.floor is None:
            key = keys.pair(inbox_id, 0)
            value = self._storage.get(INBOXES, key)
            inbox.floor = NO_LSN if value is None else decode_floor(key, value)
        return max(self.floor, inbox.floor)

    def read(
        self, inbox_id: int, lsn: Lsn, ordinal: int, limit: int
    ) -> list[tuple[Reference, int]]:
        """At most `limit` references after (`lsn`, `ordinal`), oldest first.

        Each comes with its number among those of its commit in this in-box, counted from 0;
        `ordinal` is such a number. (7, 1) stands after the second reference of commit 7.
        """
        floor = self.floor_of(inbox_id)
        if lsn <= floor:  # expired, though it may still be on the disk
            lsn, ordinal = floor, OPEN
        found: list[tuple[Reference, int]] = []
        previous = number = -1
        for packed in self._packed_from(inbox_id, lsn):
            for reference in decode_references(packed):
                number = number + 1 if reference.lsn == previous else 0
                previous = reference.lsn
                if (reference.lsn, number) > (lsn, ordinal):
                    found.append((reference, number))
                    if len(found) == limit:
                        return found
        return found

    def above(self, inbox_id: int, lsn: Lsn, most: int) -> list[Fields]:
        """The references of commits above `lsn`, as their fields: whole commits, until there are
        `most` or no more.
        """
        lsn = max(lsn, self.floor_of(inbox_id))
        found: list[Fields] = []
        for packed in self._packed_from(inbox_id, lsn + 1):
            found += references_above(packed, lsn, most - len(found))
            if len(found) >= most:
                break
        return found

    def _packed_from(self, inbox_id: int, lsn: int) -> Iterator[bytes]:
        """Packed references of whole commits from about `lsn` on: those on the disk, then those in
        memory.
        """
        inbox = self.inbox(inbox_id)
        memory = [rows for rows in (inbox.immutable, inbox.tail) if rows]
        boundary = lsn_of(memory[0][0]) if memory else OPEN
        at = max(lsn, 1)  # under 0 lies the floor of the in-box
        while at < boundary:
            found = self._storage.at_or_after(
                INBOXES, keys.pair(inbox_id, at), keys.pair(inbox_id + 1, 0)
            )
            if found is None:
                break
            yield _below(*found, boundary)
            at = keys.split_pair(found[0])[1] + 1
        for rows in memory:
            if lsn_of(rows[-1]) >= lsn:
                start = bisect_left(rows, lsn, key=lsn_of)
                while start < len(rows):  # some at a time: a reader often wants only a few
                    stop = min(start + _RUN_REFERENCES, len(rows))
                    while stop < len(rows) and rows[stop][:8] == rows[stop - 1][:8]:
                        stop += 1
                    yield b"".join(rows[start:stop])
                    start = stop

    def read_back(
        self, inbox_id: int, lsn: Lsn, ordinal: int, limit: int
    ) -> list[tuple[Fields, int]]:
        """At most `limit` references up to and including (`lsn`, `ordinal`), newest first."""
        found: list[tuple[Fields, int]] = []
        floor = self.floor_of(inbox_id)
        for packed in self._packed_back(inbox_id, lsn, floor, limit):
            rows = references_below(packed, lsn, limit - len(found))
            for row, number in zip(reversed(rows), reversed(_numbers(rows)), strict=True):
                if row[0] <= floor:
                    return found
                if row[0] < lsn or number <= ordinal:
                    if len(found) >= limit:
                        return found
                    found.append((row, number))
        return found

    def _packed_back(self, inbox_id: int, lsn: int, floor: int, most: int) -> Iterator[bytes]:
        """Packed references of whole commits, from about `lsn` back to `floor`, each ascending;
        some `most` are wanted.
        """
        inbox = self.inbox(inbox_id)
        memory = [rows for rows in (inbox.tail, inbox.immutable) if rows]
        for rows in memory:
            stop = bisect_right(rows, lsn, key=lsn_of)
            for run in cut_back(rows, stop, min(most + 1, _RUN_REFERENCES)):
                yield b"".join(run)
        boundary = lsn_of(memory[-1][0]) if memory else OPEN
        at = min(lsn, boundary - 1)
        if at <= floor:
            return
        # The segment that holds `at` is the one that ends there or later.
        below, end = keys.pair(inbox_id, at), keys.pair(inbox_id + 1, 0)
        found = self._storage.at_or_after(INBOXES, below, end)
        if found is not None:
            yield _below(*found, boundary)
            below = keys.pair(inbox_id, keys.split_pair(found[0])[1] - 1)
        for key, value in self._storage.scan_back(INBOXES, below, keys.pair(inbox_id, floor + 1)):
            yield _below(key, value, boundary)

    def everything(self, inbox_id: int) -> Iterator[bytes]:
        """Every reference above the floor, packed, some whole commits at a time."""
        floor = self.floor_of(inbox_id)
        for packed in self._packed_from(inbox_id, floor + 1):
            yield _above(packed, floor)

    def count(self, inbox_id: int) -> int:
        """How many references an in-box holds. This looks at every segment."""
        inbox = self.inbox(inbox_id)
        floor: int = self.floor_of(inbox_id)
        memory = [rows for rows in (inbox.immutable, inbox.tail) if rows]
        boundary = lsn_of(memory[0][0]) if memory else OPEN
        start, stop = keys.pair(inbox_id, floor + 1), keys.pair(inbox_id + 1, 0)
        total = sum(len(rows) - bisect_right(rows, floor, key=lsn_of) for rows in memory)
        for key, value in self._storage.scan(INBOXES, start, stop):
            total += len(_above(_below(key, value, boundary), floor)) // SIZE
        return total

    def live_spans(self, value: bytes | None) -> list[tuple[int, int]]:
        """The spans of a row of membership, without those that no replay can reach."""
        if value is None:
            return []
        return [span for span in decode_spans(value) if span[1] > self.sealed]


def _numbers(rows: Sequence[Fields]) -> list[int]:
    """The number of each reference among those of its commit, from 0 on."""
    numbers: list[int] = []
    lsn, number = 0, 0
    for row in rows:
        number = number + 1 if row[0] == lsn else 0
        lsn = row[0]
        numbers.append(number)
    return numbers


def _below(key: bytes, value: bytes, boundary: int) -> bytes:
    """The packed references of a segment below LSN `boundary`, from which on memory has them."""
    packed = packed_references(key, value)
    if keys.split_pair(key)[1] >= boundary:  # some are sealed and still in memory
        below = sum(reference.lsn < boundary for reference in decode_references(packed))
        packed = packed[: SIZE * below]
    return packed


def _above(packed: bytes, floor: int) -> bytes:
    """The packed references above LSN `floor`."""
    if packed and lsn_of(packed) <= floor:
        return packed[SIZE * sum(each.lsn <= floor for each in decode_references(packed)) :]
    return packed
