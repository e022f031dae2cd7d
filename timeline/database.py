"""The embedded API: a store in this process, typed and thread-safe.

    with timeline.open("data") as db:
        audit = db.timeline("audit")
        audit.append({"who": "alice", "what": "login"})

Rule: a call that writes returns when its commit is durable, unless its name says otherwise. A
handle keeps only a name, so it stays valid whatever happens to the timeline. Ranges are lazy: a
page is read at a time, and entries appended, trimmed or sealed in between do no harm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from timeline.backup import back_up
from timeline.compaction import Gain
from timeline.draft import Draft
from timeline.engine import Engine, Group
from timeline.entry import Entry, Fields, FieldsLike, Value, encode_fields, encode_name
from timeline.errors import ClosedError, NoPermissionError, NotFoundError, WrongTypeError, shown
from timeline.formats import keys
from timeline.formats.entries import decode_items, seq_of
from timeline.formats.manifest import Manifest
from timeline.formats.rows import Retention
from timeline.inspection import (
    SegmentContent,
    StoreFacts,
    TimelineFacts,
    inspect_segment,
    inspect_store,
    inspect_timeline,
)
from timeline.log import LogCommit
from timeline.messaging.embedded import Messaging
from timeline.messaging.names import CONVERSATIONS
from timeline.options import Options
from timeline.readonly import ReadOnlyEngine
from timeline.search.finder import find_entries, find_timelines
from timeline.search.indexer import Indexer
from timeline.timelines import Extent
from timeline.unresolved import Unresolved, is_inbox, last_number, number_of, show_reference

T = TypeVar("T")

_PAGE = 1_000


def open_database(
    path: str | os.PathLike[str],
    options: Options | None = None,
    *,
    read_only: bool = False,
    **changes: Any,
) -> Database:
    """Open the store at `path`, making it if need be; other keyword arguments are `Options`.

    With `read_only` nothing in the directory is changed, another process may have it open, and
    `Database.refresh` moves on to what that wrote since.

    Raises `LockedError` when another process has it open, `FormatVersionError` and
    `CorruptError` when it cannot be read.
    """
    opened = ReadOnlyEngine if read_only else Engine
    return Database(opened(path, replace(options or Options(), **changes)))


class Database:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.log = LogView(engine)
        self.messaging = Messaging(engine)

    def timeline(self, name: Value) -> TimelineHandle:
        """A handle on the timeline called `name`, which the first append makes."""
        return TimelineHandle(self.engine, encode_name(name))

    def timelines(self, prefix: Value = b"") -> Iterator[bytes]:
        """The names of raw timelines that begin with `prefix`, in byte order; with a prefix that
        begins with `@` those of the store: `@conv:`, `@event:`, `@user:`.
        """
        start = encode_name(prefix)
        for name, _ in self.engine.each(start):
            if start[:1] == b"@" or name[:1] != b"@":
                yield name

    def search(
        self,
        query: str,
        *,
        timelines: Iterable[Value] | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 20,
        after: Value = "",
        wait: float = 0.0,
    ) -> EntryPage:
        """Entries of conversations, and of timelines whose name begins with one of the option
        `search_prefixes`, the newest first. No more is asked than who may open the store.

        With `wait` (seconds), first let the index reach what was committed before this call.
        Raises `IndexLagError` when that takes longer, `UsageError`, `NotFoundError`.
        """
        indexer = self._indexer(wait)
        total, exact, hits, cursor = find_entries(
            self.engine,
            indexer,
            query,
            timelines=None if timelines is None else [encode_name(name) for name in timelines],
            since=since,
            until=until,
            limit=limit,
            after=encode_name(after),
        )
        found = [
            EntryHit(name, seq_of(payload), Fields(decode_items(payload)), marked)
            for name, payload, marked in hits
        ]
        return EntryPage(total, exact, found, cursor.decode())

    def find(
        self, query: str, *, limit: int = 100, wait: float = 0.0
    ) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Names and metadata of timelines by their metadata: words of any value, or a value as a
        whole by its field (`city:oslo`).
        """
        return find_timelines(self.engine, self._indexer(wait), query, limit)

    def _indexer(self, wait: float) -> Indexer:
        indexer = self.messaging.messages.searchable
        if wait > 0:
            indexer.wait(self.engine.applied, wait)
        return indexer

    def inspect(self) -> StoreFacts:
        """What the store is made of."""
        indexer = self.messaging.messages.indexer
        return inspect_store(self.engine, {} if indexer is None else indexer.stats())

    def transaction(self) -> Transaction:
        """Several operations as one commit: all or nothing."""
        return Transaction(self.engine)

    def compact(
        self, prefix: Value = b"", *, progress: Callable[[bytes], None] | None = None
    ) -> int:
        """Merge small segments and free what was deleted; how many segments fewer there are."""
        return self.engine.compact(prefix=encode_name(prefix), progress=progress)

    def refresh(self) -> bool:
        """Of a store that was opened read only: see what was written by now; whether that is more
        than before. Any other sees its commits at once.
        """
        return self.engine.refresh() if isinstance(self.engine, ReadOnlyEngine) else False

    def backup(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Manifest:
        """Back up to the new directory `path` while writes go on; what is in it says the manifest.

        It holds every call that returned before this one. `progress` is called with bytes done and
        in all. Raises `ExistsError`, `BusyError`, `StorageError`; nothing is left behind then.
        """
        return back_up(self.engine, Path(path), progress)

    def gain(self, prefix: Value = b"") -> Gain:
        """What `compact` would do, without doing it."""
        return self.engine.gain(prefix=encode_name(prefix))

    def flush(self) -> None:
        """Return when everything staged so far is durable."""
        self.engine.wait_all()

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class EntryHit(NamedTuple):
    """An entry that was found; `snippet` is HTML, with the matches between `<b>` and `</b>`."""

    timeline: bytes
    seq: int
    fields: Fields
    snippet: str


class EntryPage(NamedTuple):
    """`total` hits in all when `exact`, else at least so many; `cursor` is empty at the end."""

    total: int
    exact: bool
    hits: list[EntryHit]
    cursor: str


class TimelineHandle:
    """One timeline, by name."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self.name = name

    # --- writing ------------------------------------------------------------------------------

    def append(self, fields: FieldsLike, *, seq: int | None = None) -> int:
        """Append one entry and return its number, durable.

        An explicit `seq` must exceed the head, else `SequenceError`.
        """
        _writable(self.name)
        engine = self._engine
        items = encode_fields(fields)
        with engine.lock:
            if seq is None:
                number = engine.append(self.name, items)
            else:
                draft = engine.begin()
                number = draft.append(draft.find_or_create(self.name), items, seq)
                draft.commit()
            group = engine.group
        engine.wait(group)
        return number

    def append_many(self, entries: Iterable[FieldsLike]) -> range:
        """Append entries as one commit and return their numbers, durable."""
        _writable(self.name)
        engine = self._engine
        many = [encode_fields(fields) for fields in entries]
        if not many:
            return range(0)
        with engine.lock:
            draft = engine.begin()
            first = draft.append_many(draft.find_or_create(self.name), many)
            group = draft.commit().group
        engine.wait(group)
        return range(first, first + len(many))

    def append_async(self, fields: FieldsLike) -> Future[int]:
        """Append one entry; the future gives its number once it is durable, or the error."""
        _writable(self.name)
        engine = self._engine
        items = encode_fields(fields)
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        with engine.woken:
            number = engine.append(self.name, items)

            def settle(group: Group) -> None:
                if group.error is None:
                    future.set_result(number)
                else:
                    future.set_exception(group.error)

            engine.group.on_done(settle)
            engine.woken.notify_all()
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

        def work(draft: Draft) -> int:
            timeline = draft.find(self.name)
            if timeline is None:
                return 0
            removed = 0
            if before is not None:
                removed += draft.trim(timeline, before)
            if age_ms is not None:
                removed += draft.trim_to_age(timeline, age_ms)
            if length is not None:
                removed += draft.trim_to_length(timeline, length)
            return removed

        return self._commit(work)

    def delete(self, *seqs: int) -> int:
        """Delete single entries; how many of them were there."""

        def work(draft: Draft) -> int:
            timeline = draft.find(self.name)
            return 0 if timeline is None else draft.delete(timeline, seqs)

        return self._commit(work)

    def replace(self, seq: int, fields: FieldsLike) -> None:
        """Give entry `seq` other fields. Raises `NotFoundError`."""
        items = encode_fields(fields)

        def work(draft: Draft) -> None:
            timeline = draft.find(self.name)
            if timeline is None:
                raise NotFoundError(f"there is no timeline {shown(self.name)}")
            draft.replace(timeline, seq, items)

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
        bounds = Retention(age_ms, length, bytes_)

        def work(draft: Draft) -> None:
            if self.name.startswith(CONVERSATIONS):
                timeline = draft.find(self.name)
                if timeline is None:
                    raise NotFoundError(f"there is no timeline {shown(self.name)}")
            else:
                timeline = draft.find_or_create(_writable(self.name))
            draft.set_retention(timeline, bounds)

        self._stage(work)

    def retention(self) -> Retention:
        """The bounds to which it is trimmed by itself, 0 for none: age in ms, length, bytes.
        Raises `NotFoundError`.
        """
        engine = self._engine
        with engine.lock:
            timeline = engine.find(self.name)
            if timeline is None:
                raise NotFoundError(f"there is no timeline {shown(self.name)}")
            return engine.retention(timeline)

    def compact(self) -> int:
        """Merge this timeline's small segments; how many segments fewer there are."""
        return self._engine.compact(self.name)

    def gain(self) -> Gain:
        """What `compact` would do, without doing it. Raises `NotFoundError`."""
        return self._engine.gain(self.name)

    def _commit(self, work: Callable[[Draft], T]) -> T:
        _writable(self.name)
        return self._stage(work)

    def _stage(self, work: Callable[[Draft], T]) -> T:
        engine = self._engine
        with engine.lock:
            draft = engine.begin()
            result = work(draft)
            group = draft.commit().group
        engine.wait(group)
        return result

    # --- reading ------------------------------------------------------------------------------

    def inspect(self) -> TimelineFacts:
        """What the timeline is made of. Raises `NotFoundError`."""
        return inspect_timeline(self._engine, self.name)

    def inspect_segment(self, number: int) -> SegmentContent:
        """The stored segment that holds entry `number`, also where it is damaged. Raises
        `NotFoundError`.
        """
        return inspect_segment(self._engine, self.name, number)

    def extent(self) -> Extent:
        """First number, head, length and time of creation; zeros when there is no timeline."""
        engine = self._engine
        with engine.lock:
            timeline = engine.find(self.name)
            if timeline is None:
                return Extent(0, 0, 0, 0, 0)
            if is_inbox(timeline):
                return Unresolved(engine).span(timeline)
            return engine.extent(timeline)

    def __len__(self) -> int:
        return self.extent().length

    @property
    def head(self) -> int:
        """The highest number ever given out, 0 for none."""
        return self.extent().head

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
        engine = self._engine
        with engine.lock:
            timeline = engine.find(self.name)
            if timeline is None:
                return
            inbox = is_inbox(timeline)
            if inbox and (since is not None or until is not None):
                raise WrongTypeError("an in-box knows no times: range over it by LSN")
            if since is not None:
                first = max(first, engine.timelines.first_since(timeline, since))
            if until is not None:
                last = min(last, engine.timelines.first_since(timeline, until + 1) - 1)
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
                page = engine.timelines.entries(
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
                page = Unresolved(engine).read(inbox, low, high, asked, reverse=reverse)
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


class Transaction:
    """Operations that become durable together when the `with` block ends without an error."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._draft: Draft | None = None

    def __enter__(self) -> Self:
        self._engine.lock.acquire()
        try:
            self._draft = self._engine.begin()
        except BaseException:
            self._engine.lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        draft, self._draft = self._draft, None
        group: Group | None = None
        try:
            if kind is None and draft is not None:
                group = draft.commit().group
        finally:
            self._engine.lock.release()
        if group is not None and draft is not None and not draft.empty:
            self._engine.wait(group)

    @property
    def draft(self) -> Draft:
        if self._draft is None:
            raise ClosedError("a transaction is used inside its `with` block")
        return self._draft

    def append(self, name: Value, fields: FieldsLike, *, seq: int | None = None) -> int:
        target = _writable(encode_name(name))
        draft = self.draft
        return draft.append(draft.find_or_create(target), encode_fields(fields), seq)

    def delete(self, name: Value, *seqs: int) -> int:
        timeline = self.draft.find(_writable(encode_name(name)))
        return 0 if timeline is None else self.draft.delete(timeline, seqs)

    def trim(self, name: Value, *, before: int) -> int:
        timeline = self.draft.find(_writable(encode_name(name)))
        return 0 if timeline is None else self.draft.trim(timeline, before)

    def drop(self, name: Value) -> bool:
        timeline = self.draft.find(_writable(encode_name(name)))
        if timeline is not None:
            self.draft.drop(timeline)
        return timeline is not None


class LogView:
    """The commit log for embedders: follow it, and keep a place in it by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def head(self) -> int:
        """LSN of the last commit."""
        return self._engine.applied

    def read(self, *, after: int = 0, limit: int = _PAGE) -> list[LogCommit]:
        """At most `limit` commits above LSN `after`. Raises `TrimmedError`."""
        with self._engine.lock:
            self._engine.check_usable()
            return self._engine.log.read(after, limit)

    def follow(self, *, after: int = 0, timeout: float | None = None) -> Iterator[LogCommit]:
        """Commits above LSN `after` as they become durable, for ever.

        With `timeout` (seconds) it ends when nothing came for so long. Raises `TrimmedError`.
        """
        engine = self._engine
        reached = after

        def more() -> bool:
            return engine.applied > reached or engine.closed

        while True:
            with engine.woken:
                if not engine.woken.wait_for(more, timeout) or engine.closed:
                    return
                commits = engine.log.read(reached, 256)
            for commit in commits:
                reached = commit.lsn
                yield commit

    def checkpoint(self, name: Value) -> int:
        """The LSN that consumer `name` has reached. Raises `NotFoundError`."""
        with self._engine.lock:
            self._engine.check_usable()
            return self._engine.log.checkpoint(encode_name(name))

    def move(self, name: Value, lsn: int | None) -> None:
        """Say that consumer `name` has dealt with everything up to `lsn`; None forgets it."""
        self._engine.move_checkpoint(encode_name(name), lsn)

    def checkpoints(self) -> dict[bytes, int]:
        with self._engine.lock:
            self._engine.check_usable()
            return self._engine.log.checkpoints()


def _writable(name: bytes) -> bytes:
    if name.startswith(b"@"):
        raise NoPermissionError("timelines whose name begins with @ are written by the store only")
    return name
