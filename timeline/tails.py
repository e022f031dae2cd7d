"""Memory: what was applied and is not yet sealed.

Responsibility: hold the newest entries of each timeline, the newest references of each in-box
and the newest state, in two generations: the young one takes what is applied, the old one is
being sealed and stays readable until its last slice is written.

Rule: rotating costs the same for one timeline and for a hundred thousand. A timeline carries the
generation it was last touched in; its rows move from `tail` to `old` when it is next touched.
Nothing here reads the disk or takes a lock: the caller holds the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sortedcontainers import SortedList

from timeline.formats import keys
from timeline.formats.rows import INBOX, TimelineRow
from timeline.formats.segments import Row, Segment

# What a tail costs beside its payloads, measured: an object and its lists; a row; a reference.
TAIL_COST = 600
ROW_COST = 150
REFERENCE_COST = 8


class Timeline:
    """A timeline as memory knows it. One object per timeline at any time.

    `row` is what was applied (None: not yet created), `staged` what the open groups will make of
    it (None: dropped), `next` the next number to give out, `sealed` the highest number known to
    be on disk.
    """

    __slots__ = (
        "cached", "generation", "id", "name", "next", "old", "row", "sealed", "staged", "tail",
        "used",
    )  # fmt: skip

    def __init__(
        self, timeline_id: int, name: bytes, row: TimelineRow | None, sealed: int = 0
    ) -> None:
        self.id = timeline_id
        self.name = name
        self.row = row
        self.staged = row
        self.sealed = sealed
        self.generation = 0
        self.tail: list[Row] = []
        self.old: list[Row] = []
        self.next = 0
        self.settle()
        self.cached: tuple[list[int], list[Segment]] | None = None
        self.used = True

    @property
    def head(self) -> int:
        """The highest number applied, whether or not its entry is still there."""
        floor = self.row.floor if self.row else 0
        if self.tail:
            return max(self.tail[-1][0], floor)
        if self.old:
            return max(self.old[-1][0], floor)
        return max(self.sealed, floor)

    def settle(self) -> None:
        """Nothing is staged: the next number follows the head. An in-box has none to give."""
        self.staged = self.row
        inbox = self.row is not None and self.row.kind == INBOX
        self.next = keys.MAX if inbox else self.head + 1

    @property
    def idle(self) -> bool:
        """Nothing of it is only in memory, so that it may be forgotten."""
        return (
            not self.tail
            and not self.old
            and self.staged == self.row
            and self.next in (self.head + 1, keys.MAX)
        )


class Inbox:
    """The unsealed references of one in-box, each the same bytes object for every member."""

    __slots__ = ("__weakref__", "generation", "id", "old", "tail")

    def __init__(self, inbox_id: int) -> None:
        self.id = inbox_id
        self.generation = 0
        self.tail: list[bytes] = []
        self.old: list[bytes] = []


class Generation:
    """Everything applied between two rotations."""

    __slots__ = ("garbage", "inboxes", "number", "patches", "size", "state", "timelines", "upto")

    def __init__(self, number: int) -> None:
        self.number = number
        self.timelines: dict[int, Timeline] = {}
        self.inboxes: dict[int, Inbox] = {}
        self.state: dict[bytes, bytes | None] = {}
        self.patches: dict[tuple[int, int], bytes] = {}
        self.garbage: dict[int, int | None] = {}  # timeline → lowest number kept, None: dropped
        self.size = 0
        self.upto = 0  # the last LSN in it

    @property
    def tails(self) -> int:
        return len(self.timelines) + len(self.inboxes)


class Tails:
    """The two generations, and the operations of `apply` on them."""

    def __init__(self) -> None:
        self.young = Generation(1)
        self.old: Generation | None = None
        self._keys: SortedList[bytes] = SortedList()  # keys of state, in order, for scans
        self._unsorted: list[bytes] = []

    @property
    def size(self) -> int:
        return self.young.size + (self.old.size if self.old else 0)

    # --- applying -----------------------------------------------------------------------------

    def append(self, timelines: Sequence[Timeline], rows: Sequence[Row], size: int) -> None:
        """Apply the appends of a group, `size` bytes in all, in order."""
        young = self.young
        number = young.number
        for timeline, row in zip(timelines, rows, strict=True):
            if timeline.generation != number:
                self._touch(timeline)
            timeline.tail.append(row)
        young.size += size + ROW_COST * len(rows)

    def deliver(self, inboxes: Iterable[Inbox], reference: bytes) -> None:
        """Apply one reference to many in-boxes."""
        young = self.young
        number = young.number
        active = young.inboxes
        delivered = fresh = 0
        for inbox in inboxes:
            if inbox.generation != number:
                if inbox.tail:
                    inbox.old, inbox.tail = inbox.tail, []
                inbox.generation = number
                active[inbox.id] = inbox
                fresh += 1
            inbox.tail.append(reference)
            delivered += 1
        young.size += delivered * REFERENCE_COST + fresh * TAIL_COST

    def put(self, key: bytes, value: bytes | None) -> None:
        """Apply a put, or with None a removal, of state."""
        young = self.young
        if key not in young.state:
            self._unsorted.append(key)
            young.size += ROW_COST + len(key)
        young.state[key] = value
        young.size += len(value) if value else 0

    def patch(self, timeline: Timeline, seq: int, payload: bytes) -> None:
        """Apply a patch: to the row in memory, and beside the segment on disk.

        Also when the row is not sealed yet: the patch on disk is what has the old content erased
        from the log.
        """
        for rows in (timeline.tail, timeline.old):
            if rows and rows[0][0] <= seq:
                index = row_index(rows, seq)
                if index < len(rows) and rows[index][0] == seq:
                    _, lsn, time, _ = rows[index]
                    rows[index] = (seq, lsn, time, payload)
                break
        self.young.patches[timeline.id, seq] = payload
        self.young.size += ROW_COST + len(payload)

    def trim(self, timeline: Timeline, first: int) -> None:
        """Apply a trim: what lies below `first` leaves memory now and the disk when sealed."""
        timeline.old = timeline.old[row_index(timeline.old, first) :]
        timeline.tail = timeline.tail[row_index(timeline.tail, first) :]
        if self.young.garbage.get(timeline.id, 0) is not None:
            self.young.garbage[timeline.id] = first

    def drop(self, timeline: Timeline) -> None:
        timeline.old, timeline.tail = [], []
        self.young.garbage[timeline.id] = None

    def _touch(self, timeline: Timeline) -> None:
        young = self.young
        if timeline.tail:
            timeline.old, timeline.tail = timeline.tail, []
        timeline.generation = young.number
        young.timelines[timeline.id] = timeline
        young.size += TAIL_COST

    # --- reading ------------------------------------------------------------------------------

    def state(self, key: bytes) -> tuple[bool, bytes | None]:
        """(known here, value); the value of a removed key is None."""
        for generation in (self.young, self.old):
            if generation is not None and key in generation.state:
                return True, generation.state[key]
        return False, None

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """State in memory from `start` up to, without, `stop`, in order of keys."""
        if self._unsorted:
            self._keys.update(self._unsorted)
            self._unsorted = []
        previous = None
        for key in list(self._keys.irange(start, stop, inclusive=(True, False))):
            if key != previous:
                yield key, self.state(key)[1]
            previous = key

    def patches(self, timeline_id: int, seqs: range) -> dict[int, bytes]:
        """Patches in memory for the numbers `seqs` of a timeline, the newest of each."""
        found: dict[int, bytes] = {}
        for generation in (self.old, self.young):
            if generation is None or not generation.patches:
                continue
            if seqs.stop - seqs.start <= len(generation.patches):  # len() has an upper limit
                for seq in seqs:
                    if (timeline_id, seq) in generation.patches:
                        found[seq] = generation.patches[timeline_id, seq]
            else:
                for (owner, seq), payload in generation.patches.items():
                    if owner == timeline_id and seq in seqs:
                        found[seq] = payload
        return found

    # --- turning over -------------------------------------------------------------------------

    def rotate(self, upto: int) -> Generation:
        """Begin a new generation; the one returned ends at LSN `upto` and is to be sealed."""
        self.old = self.young
        self.old.upto = upto
        self.young = Generation(self.old.number + 1)
        return self.old

    def release(self) -> None:
        """The old generation is on disk."""
        self.old = None
        self._keys = SortedList()
        self._unsorted = list(self.young.state)


def row_index(rows: Sequence[Row], seq: int) -> int:
    """How many of the ascending `rows` have a lower number than `seq`."""
    if not rows:
        return 0
    first, last = rows[0][0], rows[-1][0]
    if last - first == len(rows) - 1:
        return min(max(seq - first, 0), len(rows))
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if rows[middle][0] < seq:
            low = middle + 1
        else:
            high = middle
    return low


def unsealed_rows(timeline: Timeline, number: int) -> list[Row]:
    """The rows of `timeline` that belong to generation `number` or an earlier one."""
    return timeline.old if timeline.generation > number else timeline.tail
