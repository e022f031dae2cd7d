"""A data directory as a source, opened read-only through the embedded API.

Rule: what others write meanwhile is seen only when a verb waits for more. So everything that a verb
prints is from one moment.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from timeline.admin.inspection import find_timeline, plain
from timeline.embedded.database import open_database
from timeline.embedded.handle import TimelineHandle
from timeline.entry import Entry, Fields
from timeline.lsm.log import LogCommit
from timeline.options import Options

from .source import PAGE_ITEMS, Bounds, Commit, Facts, Found, Hits, Line, Query, TimelineSpan

_LOOK_SECONDS: Final = 0.2  # between two refreshes while following


class Directory:
    def __init__(self, path: Path, options: Options | None = None) -> None:
        self._db = open_database(path, options or Options(search=False), read_only=True)

    # --- what there is ------------------------------------------------------------------------

    def store(self) -> Facts:
        return _facts(self._db.inspect())

    def timeline(self, name: bytes) -> Facts:
        return _facts(self._db.timeline(name).inspect())

    def segment(self, name: bytes, number: int) -> Facts:
        return _facts(self._db.timeline(name).inspect_segment(number))

    def conversation(self, name: bytes) -> Facts:
        return _facts(self._db.messaging.inspect_conversation(name))

    def members(self, name: bytes, limit: int) -> list[tuple[str, str, int]]:
        found: list[tuple[str, str, int]] = []
        after = ""
        while len(found) < limit:
            page = self._db.messaging.members(name, after=after, limit=limit - len(found))
            found += [(each.user, each.role, each.joined) for each in page.members]
            after = page.cursor
            if not after:
                break
        return found

    def user(self, name: bytes) -> Facts:
        inspect = self._db.messaging.inspect_user
        page = inspect(name, limit=PAGE_ITEMS)
        found = _facts(page)
        while page.cursor:
            page = inspect(name, after=page.cursor, limit=PAGE_ITEMS)
            found["conversations"] += _facts(page)["conversations"]
        return found

    def feeds(self, name: bytes, post: bytes | None) -> Facts:
        return _facts(self._db.feeds.inspect(name, post=post))

    def timelines(self, prefix: bytes) -> Iterator[TimelineSpan]:
        engine = self._db.engine
        for name, _ in engine.view.each(prefix):
            extent = self._db.timeline(name).extent()
            with engine.lock:
                engine.timelines.forget_idle()
            yield TimelineSpan(name, extent.first, extent.head, extent.length)

    # --- entries ------------------------------------------------------------------------------

    def entries(
        self, name: bytes, bounds: Bounds, limit: int | None, *, reverse: bool
    ) -> Iterator[Line]:
        handle = self._existing(name)
        found = handle.range(
            first=bounds.first,
            last=bounds.last,
            since=bounds.since,
            until=bounds.until,
            limit=limit,
            reverse=reverse,
        )
        return map(_line, found)

    def entries_after(self, places: Mapping[bytes, str]) -> dict[bytes, list[Line]]:
        found = {name: self._after(name, after) for name, after in places.items()}
        if not any(found.values()):
            self._wait()
        return found

    def _after(self, name: bytes, after: str) -> list[Line]:
        handle = self._existing(name)
        seq, _, ordinal = after.partition("-")
        found = []
        # Numbers of an in-box are LSNs: several references may have the same.
        for entry in handle.range(first=int(seq)):
            number, _, nth = entry.id.partition("-")
            if (int(number), int(nth)) > (int(seq), int(ordinal or 0)):
                found.append(_line(entry))
                if len(found) == PAGE_ITEMS:
                    break
        return found

    def _existing(self, name: bytes) -> TimelineHandle:
        find_timeline(self._db.engine, name)
        return self._db.timeline(name)

    def _wait(self) -> None:
        if not self._db.refresh():
            time.sleep(_LOOK_SECONDS)

    # --- the log ------------------------------------------------------------------------------

    def head(self) -> int:
        return self._db.log.head

    def log_start(self, after: int) -> int:
        with self._db.engine.lock:
            return max(after, self._db.engine.log.first() - 1)

    def log(self, after: int, limit: int) -> list[Commit]:
        return [self._commit(each) for each in self._db.log.read(after=after, limit=limit)]

    def log_after(self, after: int) -> list[Commit]:
        found = self.log(after, PAGE_ITEMS)
        if not found:
            self._wait()
        return found

    def _commit(self, commit: LogCommit) -> Commit:
        changes = []
        for kind, _, first, last, _, name in commit.changes:
            numbers = [first, last] if kind == "append" else [] if kind == "drop" else [first]
            changes.append((kind, name or b"", numbers))
        return Commit(commit.lsn, commit.time, changes)

    # --- search and figures -------------------------------------------------------------------

    def search(self, query: Query) -> Hits:
        if query.user is not None:
            page = self._db.messaging.search(
                query.user,
                query.text,
                conversation=query.conversation,
                sender=query.sender,
                since=query.since,
                until=query.until,
                limit=query.limit,
                after=query.after,
                wait=query.wait,
            )
            hits = [
                Found(hit.conversation.encode(), f"{hit.seq}-0", _pairs(hit.fields), hit.snippet)
                for hit in page.hits
            ]
            return Hits(page.total, page.exact, hits, page.cursor)
        entries = self._db.search(
            query.text,
            timelines=query.timelines or None,
            since=query.since,
            until=query.until,
            limit=query.limit,
            after=query.after,
            wait=query.wait,
        )
        hits = [
            Found(hit.timeline, f"{hit.seq}-0", _pairs(hit.fields), hit.snippet)
            for hit in entries.hits
        ]
        return Hits(entries.total, entries.exact, hits, entries.cursor)

    def stats(self) -> dict[str, Mapping[str, object]]:
        engine = self._db.engine
        with engine.lock:
            return {"timeline": {**engine.figures().shown(), **self._db.messaging.messages.stats()}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()


def _facts(value: Any) -> Facts:  # noqa: ANN401
    found: Facts = plain(value)
    return found


def _line(entry: Entry) -> Line:
    return Line(entry.id, entry.time, _pairs(entry.fields))


def _pairs(fields: Fields) -> list[tuple[bytes, bytes]]:
    return list(fields)
