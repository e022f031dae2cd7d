"""A build: an index from what the store holds, where there is none that could be gone on with.

Rule: it begins at a position in the log and takes in what was committed up to there; what came
later it follows. So nothing is in it twice, and what changes while it is under way is put right by
following. What is damaged is passed over. It does a little at a time, of bounded size, and holds
the engine's lock for reading only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.segments import Row
from timeline.search.follower import Follower
from timeline.search.index.documents import Documents
from timeline.search.index.index import Index

_ROWS: Final = 256  # read at a time, and about
_BYTES: Final = 1 << 20  # of them

_log = logging.getLogger("timeline.search")


class Build:
    """Fills `index`, which is new, with what was committed up to `position`, and goes on from there
    with `follower`.
    """

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
            self.follower = Follower(engine, index, documents, self.position)
        self.timelines = 0  # done
        self._steps = self._fill()

    def step(self) -> bool:
        """Take in some more; False when everything there is was taken in. Raises `TrimmedError`
        when the log was let go faster than it was followed.
        """
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
        while self.follower.step():
            yield True

    def _rows(self, timeline_id: int) -> Iterator[list[Row]]:
        first, most = 0, _ROWS
        while True:
            try:
                rows = self._some(timeline_id, first, most)
            except CorruptError as error:
                if most > 1:
                    most = 1  # up to the segment that is damaged
                    continue
                _log.warning("what is damaged cannot be found: %s", error)
                with self._engine.lock:
                    last = self._engine.timelines.segment_end(timeline_id, first)
                if last is None:
                    return
                first, most = last + 1, _ROWS
                continue
            yield [row for row in rows if row[1] <= self.position]
            if not rows or rows[-1][1] > self.position:
                return
            first, most = rows[-1][0] + 1, _ROWS

    def _some(self, timeline_id: int, first: int, most: int) -> list[Row]:
        """The next entries from `first` on."""
        found: list[Row] = []
        size = 0
        with self._engine.lock:
            self._engine.check_usable()
            timelines = self._engine.timelines
            timeline = timelines.load(timeline_id)
            if timeline is None:
                return found
            for source, start, stop in timelines.runs(
                timeline, first, keys.MAX, most, reverse=False
            ):
                part = list(source.rows(start, stop))
                found += part
                size += sum([len(row[3]) for row in part])
                if size >= _BYTES:
                    break
        return found

    def _metadata(self) -> Iterator[list[tuple[int, bytes]]]:
        start = keys.META
        while page := self._described(start):
            yield [(keys.split_number(key[1:]), value) for key, value in page]
            start = page[-1][0] + b"\0"

    def _described(self, start: bytes) -> list[tuple[bytes, bytes]]:
        """The next pairs of metadata from `start` on. Between steps no scan is open: the store
        could not be closed.
        """
        page = []
        size = 0
        with self._engine.lock:
            self._engine.check_usable()
            for key, value in self._engine.state.scan(start, keys.successor(keys.META)):
                page.append((key, value))
                size += len(value)
                if len(page) >= _ROWS or size >= _BYTES:
                    break
        return page
