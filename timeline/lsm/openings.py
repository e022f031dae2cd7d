"""Openings: which opening of the store made a commit.

Responsibility: remember from which commit on each opening wrote, under a tag of its own. A position
carries the tag. So it differs from a position with the same number in commits that this store has
lost.

Rule: a roll-back to a snapshot, or a power cut in `interval` durability, takes commits back. The
next opening gives out their numbers again, under another tag. A tag is chosen when a store is
opened. It is noted in the record of the first group, so an opening that commits nothing leaves
nothing. When that is sealed the tag is written with it. Tag 0 means that the opening is not known:
for the opening that made the store, for what was written before there were tags, and for all but
the newest openings.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Final

from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.records import OPENING, Operation
from timeline.formats.rows import Opening, decode_openings, encode_openings
from timeline.storage.rocks import META, Batch, Storage

OPENINGS_KEY: Final = b"openings"

_MOST_OPENINGS: Final = 1_000  # beyond that the oldest are no longer known
_TAG_BITS: Final = 20  # of a tag


class Openings:
    def __init__(self, storage: Storage, openings: tuple[Opening, ...] | None = None) -> None:
        """`openings` take the place of those that are stored."""
        if openings is None:
            value = storage.get(META, OPENINGS_KEY)
            openings = () if value is None else decode_openings(value)
        self._openings = openings
        self._unnoted = False  # whether no record has the newest
        self._changed = False  # since they were written

    def begin(self, applied: int) -> None:
        """This is another opening, which goes on after LSN `applied`."""
        self._add(applied + 1, None)
        self._unnoted = True

    def take(self, operation: Operation) -> None:
        """Do again what a record notes."""
        if self.tag_of(operation.lsn) != operation.argument:
            self._add(operation.lsn, operation.argument)

    def _add(self, first: int, tag: int | None) -> None:
        before = [each for each in self._openings if each.first < first]
        if len(before) >= _MOST_OPENINGS:
            before[:2] = [Opening(before[0].first, 0)]
        taken = {0, *(each.tag for each in self._openings[-2:])}
        self._openings = (*before, Opening(first, _random_tag(taken) if tag is None else tag))
        self._changed = True

    def noted(self, first: int) -> list[Operation]:
        """What the record that begins at LSN `first` has to hold; nothing, except in the first of
        this opening. Call `written` when there is such a record.
        """
        if not self._unnoted:
            return []
        return [Operation(OPENING, Lsn(first), TimelineId(0), self._openings[-1].tag, b"")]

    def written(self) -> None:
        self._unnoted = False

    def keep(self, batch: Batch) -> None:
        """Write them with `batch`, if they changed and a record has the newest; then `kept`."""
        if self._changed and not self._unnoted:
            batch.put(META, OPENINGS_KEY, encode_openings(self._openings))

    def kept(self) -> None:
        self._changed = self._changed and self._unnoted

    def tag_of(self, lsn: int) -> int:
        """The tag of the opening that made commit `lsn`, or is to make it; 0: not known."""
        openings = self._openings
        if not openings or lsn < openings[0].first:
            return 0
        if lsn >= openings[-1].first:  # mostly
            return openings[-1].tag
        return openings[bisect_right(openings, lsn, key=_first) - 1].tag

    def made(self, lsn: int, tag: int) -> bool:
        """Whether commit `lsn` may be the one that somebody saw under `tag`."""
        return self.tag_of(lsn) in (0, tag)


def _first(opening: Opening) -> int:
    return opening.first


def _random_tag(taken: set[int]) -> int:
    while (tag := int.from_bytes(os.urandom(4), "big") >> (32 - _TAG_BITS)) in taken:
        pass
    return tag
