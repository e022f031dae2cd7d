"""Retention: timelines that forget by themselves.

Responsibility: trim each timeline that has a retention to its age, length and bytes, as a chore of
the engine: one timeline a commit. Say in advance how many entries a set of bounds would remove.

Rule: a trim by retention is a commit like any other. Followers see it, and observers add to that
commit what follows from it. The bound on bytes counts segments as stored, so it never removes
unsealed entries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

from timeline.commit.draft import Draft
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.rows import NO_RETENTION, Retention, decode_retention
from timeline.lsm.state import State
from timeline.lsm.timeline import Timeline
from timeline.lsm.timelines import Timelines
from timeline.lsm.upkeep.compaction import Compaction

_A_STEP = 64  # timelines that are looked at for one commit

Observer = Callable[[Draft, Timeline], None]


class RetentionKeeper:
    def __init__(self, state: State, timelines: Timelines, compaction: Compaction) -> None:
        self._state = state
        self._timelines = timelines
        self._compaction = compaction
        self._position = keys.RETENTION
        self.trimmed = 0  # entries, since the storage was opened

    def get(self, timeline: Timeline) -> Retention:
        value = self._state.get(keys.RETENTION + keys.number(timeline.id))
        return NO_RETENTION if value is None else decode_retention(value)

    def trim_next(self, draft: Draft, observers: Sequence[Observer]) -> bool:
        """Trim in `draft` the next timeline that exceeds its retention; False when all were looked
        at. Each of `observers` adds to the draft what follows. The caller holds the lock.
        """
        pairs = self._state.scan(self._position, keys.successor(keys.RETENTION))
        looked_at = 0
        for key, value in islice(pairs, _A_STEP):
            looked_at += 1
            self._position = key + b"\0"
            timeline = self._timelines.load(keys.split_number(key[1:]))
            if timeline is None or timeline.staged is None:
                continue
            retention = decode_retention(value)
            try:
                first = self._first_kept(timeline, retention.age or None, retention.size or None)
            except CorruptError:  # readers and `verify` report it: the others go on
                continue
            removed = draft.trim(timeline, first) if first else 0
            if retention.length:
                removed += draft.trim_to_length(timeline, retention.length)
            if removed:
                for observe in observers:
                    observe(draft, timeline)
                draft.on_commit(partial(self._count, removed))
                return True
        if looked_at == _A_STEP:
            return True
        self._position = keys.RETENTION
        return False

    def _count(self, removed: int) -> None:
        self.trimmed += removed

    def _first_kept(self, timeline: Timeline, age: int | None, size: int | None) -> int:
        first = 0
        if age is not None:
            since = time.time_ns() // 1_000_000 - age
            first = self._timelines.ranges.first_since(timeline, since)
        if size is not None:
            first = max(first, self._compaction.kept_bytes(timeline.id, size))
        return first

    def excess(
        self,
        timeline: Timeline,
        *,
        before: int | None = None,
        age: int | None = None,
        length: int | None = None,
        size: int | None = None,
    ) -> int:
        """How many entries a trim with these bounds would remove; None is no bound. The caller
        holds the lock.
        """
        extent = self._timelines.ranges.extent(timeline)
        first = min(max(before or 0, self._first_kept(timeline, age, size)), extent.head + 1)
        below = max(0, first - max(extent.first, 1))
        if extent.length <= extent.head - max(extent.first, 1):  # some numbers are of no entry
            rows = (
                self._timelines.ranges.each(timeline, 0, first - 1, reverse=False) if below else ()
            )
            below = sum(1 for _ in rows)
        return max(below, extent.length - (extent.length if length is None else length))
