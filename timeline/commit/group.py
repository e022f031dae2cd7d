"""A group: commits that become durable together.

Responsibility: hold what the commits of one group brought, as the columns and operations that its
record is made of, and tell those who wait for it how it ended.

Rule: a group is filled while it is open, and then written whole. It ends once: applied, or with the
error that its callers get. The caller holds the engine's lock.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate

from timeline.errors import TimelineError
from timeline.formats.numbers import Lsn
from timeline.formats.records import Appends, Operation
from timeline.formats.segments import StoredEntry
from timeline.lsm.timeline import Timeline


class Appended:
    """Entries that were staged and not written, as columns.

    The entries in stored form lie in `parts`, cut anywhere; joined they are what the record holds.
    """

    __slots__ = ("_ends", "_joined", "_pieces", "ids", "parts", "seqs", "sizes", "timelines")

    def __init__(self) -> None:
        self.timelines: list[Timeline] = []
        self.ids: list[int] = []  # of the timelines, taken while each is at hand
        self.seqs: list[int] = []
        self.sizes: list[int] = []
        self.parts: list[bytes] = []
        # For reading single entries: pieces of joined parts, how many parts those are, and for each
        # entry its piece and where in it it ends.
        self._pieces: list[bytes] = []
        self._joined = 0
        self._ends: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.seqs)

    def add(self, timeline: Timeline, seq: int, payload: bytes) -> None:
        self.add_parts(timeline, seq, [payload], len(payload))

    def add_parts(self, timeline: Timeline, seq: int, parts: list[bytes], size: int) -> None:
        """An entry of `size` bytes, in parts."""
        self.parts += parts
        self.timelines.append(timeline)
        self.ids.append(timeline.id)
        self.seqs.append(seq)
        self.sizes.append(size)

    def add_run(
        self,
        timelines: Sequence[Timeline],
        ids: Sequence[int],
        seqs: Sequence[int],
        parts: Sequence[bytes],
        sizes: Sequence[int],
    ) -> None:
        self.timelines += timelines
        self.ids += ids
        self.seqs += seqs
        self.parts += parts
        self.sizes += sizes

    def payload(self, index: int) -> bytes:
        """The entry at `index` in stored form. Rare: one that was staged a moment ago is read."""
        if len(self._ends) <= index:
            number = len(self._pieces)
            self._pieces.append(b"".join(self.parts[self._joined :]))
            self._joined = len(self.parts)
            self._ends += [(number, end) for end in accumulate(self.sizes[len(self._ends) :])]
        number, end = self._ends[index]
        return self._pieces[number][end - self.sizes[index] : end]


class Group:
    """Commits that become durable together.

    `base` is the row of its first entry. `offsets` has the LSN of each entry, counted from `first`;
    None as long as every commit is a single append.
    """

    __slots__ = (
        "_callbacks", "appended", "base", "created", "done", "error", "first", "names", "next",
        "offsets", "operations", "patches", "size", "state", "time", "told",
    )  # fmt: skip

    def __init__(self, first: Lsn, base: int) -> None:
        self.first = first
        self.next: int = first  # the LSN of the next commit
        self.base = base
        self.time = 0  # of all its commits, set by the first
        self.appended = Appended()
        self.offsets: list[int] | None = None
        self.operations: list[Operation] = []
        self.patches: dict[tuple[int, int], bytes] = {}  # the same as those among the operations
        self.size = 0
        self.state: dict[bytes, bytes | None] = {}
        self.names: dict[bytes, Timeline | None] = {}
        self.created: list[Timeline] = []
        self.done = False
        self.error: TimelineError | None = None
        self.told = False  # every callback has been called
        self._callbacks: list[Callable[[Group], None]] = []

    @property
    def commits(self) -> int:
        return self.next - self.first

    @property
    def last(self) -> int:
        return self.next - 1

    @property
    def end(self) -> int:
        """The row of the first entry of the next group."""
        return self.base + len(self.appended.seqs)

    def appends(self) -> Appends:
        """The columns that its record holds."""
        appended, offsets = self.appended, self.offsets
        return Appends(
            array("Q", appended.ids),
            array("Q", appended.seqs),
            array("I", appended.sizes),
            None if offsets is None else array("I", offsets),
        )

    def seq(self, row: int) -> int:
        return self.appended.seqs[row - self.base]

    def stored(self, row: int) -> StoredEntry:
        """The entry that has `row`, staged in this group."""
        index = row - self.base
        offset = index if self.offsets is None else self.offsets[index]
        appended = self.appended
        return appended.seqs[index], self.first + offset, self.time, appended.payload(index)

    def spread(self) -> list[int]:
        """The offsets of LSNs, kept from now on: not every commit is a single append."""
        if self.offsets is None:
            self.offsets = list(range(len(self.appended)))
        return self.offsets

    def on_done(self, callback: Callable[[Group], None]) -> None:
        """Call `callback(group)` once the group is applied or failed, without the engine's locks,
        on whichever thread makes groups durable: writers wait for it, so it must not wait itself,
        nor call what users gave. Immediately when all that was told already.
        """
        if self.told:
            callback(self)
        else:
            self._callbacks.append(callback)

    def take_callbacks(self) -> list[Callable[[Group], None]]:
        """Those to be called now, each once; when there are none all was told, which is noted."""
        found, self._callbacks = self._callbacks, []
        self.told = not found
        return found
