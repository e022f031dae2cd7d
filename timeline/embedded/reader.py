"""What one timeline holds: its entries, its extent, and what is known about it.

Rule: ranges are lazy. A page is read at a time, so that entries appended, trimmed or sealed in
between do no harm. An iterator keeps the store open, as its handle does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timeline.admin.compact import gain
from timeline.admin.inspection import (
    SegmentContent,
    TimelineFacts,
    find_timeline,
    inspect_segment,
    inspect_timeline,
)
from timeline.embedded.calls.arguments import amount, whole
from timeline.embedded.calls.lease import Lease
from timeline.engine.engine import Engine
from timeline.engine.inboxview import (
    BITS,
    InboxView,
    is_inbox,
    last_number,
    number_of,
    show_reference,
)
from timeline.entry import Entry
from timeline.errors import ClosedError, WrongTypeError
from timeline.formats import keys
from timeline.formats.rows import Retention
from timeline.lsm.ranges import Extent
from timeline.lsm.upkeep.merging import Gain

_FIRST_ENTRIES: Final = 64  # entries read at first, which is often all; then
_PAGE_ENTRIES: Final = 1_000  # entries read at a time, with the lock held


class TimelineReader:
    """One timeline, by name, as far as it is read."""

    def __init__(self, engine: Engine, name: bytes, lease: Lease | None = None) -> None:
        self._lease = lease
        self._engine = engine
        self.name = name

    # --- entries ------------------------------------------------------------------------------

    def get(self, seq: int) -> Entry | None:
        """The entry with number `seq`, or None."""
        return next(self.range(first=seq, last=seq), None)

    def first(self) -> Entry | None:
        return next(self.range(limit=1), None)

    def latest(self) -> Entry | None:
        return next(self.range(limit=1, reverse=True), None)

    def range(
        self,
        *,
        first: int = 0,
        last: int = keys.MAX,
        since: int | None = None,
        until: int | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Entry]:
        """Entries numbered `first` to `last` and committed at times `since` to `until` (ms), all
        inclusive, oldest first or with `reverse` newest first, at most `limit`, lazily.

        Of an in-box (`@user:…`, `@home:…`, `@note:…`) these are references, numbered by LSN and
        without times: fields `kind`, `timeline`, `seq`.
        """
        return self._entries(
            whole(first, "first"),
            whole(last, "last"),
            None if since is None else whole(since, "since"),
            None if until is None else whole(until, "until"),
            amount(limit, "limit"),
            reverse=bool(reverse),
        )

    def _entries(
        self,
        first: int,
        last: int,
        since: int | None,
        until: int | None,
        limit: int | None,
        *,
        reverse: bool,
    ) -> Iterator[Entry]:
        engine = self._engine
        with engine.lock:
            timeline = engine.view.find(self.name)
            if timeline is None:
                return
            inbox = is_inbox(timeline)
            if inbox and (since is not None or until is not None):
                raise WrongTypeError("an in-box knows no times: range over it by LSN")
            if since is not None:
                first = max(first, engine.view.ranges.first_since(timeline, since))
            if until is not None:
                last = min(last, engine.view.ranges.first_since(timeline, until + 1) - 1)
        if inbox:
            yield from self._references(first, last, limit, reverse=reverse)
            return
        left = keys.MAX if limit is None else limit
        size = min(left, _FIRST_ENTRIES)
        while left > 0 and first <= last:
            with engine.lock:
                if engine.closed:
                    raise ClosedError("the store is closed")
                timeline = engine.view.find(self.name)
                if timeline is None:
                    return
                page = engine.view.ranges.entries(
                    timeline, first, last, min(size, left), reverse=reverse
                )
            yield from page
            if len(page) < min(size, left):
                return
            left -= len(page)
            size = _PAGE_ENTRIES
            if reverse:
                last = page[-1].seq - 1
            else:
                first = page[-1].seq + 1

    def _references(
        self, first: int, last: int, limit: int | None, *, reverse: bool
    ) -> Iterator[Entry]:
        """The references of commits `first` to `last` in an in-box, lazily."""
        engine = self._engine
        low, high = number_of(first), last_number(last)
        left = keys.MAX if limit is None else limit
        while left > 0 and low <= high:
            with engine.lock:
                engine.check_usable()
                inbox = engine.view.find(self.name)
                if inbox is None:
                    return
                asked = min(_PAGE_ENTRIES, left)
                page = InboxView(engine.view).read(inbox, low, high, asked, reverse=reverse)
            yield from map(show_reference, map(bytes, page.chunks))
            if page.last is None or page.count < asked:
                return
            left -= page.count
            if reverse:
                high = page.last - 1
            else:
                low = page.last + 1

    def __iter__(self) -> Iterator[Entry]:
        return self.range()

    # --- what is known about it ---------------------------------------------------------------

    def extent(self) -> Extent:
        """First number, head, length and time of creation; zeros when there is no timeline."""
        engine = self._engine
        with engine.lock:
            timeline = engine.view.find(self.name)
            if timeline is None:
                return Extent(0, 0, 0, 0, 0, 0)
            if is_inbox(timeline):
                return InboxView(engine.view).span(timeline)
            return engine.view.extent(timeline)

    def __len__(self) -> int:
        """How many entries there are. Of an in-box it looks at all."""
        return self.extent().length

    def __bool__(self) -> bool:
        """True, whatever the timeline holds: this is a handle, not a list."""
        return True

    @property
    def head(self) -> int:
        """The highest number ever given out, 0 for none; of an in-box the LSN of its newest
        reference.
        """
        engine = self._engine
        with engine.lock:
            timeline = engine.view.find(self.name)
            if timeline is None:
                return 0
            if is_inbox(timeline):
                return InboxView(engine.view).newest(timeline) >> BITS
            return engine.view.extent(timeline).head

    def metadata(self) -> dict[bytes, bytes]:
        """What is known about the timeline besides its entries."""
        engine = self._engine
        with engine.lock:
            timeline = engine.view.find(self.name)
            return {} if timeline is None else engine.view.metadata(timeline)

    def retention(self) -> Retention:
        """The bounds to which the store trims it, 0 for none: age in ms, length, bytes. Raises
        `NotFoundError`.
        """
        engine = self._engine
        with engine.lock:
            timeline = find_timeline(engine, self.name)
            return engine.view.retention(timeline)

    def excess(
        self,
        *,
        before: int | None = None,
        length: int | None = None,
        age_ms: int | None = None,
        bytes_: int | None = None,
    ) -> int:
        """How many entries `trim`, or a retention with these bounds, would remove, without removing
        them. Raises `NotFoundError`.
        """
        engine = self._engine
        below = None if before is None else whole(before, "before")
        age, kept, size = (
            amount(bound, name)
            for bound, name in ((age_ms, "age_ms"), (length, "length"), (bytes_, "bytes_"))
        )
        with engine.lock:
            timeline = find_timeline(engine, self.name)
            return engine.view.excess(timeline, before=below, age=age, length=kept, size=size)

    def gain(self) -> Gain:
        """What `compact` would do, without doing it. Raises `NotFoundError`."""
        return gain(self._engine, self.name)

    def inspect(self) -> TimelineFacts:
        """What the timeline is made of. Raises `NotFoundError`."""
        return inspect_timeline(self._engine, self.name)

    def inspect_segment(self, number: int) -> SegmentContent:
        """The stored segment that holds entry `number`, also where it is damaged. Raises
        `NotFoundError`.
        """
        return inspect_segment(self._engine, self.name, whole(number, "number"))
