"""Timelines that nobody uses just now, packed.

Responsibility: remember of timelines that were forgotten what loading them again would take from
the disk: row and head, by id and by name. A `Timeline` costs several times as much, and looking up
a head on disk takes many times as long.

Rule: what is remembered is what the store holds, so whatever changes a timeline wakes it first.
Bounded in number: beyond it those go that have slept longest.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from timeline.formats.rows import TimelineRow, decode_row, encode_row

_HEAD = Struct("<Q")


class Woken(NamedTuple):
    row: TimelineRow
    head: int


class Dormant:
    def __init__(self, most: int) -> None:
        self._most = most
        self._packed: dict[int, bytes] = {}  # id → head ‖ row
        self._ids: dict[bytes, int] = {}

    def keep(self, timeline_id: int, row: TimelineRow, head: int) -> None:
        """Remember a timeline that is about to be forgotten."""
        self._packed[timeline_id] = _HEAD.pack(head) + encode_row(row)
        self._ids[row.name] = timeline_id
        if len(self._packed) > self._most:
            self.wake(next(iter(self._packed)))

    def find(self, name: bytes) -> int | None:
        """The id of the timeline called `name`, when it is here."""
        return self._ids.get(name)

    def wake(self, timeline_id: int) -> Woken | None:
        """Take a timeline out: it is used, changed or dropped."""
        packed = self._packed.pop(timeline_id, None)
        if packed is None:
            return None
        row = decode_row(packed[_HEAD.size :])
        del self._ids[row.name]
        (head,) = _HEAD.unpack_from(packed)
        return Woken(row, head)
