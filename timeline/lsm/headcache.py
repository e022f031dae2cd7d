"""The head cache: what would be read from the disk to load an idle timeline, in packed form.

Responsibility: keep row and head of timelines that were forgotten, by id and by name. A `Timeline`
costs several times as much memory. Looking up a head on the disk takes many times as long.

Rule: what is kept is what the store holds, so a timeline is taken out before it is changed. The
number of timelines is bounded: those that have been here longest go first. An `OrderedDict` finds
them at once; a `dict` walks over the places of all that went before.
"""

from __future__ import annotations

from collections import OrderedDict
from struct import Struct
from typing import NamedTuple

from timeline.formats.rows import TimelineRow, decode_row, encode_row

_HEAD = Struct("<Q")


class Head(NamedTuple):
    """The row of a timeline, and the highest number on the disk or ever given out."""

    row: TimelineRow
    head: int


class HeadCache:
    def __init__(self, limit: int) -> None:
        """Keep at most `limit` timelines."""
        self._limit = limit
        self._packed: OrderedDict[int, bytes] = OrderedDict()  # id → head ‖ row
        self._ids: dict[bytes, int] = {}

    def __contains__(self, timeline_id: int) -> bool:
        return timeline_id in self._packed

    def put(self, timeline_id: int, row: TimelineRow, head: int) -> None:
        """Keep a timeline that is about to be forgotten."""
        self._packed[timeline_id] = _HEAD.pack(head) + encode_row(row)
        self._ids[row.name] = timeline_id
        if len(self._packed) > self._limit:
            self.take(next(iter(self._packed)))

    def find(self, name: bytes) -> int | None:
        """The id of the timeline called `name`, when it is here."""
        return self._ids.get(name)

    def take(self, timeline_id: int) -> Head | None:
        """Take a timeline out: it is used, changed or dropped."""
        packed = self._packed.pop(timeline_id, None)
        if packed is None:
            return None
        row = decode_row(packed[_HEAD.size :])
        del self._ids[row.name]
        (head,) = _HEAD.unpack_from(packed)
        return Head(row, head)
