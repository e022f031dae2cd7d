"""A build: an index from what the store holds, where there is none that could be gone on with.

Rule: it begins at a position in the log and takes in what was committed up to there; what comes
later a follower adds. So nothing is in it twice, and what changes while it is under way is put
right by following. It does a little at a time, and holds the engine's lock for reading only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from timeline.engine import Engine
from timeline.formats import keys
from timeline.formats.segments import Row
from timeline.search.documents import Documents
from timeline.search.index import Index

_ROWS: Final = 256  # read at a time


class Build:
    """Fills `index`, which is new, with what was committed up to `position`."""

    def __init__(
        self, engine: Engine, index: Index, documents: Documents, prefixes: Sequence[bytes]
    ) -> None:
        self._engine = engine
        self._documents = documents
        self._prefixes = prefixes
        self.index = index
        with engine.lock:
            engine.check_usable()
            self.position = engine.applied
        self.timelines = 0  # done
        self._steps = self._fill()

    def step(self) -> bool:
        """Take in some more; False when everything is."""
        return next(self._steps, None) is not None

    def _fill(self) -> Iterator[bool]:
        for prefix in self._prefixes:
            for _, timeline_id in self._engine.each(prefix):
                for rows in self._rows(timeline_id):
                    for row in rows:
                        document = self._documents.entry(timeline_id, row)
                        if document is not None:
                            self.index.add(document)
                    yield True
                self.timelines += 1
        for part in self._metadata():
            for timeline_id, value in part:
                self.index.add(self._documents.metadata(timeline_id, value))
            yield True

    def _rows(self, timeline_id: int) -> Iterator[list[Row]]:
        first = 0
        while True:
            with self._engine.lock:
                self._engine.check_usable()
                timeline = self._engine.timelines.load(timeline_id)
                if timeline is None:
                    return
                rows = self._engine.timelines.rows(timeline, first, keys.MAX, _ROWS, reverse=False)
            yield [row for row in rows if row[1] <= self.position]
            if len(rows) < _ROWS or rows[-1][1] > self.position:
                return
            first = rows[-1][0] + 1

    def _metadata(self) -> Iterator[list[tuple[int, bytes]]]:
        start = keys.META
        while True:
            with self._engine.lock:
                self._engine.check_usable()
                pairs = self._engine.state.scan(start, keys.successor(keys.META))
                page = list(islice(pairs, _ROWS))
            yield [(keys.split_number(key[1:]), value) for key, value in page]
            if len(page) < _ROWS:
                return
            start = page[-1][0] + b"\0"
