"""A database: one open store, and the way to everything in it.

    with timeline.open("data") as db:
        audit = db.timeline("audit")
        audit.append({"who": "alice", "what": "login"})

Responsibility: open a store and give what it holds: timelines by name, transactions, the log,
conversations. Search, inspect, compact and copy all of it.

Rule: a call that writes returns when its commit is durable, unless its name says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from timeline.admin.backup import back_up
from timeline.admin.compact import compact, gain
from timeline.admin.inspection import StoreFacts, inspect_store
from timeline.admin.progress import Progress, ignore
from timeline.embedded.calls.arguments import names
from timeline.embedded.calls.lease import Lease
from timeline.embedded.feeds import FeedCalls
from timeline.embedded.handle import TimelineHandle
from timeline.embedded.log import LogView
from timeline.embedded.messaging import Messaging
from timeline.embedded.transaction import Transaction
from timeline.engine.engine import Engine
from timeline.engine.openedreadonly import ReadOnlyEngine
from timeline.entry import Fields
from timeline.formats.entries import decode_items, seq_of
from timeline.formats.given import Value, encode_name
from timeline.formats.manifest import Manifest
from timeline.lsm.upkeep.merging import Gain
from timeline.options import Options
from timeline.search.finder import find_entries, find_timelines
from timeline.search.storeindex import StoreIndex


def open_database(
    path: str | os.PathLike[str],
    options: Options | None = None,
    *,
    read_only: bool = False,
    **changes: Any,
) -> Database:
    """Open the store at `path`, and make it when there is none; other arguments are `Options`.

    With `read_only` nothing in the directory is changed, and another process may have it open.
    `Database.refresh` moves on to what that process wrote since.

    Close it, best by `with`. A database that is dropped closes itself, as a file does, with a
    `ResourceWarning`. Raises `LockedError` when another process has the store open, or this one,
    and says where; `FormatVersionError` and `CorruptError` when it cannot be read.
    """
    opened = ReadOnlyEngine if read_only else Engine
    engine = opened(path, replace(options or Options(), **changes))
    try:
        return Database(engine)
    except BaseException:
        engine.close()
        raise


class Database:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lease = lease = Lease(engine)
        self.index = StoreIndex(engine)
        self.messaging = Messaging(lease, self.index)
        messages = self.messaging.messages
        self.feeds = FeedCalls(lease, messages.keys, messages.presence, self.index)
        self.log = LogView(lease, self.messaging.messages.waiters)

    def timeline(self, name: Value) -> TimelineHandle:
        """A handle on the timeline called `name`, which the first append makes."""
        return TimelineHandle(self.engine, encode_name(name), self._lease)

    def timelines(self, prefix: Value = b"") -> Iterator[bytes]:
        """The names of raw timelines that begin with `prefix`, in byte order; with a prefix that
        begins with `@` those of the store: `@conv:`, `@event:`, `@user:`, `@feed:`, `@feedevent:`,
        `@home:`, `@note:`.
        """
        start = encode_name(prefix)
        for name, _ in self.engine.view.each(start):
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
        """Entries of conversations and feeds, and of timelines whose name begins with one of the
        option `search_prefixes`, the newest first. Whoever may open the store may find all of them.

        With `wait` (seconds), first let the index reach what was committed before this call.
        Raises `IndexLagError` when that takes longer, `UsageError`, `NotFoundError`.
        """
        total, exact, hits, cursor = find_entries(
            self.engine,
            self.index.catch_up(wait),
            query,
            timelines=None if timelines is None else names(timelines, "timelines"),
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
        """Names and metadata of timelines, found by their metadata: a word of any value (`oslo`), a
        whole value of one field (`city:oslo`), or its beginning (`city:os*`). Raises
        `IndexLagError`, `UsageError`, and `TooLargeError` above 64 MiB.
        """
        return find_timelines(self.engine, self.index.catch_up(wait), query, limit)

    def inspect(self) -> StoreFacts:
        """What the store is made of."""
        return inspect_store(self.engine, self.index.stats())

    def transaction(self) -> Transaction:
        """Several operations as one commit: all or nothing."""
        return Transaction(self._lease)

    def compact(self, prefix: Value = b"", *, progress: Progress | None = None) -> int:
        """Merge small segments and free what was deleted; how many segments fewer there are.
        `progress` is called with timelines done and in all.
        """
        return compact(self.engine, prefix=encode_name(prefix), progress=progress or ignore)

    def refresh(self) -> bool:
        """See what was written by now; whether that is more than before. For a store opened read
        only: any other sees its commits immediately.
        """
        return self.engine.refresh() if isinstance(self.engine, ReadOnlyEngine) else False

    def backup(
        self,
        path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> Manifest:
        """Back up to the new directory `path` while writes go on. The manifest says what is in it.

        It holds what all calls wrote that returned before this one. `progress` is called with bytes
        done and in all. Raises `ExistsError`, `BusyError`, `StorageError`; nothing is left then.
        """
        return back_up(self.engine, Path(path), progress or ignore)

    def gain(self, prefix: Value = b"", *, progress: Progress | None = None) -> Gain:
        """What `compact` would do, without doing it."""
        return gain(self.engine, prefix=encode_name(prefix), progress=progress or ignore)

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
