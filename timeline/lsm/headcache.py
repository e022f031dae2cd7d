"""The head cache: what would be read from the disk to load an idle timeline, in packed form.

Responsibility: keep row and head of timelines that were forgotten, by id and by name. A `Timeline`
costs many times as much memory. Looking up a head on the disk takes many times as long.

    places   id modulo their number → id, head and row, packed
    hints    hash of the name → the place, perhaps

Rule: what is kept is what the store holds, so a timeline is taken out before it is changed. Only a
place says what is kept: a hint is believed when the name is found there. The number of places is
fixed. Ids are given out in order, so as many timelines as there are places all find room; beyond
that a timeline takes the place of another. Nothing is taken in memory before the first is kept.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Final, NamedTuple

from timeline.formats.rows import INBOX, TimelineRow, decode_row, encode_row

# Kind, id, head, time of creation; the name follows. Most rows hold nothing else.
_PLAIN: Final = Struct("<BQQQ")
_WHOLE: Final = 0xFF  # in place of the kind: the encoded row follows
_HINTS_A_PLACE: Final = 4


class Head(NamedTuple):
    """The row of a timeline, and the highest number on the disk or ever given out."""

    row: TimelineRow
    head: int


class HeadCache:
    def __init__(self, limit: int) -> None:
        """Keep at most `limit` timelines."""
        self._limit = limit
        self._places: list[bytes | None] = []
        self._hints = array("I")

    def __contains__(self, timeline_id: int) -> bool:
        return self._at(timeline_id) is not None

    def put(self, timeline_id: int, row: TimelineRow, head: int) -> None:
        """Keep a timeline that is about to be forgotten."""
        if not self._places:
            if not self._limit:
                return
            self._places = [None] * self._limit
            self._hints = array("I", bytes(4 * _HINTS_A_PLACE * self._limit))
        place = timeline_id % self._limit
        if row == _plain(row.kind, row.created, row.name):
            packed = _PLAIN.pack(row.kind, timeline_id, head, row.created) + row.name
        else:
            packed = _PLAIN.pack(_WHOLE, timeline_id, head, 0) + encode_row(row)
        self._places[place] = packed
        self._hints[hash(row.name) % len(self._hints)] = place

    def find(self, name: bytes) -> int | None:
        """The id of the timeline called `name`, when it is here."""
        if not self._places:
            return None
        packed = self._places[self._hints[hash(name) % len(self._hints)]]
        if packed is None or not packed.endswith(name):
            return None
        timeline_id, head = _unpack(packed)
        return timeline_id if head.row.name == name else None

    def take(self, timeline_id: int) -> Head | None:
        """Take a timeline out: it is used, changed or dropped."""
        packed = self._at(timeline_id)
        if packed is None:
            return None
        self._places[timeline_id % self._limit] = None
        return _unpack(packed)[1]

    def _at(self, timeline_id: int) -> bytes | None:
        if not self._places:
            return None
        packed = self._places[timeline_id % self._limit]
        return (
            packed if packed is not None and _PLAIN.unpack_from(packed)[1] == timeline_id else None
        )


def _plain(kind: int, created: int, name: bytes) -> TimelineRow:
    """The row that a timeline has when it is made."""
    return TimelineRow(kind, created, 0 if kind == INBOX else 1, 0, 0, 0, name)


def _unpack(packed: bytes) -> tuple[int, Head]:
    kind, timeline_id, head, created = _PLAIN.unpack_from(packed)
    rest = packed[_PLAIN.size :]
    row = decode_row(rest) if kind == _WHOLE else _plain(kind, created, rest)
    return timeline_id, Head(row, head)
