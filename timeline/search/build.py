"""A build: a new index from what the store holds.

Rule: a build begins at a position in the log. It reads from the store what was committed up to
there, and then follows the log from there on. So no entry is in it twice, and the log corrects what
changed during the build.

    entry 5 of commit 40, position 40        read from the store
    entry 6 of commit 41                     taken from the log
    entry 5 edited by commit 42              read as it is now, and corrected again from the log

Damaged segments are passed over. A build goes in small steps, and holds the engine's lock only
while it reads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.segments import StoredEntry
from timeline.search.follower import Follower
from timeline.search.index.documents import Documents
from timeline.search.index.index import Index

_STEP_ENTRIES: Final = 256  # at most, read from the store in one step
_STEP_BYTES: Final = 1 << 20  # after which a step ends

_log = logging.getLogger("timeline.search")


class Build:
    """Fills `index`, which is new, with what was committed up to `position`. `follower` goes on
    from there.
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
        self.timelines = 0  # that are done
        self._steps = self._fill()

    def step(self) -> bool:
        """Take in some more. False when nothing is left.

        Raises `TrimmedError` when the log was trimmed faster than the build followed it.
        """
        return next(self._steps, None) is not None

    def _fill(self) -> Iterator[bool]:
        for prefix in self._prefixes:
            for name, timeline_id in self._engine.view.each(prefix):
                kind = self._documents.kind(name)
                assert kind is not None
                for rows in self._rows(timeline_id):
                    made = [self._documents.entry(timeline_id, kind, row) for row in rows]
                    self.index.add_entries([each for each in made if each is not None])
                    yield True
                self.timelines += 1
        for part in self._metadata():
            for timeline_id, value in part:
                self.index.add(self._documents.metadata(timeline_id, value))
            yield True
        while self.follower.step():
            yield True

    def _rows(self, timeline_id: int) -> Iterator[list[StoredEntry]]:
        first, most = 0, _STEP_ENTRIES
        while True:
            try:
                rows = self._some(timeline_id, first, most)
            except CorruptError as error:
                if most > 1:
                    most = 1  # go up to the damaged segment
                    continue
                _log.warning("damaged entries are left out of the search index: %s", error)
                with self._engine.lock:
                    last = self._engine.view.segment_end(timeline_id, first)
                if last is None:
                    return
                first, most = last + 1, _STEP_ENTRIES
                continue
            yield [row for row in rows if row[1] <= self.position]
            if not rows or rows[-1][1] > self.position:
                return
            first, most = rows[-1][0] + 1, _STEP_ENTRIES

    def _some(self, timeline_id: int, first: int, most: int) -> list[StoredEntry]:
        """At most `most` entries from number `first` on."""
        found: list[StoredEntry] = []
        size = 0
        with self._engine.lock:
            self._engine.check_usable()
            view = self._engine.view
            timeline = view.load(timeline_id)
            if timeline is None:
                return found
            for source, start, stop in view.ranges.runs(
                timeline, first, keys.MAX, most, reverse=False
            ):
                part = list(source.stored(start, stop))
                found += part
                size += sum([len(row[3]) for row in part])
                if size >= _STEP_BYTES:
                    break
        return found

    def _metadata(self) -> Iterator[list[tuple[int, bytes]]]:
        start = keys.META
        while page := self._described(start):
            yield [(keys.split_number(key[1:]), value) for key, value in page]
            start = page[-1][0] + b"\0"

    def _described(self, start: bytes) -> list[tuple[bytes, bytes]]:
        """The next rows of metadata from key `start` on. No scan stays open between steps, since
        the store could not be closed then.
        """
        page = []
        size = 0
        with self._engine.lock:
            self._engine.check_usable()
            for key, value in self._engine.view.scan(start, keys.successor(keys.META)):
                page.append((key, value))
                size += len(value)
                if len(page) >= _STEP_ENTRIES or size >= _STEP_BYTES:
                    break
        return page
