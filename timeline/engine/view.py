"""What a reader sees: what was applied, or a draft on top of everything staged.

Responsibility: the one way to read a store, for all that stands above the engine. The same function
answers a reader and a draft: both get a `View`. A `Draft` is one itself; `Applied` is the engine's.
A `Source` has entries and no other state, as an in-box that is read as a stream.

    view = engine.view                      or a draft, inside a transaction
    timeline = view.find(b"audit")
    page = view.read(timeline, 1, 100)

Rule: readers ask a view, and never reach through the engine for the parts of its store: healing
replaces those. The view of an engine stays the same. The caller holds the engine's lock, and
finishes or closes every iterator before releasing that lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar, Final, Protocol

from timeline.engine.store.store import Files, Store
from timeline.engine.upkeep.retention import RetentionKeeper
from timeline.engine.writecontrol import WriteControl
from timeline.formats import keys
from timeline.formats.rows import Retention, decode_metadata
from timeline.formats.segments import StoredEntry
from timeline.lsm.clock import Clock
from timeline.lsm.log import LogCommit
from timeline.lsm.ranges import Extent, Page
from timeline.lsm.timeline import Timeline

_NAMES: Final = 256  # read at a time, with the lock held


class Source(Protocol):
    """Where a timeline's entries are read from."""

    def find(self, name: bytes) -> Timeline | None:
        """The timeline called `name`; None when there is none."""

    def extent(self, timeline: Timeline) -> Extent: ...

    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]:
        """What is known about a timeline besides its entries."""

    def retention(self, timeline: Timeline) -> Retention:
        """The bounds to which the timeline is trimmed by itself."""

    def read(
        self,
        timeline: Timeline,
        first: int = 0,
        last: int = keys.MAX,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Page:
        """Entries numbered `first` to `last`, inclusive, at most `limit`, in stored form."""


class View(Source, Protocol):
    is_draft: ClassVar[bool]  # whether it shows more than was applied

    @property
    def clock(self) -> Clock: ...

    @property
    def count(self) -> int:
        """How many raw timelines there are; those of the store itself (`@…`) are not counted."""

    def load(self, timeline_id: int) -> Timeline | None:
        """The timeline with `timeline_id`; None when there is none, or it was dropped."""

    def names(self, prefix: bytes = b"", after: bytes | None = None) -> Iterator[bytes]:
        """Names in byte order, those after `after` that begin with `prefix`."""

    def ids(self, after: int) -> Iterator[tuple[int, bytes]]:
        """(id, name) of timelines in order of ids, those above `after`."""

    def stored(
        self, timeline: Timeline, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[StoredEntry]:
        """Entries numbered `first` to `last`, inclusive, one by one."""

    def entry(self, timeline: Timeline, seq: int) -> StoredEntry | None:
        """Entry number `seq`, for a fraction of what `stored` costs; None when there is none."""

    def get(self, key: bytes) -> bytes | None:
        """The state under `key`."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The state under each key. For ascending keys a fraction of the cost of `get` for each."""

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """State from `start` up to, without, `stop`, in order of keys."""


class Applied:
    """What was applied, and is therefore durable. Raises `ClosedError` once that is closed."""

    is_draft: ClassVar[bool] = False
    _store: Store

    def __init__(self, lock: threading.RLock, control: WriteControl) -> None:
        self._lock = lock  # the engine's
        self._control = control
        self.opening = 0  # which opening of the storage this is: another one after healing

    def adopt(self, store: Store, retention: RetentionKeeper) -> None:
        """Show what is in `store` from now on."""
        if not self.opening or store is not self._store:
            self.opening += 1
        self._store = store
        self.opened_at = store.opened_at  # the LSN at which its log ended then
        self._timelines, self._state = store.timelines, store.state
        self.by_name, self.by_id = store.timelines.by_name, store.timelines.by_id  # in memory
        self._retention, self._stage = retention, store.stage
        self.ranges = store.timelines.ranges
        self.inboxes = store.inboxes
        self.log = store.log
        self.epoch, self.openings = store.epoch, store.openings

    def refuse_in_child(self, lock: threading.RLock) -> None:
        self._lock = lock

    @property
    def clock(self) -> Clock:
        return self.ranges.clock

    @property
    def count(self) -> int:
        value = self._state.get(keys.COUNT)
        return 0 if value is None else keys.split_number(value)

    def files(self) -> Files:
        """What the storage takes on the disk. Raises `ClosedError` while it is closed."""
        return self._store.files()

    def now(self) -> int:
        """The time of a commit that is made now, in ms."""
        return self._stage.now()

    # --- timelines ----------------------------------------------------------------------------

    def find(self, name: bytes) -> Timeline | None:
        if self._control.closed:
            self._control.check_usable()
        return self._timelines.find(name)

    def load(self, timeline_id: int) -> Timeline | None:
        return self._timelines.load(timeline_id)

    def name(self, timeline_id: int) -> bytes | None:
        """The name of the timeline with `timeline_id`; None when it was dropped."""
        return self._timelines.name(timeline_id)

    def segment_end(self, timeline_id: int, first: int) -> int | None:
        """The last number of the first segment that ends at `first` or later, readable or not; None
        when there is none.
        """
        return self._timelines.segment_end(timeline_id, first)

    def extent(self, timeline: Timeline) -> Extent:
        return self.ranges.extent(timeline)

    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]:
        return decode_metadata(self._state.get(keys.META + keys.number(timeline.id)))

    def retention(self, timeline: Timeline) -> Retention:
        return self._retention.get(timeline)

    def excess(
        self,
        timeline: Timeline,
        *,
        before: int | None = None,
        age: int | None = None,
        length: int | None = None,
        size: int | None = None,
    ) -> int:
        """How many entries a trim with these bounds would remove; None is no bound."""
        return self._retention.excess(timeline, before=before, age=age, length=length, size=size)

    def ids(self, after: int) -> Iterator[tuple[int, bytes]]:
        self._control.check_usable()
        return self._timelines.ids(after)

    def names(self, prefix: bytes = b"", after: bytes | None = None) -> Iterator[bytes]:
        self._control.check_usable()
        for name, _ in self._timelines.names(prefix, after):
            yield name

    def each(self, prefix: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Names and ids in byte order, read in pages, so that the lock need not be held."""
        after: bytes | None = None
        while True:
            with self._lock:
                self._control.check_usable()
                page = list(islice(self._timelines.names(prefix, after), _NAMES))
            if not page:
                return
            yield from page
            after = page[-1][0]

    # --- entries ------------------------------------------------------------------------------

    def read(
        self,
        timeline: Timeline,
        first: int = 0,
        last: int = keys.MAX,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Page:
        return self.ranges.read(timeline, first, last, limit, reverse=reverse)

    def stored(
        self, timeline: Timeline, first: int, last: int, *, reverse: bool = False
    ) -> Iterator[StoredEntry]:
        return self.ranges.each(timeline, first, last, reverse=reverse)

    def entry(self, timeline: Timeline, seq: int) -> StoredEntry | None:
        return self.ranges.entry(timeline, seq)

    def payloads(self, timeline: Timeline, first: int, last: int) -> dict[int, bytes]:
        """Entries numbered `first` to `last`, inclusive, in stored form, by number: all at once."""
        return self.ranges.payloads(timeline, first, last)

    # --- state and log ------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        return self._state.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._state.get_many(keys)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._state.scan(start, stop)

    def commits(self, after: int, limit: int) -> list[LogCommit]:
        """At most `limit` commits above LSN `after`, with the names of what they changed. Raises
        `TrimmedError`.
        """
        self._control.check_usable()
        found = self.log.read(after, limit)
        ids = {change.id for commit in found for change in commit.changes}
        names = {each: self._timelines.name(each) for each in ids}
        return [
            commit._replace(
                changes=[change._replace(timeline=names[change.id]) for change in commit.changes]
            )
            for commit in found
        ]
