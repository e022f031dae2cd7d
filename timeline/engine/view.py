"""What a reader sees: the state that was applied, or a draft on top of everything staged.

Responsibility: name the few reads that whatever is built above the engine needs, so that the same
function answers a reader and a commit in the making. A `Draft` has them itself; `Applied` gives
the engine's.

Rule: an `Applied` view keeps nothing and is valid while its engine is, across healing too. The
caller holds the engine's lock, and exhausts or closes a scan before letting it go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from timeline.engine.engine import Engine
from timeline.formats.segments import StoredEntry
from timeline.lsm.clock import Clock
from timeline.lsm.ranges import Extent
from timeline.lsm.timeline import Timeline


class View(Protocol):
    @property
    def clock(self) -> Clock: ...
    def find(self, name: bytes) -> Timeline | None: ...
    def load(self, timeline_id: int) -> Timeline | None: ...
    def extent(self, timeline: Timeline) -> Extent: ...
    def stored(
        self, timeline: Timeline, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[StoredEntry]: ...
    def get(self, key: bytes) -> bytes | None: ...
    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]: ...
    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]: ...


class Applied:
    """What was applied, and is therefore durable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def clock(self) -> Clock:
        return self._engine.timelines.ranges.clock

    def find(self, name: bytes) -> Timeline | None:
        return self._engine.timelines.find(name)

    def load(self, timeline_id: int) -> Timeline | None:
        return self._engine.timelines.load(timeline_id)

    def extent(self, timeline: Timeline) -> Extent:
        return self._engine.timelines.ranges.extent(timeline)

    def stored(
        self, timeline: Timeline, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[StoredEntry]:
        return self._engine.timelines.ranges.each(timeline, first, last, reverse=reverse)

    def get(self, key: bytes) -> bytes | None:
        return self._engine.state.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._engine.state.scan(start, stop)

    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]:
        return self._engine.metadata(timeline)
