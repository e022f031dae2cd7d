"""A timeline and an in-box as memory knows them: one object each, shared by all who use it.

Rule: an object holds what is not sealed yet, and what is asked for all the time. `memtable` moves
it from one generation to the next, `timelines` and `inboxes` hand it out. The caller holds the
engine's lock.
"""

from __future__ import annotations

from array import array

from timeline.form import interpreted
from timeline.formats import keys
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.rows import INBOX, TimelineRow
from timeline.formats.segments import Segment


class Timeline:
    """A timeline as memory knows it. One object per timeline at any time.

    `row` is what was applied, None before it was created. `staged` is what the open groups will
    make of the row, None when they drop it. `next` is the next number to give out, `keys.MAX` when
    there is none.

    `tail` holds the rows of its entries in the memtable, `generation` is the newest one with an
    entry of it. `patched` is what took the place of entries in the tail, by number. `sealed` is the
    highest number known to be on the disk. `cached` are its segments in the segment cache.
    """

    __slots__ = (
        "cached", "generation", "id", "name", "next", "patched", "row", "sealed", "staged", "tail",
        "used",
    )  # fmt: skip

    def __init__(
        self, timeline_id: TimelineId, name: bytes, row: TimelineRow | None, sealed: int = 0
    ) -> None:
        self.id = timeline_id
        self.name = name
        self.row = row
        self.staged = row
        self.sealed = sealed
        self.generation = 0
        self.tail = array("Q")
        self.patched: dict[int, bytes] | None = None
        self.next = keys.MAX if row is not None and row.kind == INBOX else self.floor + 1
        self.cached: tuple[list[int], list[Segment]] | None = None
        self.used = True

    @property
    def floor(self) -> int:
        """The highest number ever given out, as far as it is known without the tail."""
        return max(self.sealed, self.row.floor if self.row else 0)

    @property
    def idle(self) -> bool:
        """Whether all of it is on the disk, so that it may be forgotten."""
        return not self.tail and self.staged == self.row and self.next in (self.floor + 1, keys.MAX)


@interpreted  # it takes weak references
class Inbox:
    """The unsealed references of one in-box, each the same bytes object for every member.

    `tail` has those of the newest generation that it is in; `immutable` those of the one before,
    while that is being sealed. `floor` is that of this in-box alone, None until it was asked for.
    """

    __slots__ = ("__weakref__", "floor", "generation", "id", "immutable", "tail")

    def __init__(self, inbox_id: TimelineId) -> None:
        self.id = inbox_id
        self.generation = 0
        self.tail: list[bytes] = []
        self.immutable: list[bytes] = []
        self.floor: Lsn | None = None
