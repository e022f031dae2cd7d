"""A live daemon as a source, read by commands.

Rule: names that the daemon chose are text; names and values that its users chose are bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from timeline.formats.keys import MAX
from timeline.formats.names import INBOXES

from .source import PAGE_ITEMS, Bounds, Commit, Facts, Found, Hits, Line, Query, TimelineSpan
from .wire import Refused, Wire

_PAGE_CONVERSATIONS: Final = 200  # of a user, which cost the daemon more
_WAIT_MS: Final = 1_000  # for more, after which the daemon is asked again


class Daemon:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._ask = wire.ask

    # --- what there is ------------------------------------------------------------------------

    def store(self) -> Facts:
        return _facts(self._ask("TIMELINE.INSPECT"))

    def timeline(self, name: bytes) -> Facts:
        return _facts(self._ask("TIMELINE.INSPECT", name))

    def segment(self, name: bytes, number: int) -> Facts:
        return _facts(self._ask("TIMELINE.INSPECT", name, number))

    def conversation(self, name: bytes) -> Facts:
        return _facts(self._ask("CONV.INSPECT", name))

    def members(self, name: bytes, limit: int) -> list[tuple[str, str, int]]:
        found: list[tuple[str, str, int]] = []
        after: list[bytes] = []
        while len(found) < limit:
            count = min(limit - len(found), PAGE_ITEMS)
            page = self._ask("CONV.MEMBERS", name, "-", *after, "COUNT", count)
            found += [(user.decode(), role.decode(), at) for user, role, at in page[b"members"]]
            if not page[b"cursor"]:
                break
            after = [b"AFTER", page[b"cursor"]]
        return found

    def user(self, name: bytes) -> Facts:
        page = found = _facts(self._ask("USER.INSPECT", name, "COUNT", _PAGE_CONVERSATIONS))
        while page["cursor"]:
            after = page["cursor"]
            page = _facts(
                self._ask("USER.INSPECT", name, "AFTER", after, "COUNT", _PAGE_CONVERSATIONS)
            )
            found["conversations"] += page["conversations"]
        found["cursor"] = ""  # that was the last page
        return found

    def feeds(self, name: bytes, post: bytes | None) -> Facts:
        words: list[str | bytes] = [] if post is None else ["POST", post]
        return _facts(self._ask("FEED.INSPECT", name, *words))

    def timelines(self, prefix: bytes) -> Iterator[TimelineSpan]:
        after: list[bytes] = []
        while True:
            words: list[str | bytes | int] = [
                "TIMELINE.LIST",
                "PREFIX",
                prefix,
                *after,
                "COUNT",
                PAGE_ITEMS,
            ]
            page = self._ask(*words)
            names = page[b"timelines"]
            infos = self._wire.ask_all([("TIMELINE.INFO", name) for name in names])
            for name, info in zip(names, infos, strict=True):
                if isinstance(info, dict):  # else it was deleted meanwhile
                    yield TimelineSpan(name, info[b"first"], info[b"head"], info[b"length"])
            if not page[b"cursor"]:
                return
            after = [b"AFTER", page[b"cursor"]]

    # --- entries ------------------------------------------------------------------------------

    def entries(
        self, name: bytes, bounds: Bounds, limit: int | None, *, reverse: bool
    ) -> Iterator[Line]:
        check_timeline(self._wire, name)
        times = bounds.since is not None or bounds.until is not None
        if name.startswith(INBOXES) and not times:
            return self._references(name, bounds, limit, reverse=reverse)
        return self._entries(name, bounds, limit, reverse=reverse)

    def _entries(
        self, name: bytes, bounds: Bounds, limit: int | None, *, reverse: bool
    ) -> Iterator[Line]:
        first, last = bounds.first, bounds.last
        left = MAX if limit is None else limit
        options: list[str | int] = ["REV"] if reverse else []
        if bounds.since is not None:
            options += ["SINCE", bounds.since]
        if bounds.until is not None:
            options += ["UNTIL", bounds.until]
        while left > 0 and first <= last:
            words = ["TIMELINE.RANGE", name, "FROM", str(first), "TO", str(last), *options]
            page = [_timed(each) for each in self._ask(*words, "COUNT", min(left, PAGE_ITEMS))]
            if not page:
                return
            yield from page
            left -= len(page)
            end = int(page[-1].id.partition("-")[0])
            first, last = (first, end - 1) if reverse else (end + 1, last)

    def _references(
        self, name: bytes, bounds: Bounds, limit: int | None, *, reverse: bool
    ) -> Iterator[Line]:
        start, end = str(bounds.first), "+" if bounds.last == MAX else str(bounds.last)
        left = MAX if limit is None else limit
        while left > 0:
            between = ("XREVRANGE", name, end, start) if reverse else ("XRANGE", name, start, end)
            page = [_untimed(each) for each in self._ask(*between, "COUNT", min(left, PAGE_ITEMS))]
            yield from page
            left -= len(page)
            if len(page) < PAGE_ITEMS:
                return
            start, end = (start, f"({page[-1].id}") if reverse else (f"({page[-1].id}", end)

    def entries_after(self, places: Mapping[bytes, str]) -> dict[bytes, list[Line]]:
        inbox = any(name.startswith(INBOXES) for name in places)
        count = (
            PAGE_ITEMS if inbox else 1
        )  # only to be woken: entries with their times are read below
        streams: list[bytes | str] = [*places, *places.values()]
        found = self._ask("XREAD", "COUNT", count, "BLOCK", _WAIT_MS, "STREAMS", *streams) or {}
        if inbox:
            return {name: [_untimed(each) for each in page] for name, page in found.items()}
        return {name: self._timed_after(name, places[name]) for name in found}

    def _timed_after(self, name: bytes, after: str) -> list[Line]:
        first = int(after.partition("-")[0]) + 1
        return list(self._entries(name, Bounds(first), PAGE_ITEMS, reverse=False))

    # --- the log ------------------------------------------------------------------------------

    def head(self) -> int:
        return int(self._wire.info("timeline")["lsn"])

    def log_start(self, after: int) -> int:
        return max(after, int(self._wire.info("timeline")["log_first"]) - 1)

    def log(self, after: int, limit: int) -> list[Commit]:
        return [_commit(each) for each in self._ask("LOG.TAIL", "AFTER", after, "COUNT", limit)]

    def log_after(self, after: int) -> list[Commit]:
        words = ("LOG.TAIL", "AFTER", after, "COUNT", PAGE_ITEMS, "BLOCK", _WAIT_MS)
        return [_commit(each) for each in self._ask(*words)]

    # --- search and figures -------------------------------------------------------------------

    def search(self, query: Query) -> Hits:
        words: list[str | bytes | int]
        if query.user is not None:
            words = ["USER.SEARCH", query.user, query.text]
        else:
            words = ["TIMELINE.SEARCH", query.text]
        for name in query.timelines:
            words += ["KEY", name]
        for word, value in (
            ("CONV", query.conversation),
            ("SENDER", query.sender),
            ("SINCE", query.since),
            ("UNTIL", query.until),
            ("COUNT", query.limit),
            ("AFTER", query.after or None),
            ("WAIT", round(query.wait * 1000) or None),
        ):
            if value is not None:
                words += [word, value]
        page = self._ask(*words)
        hits = [
            Found(where, identity.decode(), _pairs(items), snippet.decode())
            for where, identity, items, snippet in page[b"hits"]
        ]
        return Hits(page[b"total"], bool(page[b"exact"]), hits, page[b"cursor"].decode())

    def stats(self) -> dict[str, Mapping[str, object]]:
        found: dict[str, dict[str, object]] = {}
        section: dict[str, object] = {}
        for line in str(self._wire.call("INFO", "everything")).splitlines():
            if line.startswith("# "):
                section = found[line[2:].lower()] = {}
            elif ":" in line:
                name, _, value = line.partition(":")
                section[name] = value
        return dict(found)


def check_timeline(wire: Wire, name: bytes) -> None:
    """Raises `Refused`, which says what else may be meant, unless there is a timeline `name`."""
    try:
        wire.call("TIMELINE.INFO", name)
    except Refused:
        wire.call("TIMELINE.INSPECT", name)
        raise


def _facts(value: Any) -> Facts:  # noqa: ANN401
    """A reply with the daemon's own names as text."""
    found: Facts = _named(value)
    return found


def _named(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {
            name.decode("utf-8", "backslashreplace"): each if name == b"metadata" else _named(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_named(each) for each in value]
    return value


def _pairs(items: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(pairwise(items))[::2]


def _timed(entry: list[Any]) -> Line:
    identity, time, items = entry
    return Line(identity.decode(), time, _pairs(items))


def _untimed(entry: list[Any]) -> Line:
    identity, items = entry
    return Line(identity.decode(), 0, _pairs(items))


def _commit(reply: list[Any]) -> Commit:
    lsn, time, changes = reply
    return Commit(
        lsn, time, [(kind.decode(), name or b"", numbers) for kind, name, *numbers in changes]
    )
