"""Retention: timelines that forget by themselves.

Responsibility: trim each timeline that has a retention to its age, length and bytes, some of them
at a time, and start over every `retention_check_ms`; and say beforehand how much bounds would cost.

Rule: a trim by retention is a commit like any other. Followers see it, and observers add to that
commit what follows from it. Bytes are counted in segments as stored, so unsealed entries are never
removed for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from timeline.commit.draft import Draft
from timeline.errors import TimelineError
from timeline.formats import keys
from timeline.formats.rows import NO_RETENTION, Retention, decode_retention
from timeline.lsm.state import State
from timeline.lsm.timeline import Timeline
from timeline.lsm.timelines import Timelines
from timeline.lsm.upkeep.compaction import Compaction
from timeline.options import Options

_A_STEP = 64


class RetentionKeeper:
    def __init__(
        self,
        begin: Callable[[], Draft],
        state: State,
        timelines: Timelines,
        compaction: Compaction,
        options: Options,
    ) -> None:
        self._begin = begin
        self._state = state
        self._timelines = timelines
        self._compaction = compaction
        self._period = options.retention_check_ms / 1000
        self._position = keys.RETENTION
        self._next_round = 0.0
        self.observers: Sequence[Callable[[Draft, Timeline], None]] = ()
        self.trimmed = 0  # entries, since the storage was opened

    def get(self, timeline: Timeline) -> Retention:
        value = self._state.get(keys.RETENTION + keys.number(timeline.id))
        return NO_RETENTION if value is None else decode_retention(value)

    def step(self) -> None:
        """Trim the next few timelines whose turn it is. The caller holds the lock."""
        now = time.monotonic()
        if now < self._next_round:
            return
        pairs = self._state.scan(self._position, keys.successor(keys.RETENTION))
        turn = list(islice(pairs, _A_STEP))
        for key, value in turn:
            self._position = key + b"\0"
            timeline = self._timelines.load(keys.split_number(key[1:]))
            if timeline is not None and timeline.staged is not None:
                self._trim(timeline, decode_retention(value))
        if len(turn) < _A_STEP:
            self._position = keys.RETENTION
            self._next_round = now + self._period

    def _trim(self, timeline: Timeline, retention: Retention) -> None:
        first = self._first_kept(timeline, retention.age or None, retention.size or None)
        try:
            draft = self._begin()
            removed = draft.trim(timeline, first) if first else 0
            if retention.length:
                removed += draft.trim_to_length(timeline, retention.length)
            if removed:
                for observe in self.observers:
                    observe(draft, timeline)
                draft.commit()
                self.trimmed += removed
        except TimelineError:
            return  # writing is off or busy: the next round tries again

    def _first_kept(self, timeline: Timeline, age: int | None, size: int | None) -> int:
        first = 0
        if age is not None:
            since = time.time_ns() // 1_000_000 - age
            first = self._timelines.first_since(timeline, since)
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
        extent = self._timelines.extent(timeline)
        first = min(max(before or 0, self._first_kept(timeline, age, size)), extent.head + 1)
        below = max(0, first - max(extent.first, 1))
        if extent.length <= extent.head - max(extent.first, 1):  # some numbers are of no entry
            rows = self._timelines.each(timeline, 0, first - 1, reverse=False) if below else ()
            below = sum(1 for _ in rows)
        return max(below, extent.length - (extent.length if length is None else length))
