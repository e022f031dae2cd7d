"""What a command reads: what was applied or, in a transaction that writes, its draft."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from timeline.formats.rows import Retention
from timeline.lsm.ranges import Extent, Page
from timeline.lsm.timeline import Timeline


class View(Protocol):
    """What a read sees: the engine itself or, in a transaction, its draft."""

    def find(self, name: bytes) -> Timeline | None: ...
    def extent(self, timeline: Timeline) -> Extent: ...
    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]: ...
    def retention(self, timeline: Timeline) -> Retention: ...
    def read(
        self,
        timeline: Timeline,
        first: int = ...,
        last: int = ...,
        limit: int | None = ...,
        *,
        reverse: bool = ...,
    ) -> Page: ...


class Catalog(View, Protocol):
    """The same with what there is: names in byte order, and (id, name) in order of ids."""

    @property
    def count(self) -> int: ...  # raw timelines
    def names(self, prefix: bytes = ..., after: bytes | None = ...) -> Iterator[bytes]: ...
    def ids(self, after: int) -> Iterator[tuple[int, bytes]]: ...
