"""A handle on one timeline: append to it, range over it, take care of it.

Rule: a handle keeps only a name, so it stays valid whatever happens to the timeline. A call that
writes returns when its commit is durable, unless its name says otherwise. Ranges are lazy: a page
is read at a time, and entries appended, trimmed or sealed in between do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from timeline.admin.compact import compact, gain
from timeline.admin.inspection import (
    SegmentContent,
    TimelineFacts,
    find_timeline,
    inspect_segment,
    inspect_timeline,
)
from timeline.commit.draft import Draft
from timeline.commit.group import Group
from timeline.embedded.calls.arguments import amount, whole, writable
from timeline.embedded.calls.lease import Lease
from timeline.engine.callbacks import Outcome
from timeline.engine.engine import Engine
from timeline.engine.inboxview import (
    BITS,
    InboxView,
    is_inbox,
    last_number,
    number_of,
    show_reference,
)
from timeline.entry import Entry, FieldsLike, encode_fields
from timeline.errors import ClosedError, NotFoundError, WrongTypeError, shown
from timeline.formats import keys
from timeline.formats.names import CONVERSATIONS
from timeline.formats.rows import Retention
from timeline.lsm.ranges import Extent
from timeline.lsm.upkeep.compaction import Gain

T = TypeVar("T")

_PAGE = 1_000


class TimelineHandle:
    """One timeline, by name."""

    def __init__(self, engine: Engine, name: bytes, lease: Lease | None = None) -> None:
        self._lease = lease
        self._engine = engine
        self.name = name

    # --- writing ------------------------------------------------------------------------------

    def append(self, fields: FieldsLike, *, seq: int | None = None) -> int:
        """Append one entry and return its number, durable.

        An explicit `seq` must exceed the head, else `SequenceError`.
        """
        writable(self.name)
        engine = self._engine
        items = encode_fields(fields)
        with engine.lock:
            if seq is None:
                number = engine.appender.append(self.name, items)
            else:
                given = whole(seq, "seq")
                draft = engine.begin()
                number = draft.append(draft.find_or_create(self.name), items, given)
                draft.commit()
            group = engine.group
        engine.wait(group)
        return number

    def append_many(self, entries: Iterable[FieldsLike]) -> range:
        """Append entries as one commit and return their numbers, durable."""
        writable(self.name)
        many = [encode_fields(fields) for fields in entries]
        if not many:
            return range(0)
        first = self._engine.commit(
            lambda draft: draft.append_many(draft.find_or_create(self.name), many)
        )
        return range(first, first + len(many))

    def append_async(self, fields: FieldsLike) -> Future[int]:
        """Append one entry; the future gives its number once it is durable, or the error.

        Callbacks of futures are called one after another in the order of commits, on a thread of
        their own, and may do what any other thread may. Raises `BusyError` also when very many of
        them are due.
        """
        writable(self.name)
        engine = self._engine
        items = encode_fields(fields)
        engine.callbacks.check_room()
        future = Outcome(engine.callbacks)
        with engine.lock:
            number = engine.appender.append(self.name, items)

            def settle(group: Group) -> None:
                if group.error is None:
                    future.set_result(number)
                else:
                    future.set_exception(group.error)

            engine.group.on_done(settle)
            engine.staged.notify()
        return future

    def trim(
        self,
        *,
        before: int | None = None,
        length: int | None = None,
        age_ms: int | None = None,
    ) -> int:
        """Remove entries numbered below `before`, all but the newest `length`, or those older
        than `age_ms`; how many were removed. The head stays: no number is given twice."""
        below = None if before is None else whole(before, "before")
        kept, age = amount(length, "length"), amount(age_ms, "age_ms")

        def work(draft: Draft) -> int:
            timeline = draft.find(self.name)
            if timeline is None:
                return 0
            removed = 0
            if below is not None:
                removed += draft.trim(timeline, below)
            if age is not None:
                removed += draft.trim_to_age(timeline, age)
            if kept is not None:
                removed += draft.trim_to_length(timeline, kept)
            return removed

        return self._commit(work)

    def delete(self, *seqs: int) -> int:
        """Delete single entries; how many of them were there."""
        which = [whole(seq, "seq") for seq in seqs]

        def work(draft: Draft) -> int:
            timeline = draft.find(self.name)
            return 0 if timeline is None else draft.delete(timeline, which)

        return self._commit(work)

    def replace(self, seq: int, fields: FieldsLike) -> None:
        """Give entry `seq` other fields. Raises `NotFoundError`."""
        which, items = whole(seq, "seq"), encode_fields(fields)

        def work(draft: Draft) -> None:
            timeline = draft.find(self.name)
            if timeline is None:
                raise NotFoundError(f"there is no timeline {shown(self.name)}")
            draft.replace(timeline, which, items)

        self._commit(work)

    def drop(self) -> bool:
        """Delete the timeline with everything in it; whether there was one."""

        def work(draft: Draft) -> bool:
            timeline = draft.find(self.name)
            if timeline is not None:
                draft.drop(timeline)
            return timeline is not None

        return self._commit(work)

    def metadata(self) -> dict[bytes, bytes]:
        """What is known about the timeline beside its entries."""
        engine = self._engine
        with engine.lock:
            timeline = engine.find(self.name)
            return {} if timeline is None else engine.metadata(timeline)

    def set_metadata(self, fields: FieldsLike) -> dict[bytes, bytes]:
        """Merge fields into the metadata, an empty value removing; all of it after that."""
        items = encode_fields(fields)

        def work(draft: Draft) -> dict[bytes, bytes]:
            timeline = draft.find_or_create(self.name)
            return draft.merge_metadata(timeline, zip(items[::2], items[1::2], strict=True))

        return self._commit(work)

    def set_retention(self, *, age_ms: int = 0, length: int = 0, bytes_: int = 0) -> None:
        """Trim by itself from now on; zero is no bound, all zero no retention. Also the messages of
        a conversation (`@conv:…`), which must be there, else `NotFoundError`.
        """
        bounds = Retention(
            whole(age_ms, "age_ms", 0, keys.MAX),
            whole(length, "length", 0, keys.MAX),
            whole(bytes_, "bytes_", 0, keys.MAX),
        )

        def work(draft: Draft) -> None:
            if self.name.startswith(CONVERSATIONS):
                timeline = draft.find(self.name)
                if timeline is None:
                    raise NotFoundError(f"there is no timeline {shown(self.name)}")
            else:
                timeline = draft.find_or_create(writable(self.name))
            draft.set_retention(timeline, bounds)

        self._engine.commit(work)

    def retention(self) -> Retention:
        """The bounds to which it is trimmed by itself, 0 for none: age in ms, length, bytes.
        Raises `NotFoundError`.
        """
        engine = self._engine
        with engine.lock:
            timeline = find_timeline(engine, self.name)
            return engine.retention(timeline)

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
            return engine.store.retention.excess(
                timeline, before=below, age=age, length=kept, size=size
            )

    def compact(self) -> int:
        """Merge this timeline's small segments; how many segments fewer there are."""
        return compact(self._engine, self.name)

    def gain(self) -> Gain:
        """What `compact` would do, without doing it. Raises `NotFoundError`."""
        return gain(self._engine, self.name)

    def _commit(self, work: Callable[[Draft], T]) -> T:
        writable(self.name)
        return self._engine.commit(work)

    # --- reading ------------------------------------------------------------------------------

    def inspect(self) -> TimelineFacts:
        """What the timeline is made of. Raises `NotFoundError`."""
        return inspect_timeline(self._engine, self.name)

    def inspect_segment(self, number: int) -> SegmentContent:
        """The stored segment that holds entry `number`, also where it is damaged. Raises
        `NotFoundError`.
        """
        return inspect_segment(self._engine, self.name, whole(number, "number"))

    def extent(self) -> Extent:
        """First number, head, length and time of creation; zeros when there is no timeline."""
        engine = self._engine
        with engine.lock:
            timeline = engine.find(self.name)
            if timeline is None:
                return Extent(0, 0, 0, 0, 0, 0)
            if is_inbox(timeline):
                return InboxView(engine).span(timeline)
            return engine.extent(timeline)

    def __len__(self) -> int:
        """How many entries there are. Of an in-box (`@user:…`) that takes a look at all of it."""
        return self.extent().length

    def __bool__(self) -> bool:
        """True, as of anything that is there: it is a handle, whatever the timeline holds."""
        return True

    @property
    def head(self) -> int:
        """The highest number ever given out, 0 for none; of an in-box the LSN of its newest
        reference.
        """
        engine = self._engine
        with engine.lock:
            timeline = engine.find(self.name)
            if timeline is None:
                return 0
            if is_inbox(timeline):
                return InboxView(engine).newest(timeline) >> BITS
            return engine.extent(timeline).head

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

        Of an in-box (`@user:…`) these are references, numbered by LSN and without times: fields
        `kind`, `timeline`, `seq`.
        """
        return self._entries(
            whole(first, "first"),
            whole(last, "last"),
            None if since is None else whole(since, "since"),
            None if until is None else whole(until, "until"),
            amount(limit, "limit"),
            reverse=reverse,
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
            timeline = engine.find(self.name)
            if timeline is None:
                return
            inbox = is_inbox(timeline)
            if inbox and (since is not None or until is not None):
                raise WrongTypeError("an in-box knows no times: range over it by LSN")
            if since is not None:
                first = max(first, engine.timelines.ranges.first_since(timeline, since))
            if until is not None:
                last = min(last, engine.timelines.ranges.first_since(timeline, until + 1) - 1)
        if inbox:
            yield from self._references(first, last, limit, reverse=reverse)
            return
        left = keys.MAX if limit is None else limit
        size = min(left, 64)  # a first look is often all
        while left > 0 and first <= last:
            with engine.lock:
                if engine.closed:
                    raise ClosedError("the store is closed")
                timeline = engine.find(self.name)
                if timeline is None:
                    return
                page = engine.timelines.ranges.entries(
                    timeline, first, last, min(size, left), reverse=reverse
                )
            yield from page
            if len(page) < min(size, left):
                return
            left -= len(page)
            size = _PAGE
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
                inbox = engine.find(self.name)
                if inbox is None:
                    return
                asked = min(_PAGE, left)
                page = InboxView(engine).read(inbox, low, high, asked, reverse=reverse)
            yield from map(show_reference, page.chunks)
            if page.last is None or page.count < asked:
                return
            left -= page.count
            if reverse:
                high = page.last - 1
            else:
                low = page.last + 1

    def __iter__(self) -> Iterator[Entry]:
        return self.range()
