"""The memtable: what is not sealed yet.

Responsibility: hold the newest entries of each timeline, the newest references of each in-box and
the newest state. There are two generations. The active one takes what is applied. The immutable
one is being sealed, and stays readable until its last slice is written.

Rule: a timeline's tail, which is its unsealed end, is an array of rows (see `columns`). An entry
gets its row, and its place in the tail, when it is staged. Readers see the rows below `visible`,
which moves when a group is applied. So applying a group costs no step for each append.

    rows       0 1 2 3 4 | 5 6 7 | 8 9
               immutable   active  staged: not applied yet, so `visible` is 8

Rotating costs the same for one timeline and for a hundred thousand: a row below the first row of
the active generation belongs to the immutable one. If a group fails, the memtable is thrown away
and rebuilt from the log.

Nothing here reads the disk or takes a lock: the caller holds the engine's.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from sortedcontainers import SortedList

from timeline.formats import keys
from timeline.formats.records import Appends
from timeline.formats.segments import StoredEntry
from timeline.lsm.columns import ROW_BYTES, Columns, Piece
from timeline.lsm.timeline import Inbox, Timeline

# What things take in memory besides their content, measured.
TAIL_BYTES: Final = 600  # a timeline or in-box with its tail
VALUE_BYTES: Final = 150  # a value of state, or a patch
REFERENCE_BYTES: Final = 8  # a reference, which all members share

_PIECE_ROWS: Final = 1_024  # rows looked at before a reader says whether it wants more
_PAGE_KEYS: Final = 256  # keys of state looked at before that


class Generation:
    """Everything applied between two rotations."""

    __slots__ = (
        "columns", "garbage", "inboxes", "number", "patches", "size", "state", "timelines", "upto",
    )  # fmt: skip

    def __init__(self, number: int, start: int) -> None:
        self.number = number
        self.columns = Columns(start)
        self.timelines: dict[int, Timeline] = {}
        self.inboxes: dict[int, Inbox] = {}
        self.state: dict[bytes, bytes | None] = {}
        self.patches: dict[tuple[int, int], bytes] = {}
        self.garbage: dict[int, int | None] = {}  # timeline → lowest number kept, None: dropped
        self.size = 0
        self.upto = 0  # the last LSN in it

    @property
    def tails(self) -> int:
        """How many timelines and in-boxes have something in it."""
        return len(self.timelines) + len(self.inboxes)


class Memtable:
    """Both generations, and the operations of `apply` on them."""

    def __init__(self) -> None:
        self.active = Generation(1, 0)
        self.immutable: Generation | None = None
        self.visible = 0  # the first row that was not applied
        self.rewrote = False  # whether a commit changed what others brought, since that was cleared
        self.reached = 0  # the highest LSN of which something may be on disk
        self._keys: SortedList[bytes] = SortedList()  # keys of state, in order, for scans
        self._unsorted: list[bytes] = []

    @property
    def size(self) -> int:
        return self.active.size + (self.immutable.size if self.immutable else 0)

    # --- staging ------------------------------------------------------------------------------

    def touch(self, timeline: Timeline) -> None:
        """The timeline gets a row in this generation."""
        active = self.active
        if timeline.generation != active.number:
            timeline.generation = active.number
            active.timelines[timeline.id] = timeline
            active.size += TAIL_BYTES

    # --- applying -----------------------------------------------------------------------------

    def append(
        self, record: bytes, start: int, appends: Appends, lsns: Sequence[int], time: int
    ) -> None:
        """Apply the appends of a group. Their rows are in the tails already; their entries lie in
        `record` from `start` on.
        """
        count = len(appends.seqs)
        if count:
            self.active.columns.extend(record, start, appends, lsns, time)
            self.active.size += len(record) + ROW_BYTES * count
            self.visible += count

    def deliver(self, inboxes: Iterable[Inbox], reference: bytes) -> None:
        """Apply one reference to many in-boxes."""
        active = self.active
        number, touched = active.number, active.inboxes
        delivered = fresh = 0
        for inbox in inboxes:
            if inbox.generation != number:
                if inbox.tail:
                    inbox.immutable, inbox.tail = inbox.tail, []
                inbox.generation = number
                touched[inbox.id] = inbox
                fresh += 1
            inbox.tail.append(reference)
            delivered += 1
        active.size += delivered * REFERENCE_BYTES + fresh * TAIL_BYTES

    def deliver_all(self, deliveries: Sequence[tuple[Sequence[Inbox], bytes]]) -> None:
        """Apply references in their order, each to many in-boxes.

        Those to one list of in-boxes are applied together, which costs a large group a step for
        each member and not for each message.
        """
        runs: dict[int, tuple[Sequence[Inbox], list[bytes]]] = {}
        for inboxes, reference in deliveries:
            known = runs.get(id(inboxes))
            if known is None:
                runs[id(inboxes)] = (inboxes, [reference])
            else:
                known[1].append(reference)
        if 2 * len(runs) > len(deliveries):  # to put in order what comes together would cost more
            for inboxes, reference in deliveries:
                self.deliver(inboxes, reference)
            return
        order: dict[bytes, int] = {}
        if len(runs) > 1:
            order = {reference: place for place, (_, reference) in enumerate(deliveries)}
        mixed: list[Inbox] = []
        for inboxes, references in runs.values():
            self._deliver_run(inboxes, references, order, mixed)
        for inbox in mixed:
            tail = inbox.tail
            start = len(tail)
            while start and tail[start - 1] in order:
                start -= 1
            tail[start:] = sorted(tail[start:], key=order.__getitem__)

    def _deliver_run(
        self,
        inboxes: Sequence[Inbox],
        references: list[bytes],
        order: dict[bytes, int],
        mixed: list[Inbox],
    ) -> None:
        """Apply references to the same in-boxes. Those that have some of `order` already are put
        into `mixed`.
        """
        active = self.active
        number, touched = active.number, active.inboxes
        fresh = 0
        for inbox in inboxes:
            tail = inbox.tail
            if inbox.generation != number:
                if tail:
                    inbox.immutable = tail
                    tail = inbox.tail = []
                inbox.generation = number
                touched[inbox.id] = inbox
                fresh += 1
            elif order and tail and tail[-1] in order:
                mixed.append(inbox)
            tail.extend(references)
        active.size += len(inboxes) * len(references) * REFERENCE_BYTES + fresh * TAIL_BYTES

    def put(self, key: bytes, value: bytes | None) -> None:
        """Apply a put, or with None a removal, of state."""
        active = self.active
        if key not in active.state:
            self._unsorted.append(key)
            active.size += VALUE_BYTES + len(key)
        active.state[key] = value
        active.size += len(value) if value else 0

    def patch(self, timeline: Timeline, seq: int, payload: bytes) -> None:
        """Apply a patch to the entry in memory, and keep it for the disk.

        It goes to the disk also when the entry is not sealed yet, since only a patch there has the
        old content erased from the log.
        """
        self.rewrote = True
        if self.first(timeline) <= seq:
            if timeline.patched is None:
                timeline.patched = {}
            timeline.patched[seq] = payload
        self.active.patches[timeline.id, seq] = payload
        self.active.size += VALUE_BYTES + len(payload)

    def trim(self, timeline: Timeline, first: int) -> None:
        """Apply a trim. What lies below `first` leaves memory now, and the disk by sealing."""
        self.rewrote = True
        del timeline.tail[: self.index(timeline, first)]
        if not timeline.tail:
            timeline.patched = None
        if self.active.garbage.get(timeline.id, 0) is not None:
            self.active.garbage[timeline.id] = first

    def drop(self, timeline: Timeline) -> None:
        self.rewrote = True
        del timeline.tail[:]
        timeline.patched = None
        self.active.garbage[timeline.id] = None

    # --- reading ------------------------------------------------------------------------------

    def columns(self, row: int) -> Columns:
        """Where the applied entry at `row` is kept."""
        active = self.active.columns
        if row >= active.start or self.immutable is None:
            return active
        return self.immutable.columns

    def seq(self, row: int) -> int:
        return self.columns(row).seq(row)

    def applied(self, timeline: Timeline) -> int:
        """How many rows of the tail readers may see."""
        tail = timeline.tail
        if not tail or tail[-1] < self.visible:
            return len(tail)
        return bisect_left(tail, self.visible)

    def head(self, timeline: Timeline) -> int:
        """The highest number applied, whether or not its entry is still there."""
        count = self.applied(timeline)
        floor = timeline.floor
        return max(floor, self.seq(timeline.tail[count - 1])) if count else floor

    def first(self, timeline: Timeline) -> int:
        """The lowest number of an entry in memory; `keys.MAX` when there is none."""
        return self.seq(timeline.tail[0]) if self.applied(timeline) else keys.MAX

    def index(self, timeline: Timeline, seq: int) -> int:
        """How many rows of the tail have an applied entry with a lower number than `seq`."""
        tail, count = timeline.tail, self.applied(timeline)
        if not count:
            return 0
        first = self.seq(tail[0])
        if self.seq(tail[count - 1]) - first == count - 1:
            return min(max(seq - first, 0), count)
        return bisect_left(tail, seq, 0, count, key=self.seq)

    def entry(self, timeline: Timeline, seq: int) -> StoredEntry | None:
        """Entry number `seq` if it lies in memory and was not deleted."""
        tail, count = timeline.tail, self.applied(timeline)
        if not count:
            return None
        at = seq - self.seq(tail[0])  # its place if there are no holes
        if at < 0 or at >= count or self.seq(tail[at]) != seq:
            at = bisect_left(tail, seq, 0, count, key=self.seq)
            if at == count or self.seq(tail[at]) != seq:
                return None
        found = self.columns(tail[at]).stored(tail[at])
        if timeline.patched is None or seq not in timeline.patched:
            return found
        payload = timeline.patched[seq]
        return (seq, found[1], found[2], payload) if payload else None

    def stretch(
        self, timeline: Timeline, first: int, last: int, most: int, *, reverse: bool
    ) -> tuple[list[bytes], int | None] | None:
        """At most `most` entries numbered `first` to `last` in stored form, and the number of the
        last in the order read.

        None unless all of them lie in memory, in one generation, unpatched, and have contiguous
        numbers. Then `pieces` gives them.
        """
        tail, count = timeline.tail, self.applied(timeline)
        if not count or timeline.patched is not None:
            return None
        low = self.seq(tail[0])
        high = low + count - 1
        if self.seq(tail[count - 1]) != high:
            return None
        last = min(last, high)
        if reverse:
            first = max(first, last - most + 1)
        else:
            last = min(last, first + most - 1)
        if first < low:
            return None
        rows = tail[first - low : last - low + 1] if first <= last else tail[:0]
        if not rows:
            return [], None
        columns = self.columns(rows[0])
        if columns is not self.columns(rows[-1]):
            return None
        payloads = columns.payloads(rows)
        if reverse:
            payloads.reverse()
        return payloads, first if reverse else last

    def pieces(
        self, timeline: Timeline, first: int, last: int, most: int, *, reverse: bool
    ) -> Iterator[Piece]:
        """The entries in memory numbered `first` to `last`, without those that were deleted. They
        come in pieces in the order read, each ascending and of at most `most` entries.
        """
        start, stop = self.index(timeline, first), self.index(timeline, last + 1)
        tail = timeline.tail
        border = bisect_left(tail, self.active.columns.start, start, stop)
        most = min(most, _PIECE_ROWS)
        while start < stop:
            # A piece lies in one generation.
            if reverse:
                begin = max(start, stop - most, border if stop > border else start)
                rows, stop = tail[begin:stop], begin
            else:
                end = min(stop, start + most, border if start < border else stop)
                rows, start = tail[start:end], end
            columns = self.columns(rows[0])
            patched = timeline.patched
            if patched is not None:
                rows = array("Q", [row for row in rows if patched.get(columns.seq(row), b"+")])
            if rows:
                yield Piece(columns, rows, patched)

    def state(self, key: bytes) -> tuple[bool, bytes | None]:
        """Whether the key is known here, and its value; that of a removed key is None."""
        for generation in (self.active, self.immutable):
            if generation is not None and key in generation.state:
                return True, generation.state[key]
        return False, None

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes | None]]:
        """State in memory from `start` up to, without, `stop`, in order of keys."""
        if self._unsorted:
            self._keys.update(self._unsorted)
            self._unsorted = []
        while True:
            found = islice(self._keys.irange(start, stop, inclusive=(True, False)), _PAGE_KEYS)
            page = list(dict.fromkeys(found))  # a key may be there twice, once a generation
            if not page:
                return
            for key in page:
                yield key, self.state(key)[1]
            start = page[-1] + b"\0"

    def patches(self, timeline_id: int, seqs: range) -> dict[int, bytes]:
        """Patches in memory for the numbers `seqs` of a timeline, the newest of each."""
        found: dict[int, bytes] = {}
        for generation in (self.immutable, self.active):
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

    def has_patches(self, timeline_id: int, seqs: range) -> bool:
        """Whether `patches` would find any."""
        immutable = self.immutable
        if not self.active.patches and (immutable is None or not immutable.patches):
            return False
        return bool(self.patches(timeline_id, seqs))

    # --- turning over -------------------------------------------------------------------------

    def rotate(self, upto: int, staged: Iterable[Timeline]) -> Generation:
        """Begin a new active generation. The one returned ends at LSN `upto` and is to be sealed.

        `staged` are the timelines with rows that are not applied yet. These belong to the new one.
        """
        self.immutable = self.active
        self.immutable.upto = upto
        self.reached = max(self.reached, upto)
        self.active = Generation(self.immutable.number + 1, self.visible)
        for timeline in staged:
            self.touch(timeline)
        return self.immutable

    def unsealed(self, timeline: Timeline) -> int:
        """How many rows of the tail belong to the immutable generation."""
        tail, start = timeline.tail, self.active.columns.start
        if not tail or tail[-1] < start:
            return len(tail)
        return bisect_left(tail, start)

    def sealed(self, timeline: Timeline, count: int, last: int) -> None:
        """The first `count` rows of the tail, which end with number `last`, are on disk."""
        del timeline.tail[:count]
        timeline.sealed = max(timeline.sealed, last)
        if timeline.patched is not None:
            left = {seq: value for seq, value in timeline.patched.items() if seq > last}
            timeline.patched = left or None

    def release(self) -> None:
        """The immutable generation is on disk."""
        self.immutable = None
        self._keys = SortedList()
        self._unsorted = list(self.active.state)
