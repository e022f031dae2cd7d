"""Raw timelines over the wire: from a daemon or a Redis as records of an export, and to a daemon.

Rule: times do not come over the wire, so such an export is not exact. Streams of a Redis get new
numbers: their ids `<ms>-<n>` do not fit in 64 bits and leave gaps. The id is kept as the first
field; from it an interrupted import goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

import click

from timeline.errors import shown
from timeline.formats.export import EntryRecord, ExportRecord, Header, TimelineRecord
from timeline.formats.rows import Retention

from ..sources.rawwire import RawWire, Word, as_map
from ..sources.wire import Refused

_PAGE_ITEMS: Final = 500  # names or entries that are asked for in one go


def daemon_records(wire: RawWire, prefix: bytes) -> Iterator[ExportRecord]:
    """The raw timelines of a daemon whose name begins with `prefix`."""
    yield Header()
    after = b""
    while True:
        follow = ("AFTER", after) if after else ()
        page = as_map(wire.ask("TIMELINE.LIST", "PREFIX", prefix, *follow, "COUNT", _PAGE_ITEMS))
        for name in page["timelines"]:
            if not name.startswith(b"@"):
                yield from _timeline(wire, name)
        after = page["cursor"]
        if not after:
            return


def _timeline(wire: RawWire, name: bytes) -> Iterator[ExportRecord]:
    try:
        info, metadata, bounds = wire.ask_all(
            [("TIMELINE.INFO", name), ("TIMELINE.META", name), ("TIMELINE.RETENTION", name)]
        )
    except Refused as refused:
        if refused.message.startswith("NOTFOUND"):
            return  # deleted meanwhile
        raise
    extent, retention = as_map(info), as_map(bounds)
    yield TimelineRecord(
        name,
        first=extent["first"],
        head=extent["head"],
        metadata=tuple(metadata),
        retention=Retention(retention["maxage"], retention["maxlen"], retention["maxbytes"]),
    )
    for seq, fields in _entries(wire, name, b"-", b"%d" % extent["head"]):
        yield EntryRecord(int(seq.partition(b"-")[0]), 0, 0, fields)


def _entries(
    wire: RawWire, name: bytes, start: bytes, end: bytes
) -> Iterator[tuple[bytes, list[bytes]]]:
    """Ids and fields, oldest first."""
    count = _PAGE_ITEMS
    while True:
        try:
            page = wire.ask("XRANGE", name, start, end, "COUNT", count)
        except Refused:  # the entries are so large that they do not fit into one reply
            if count == 1:
                raise
            count = max(1, count // 10)
            continue
        yield from page
        if len(page) < count:
            return
        start = b"(" + page[-1][0]


def redis_records(
    wire: RawWire, streams: Mapping[bytes, bytes], id_field: bytes, reached: dict[bytes, bytes]
) -> Iterator[ExportRecord]:
    """Streams of a Redis, by their names here; each from after the id that `reached` has for it."""
    yield Header()
    for name, stream in streams.items():
        kind = wire.ask("TYPE", stream)
        if kind != b"stream":
            problem = "does not exist" if kind == b"none" else f"is a {kind.decode()}, no stream"
            raise click.ClickException(f"{shown(stream)} {problem} there")
        yield TimelineRecord(name)
        start = b"(" + reached[name] if name in reached else b"-"
        for identity, fields in _entries(wire, stream, start, b"+"):
            yield EntryRecord(0, 0, 0, [id_field, identity, *fields] if id_field else fields)


class DaemonDestination:
    """A live daemon, to which timelines are added."""

    def __init__(self, wire: RawWire) -> None:
        self._wire = wire

    def head(self, name: bytes) -> int:
        return self._extent(name).get("head", 0)

    def _extent(self, name: bytes) -> dict[str, int]:
        with suppress(Refused):
            return as_map(self._wire.ask("TIMELINE.INFO", name))
        return {}

    def entry(self, name: bytes, seq: int) -> list[bytes] | None:
        found = self._wire.ask("XRANGE", name, seq, seq)
        return found[0][1] if found else None

    def append(self, name: bytes, items: list[EntryRecord]) -> None:
        adds = [("XADD", name, item.seq or "*", *item.fields) for item in items]
        # One commit: if it is refused none is stored, and a later call skips none.
        self._wire.ask_all([("MULTI",), *adds, ("EXEC",)])

    def finish(self, record: TimelineRecord) -> None:
        extent = self._extent(record.name)
        if not extent:
            return  # an empty timeline cannot be made over the wire
        commands: list[tuple[Word, ...]] = []
        if record.head > extent["head"]:
            commands.append(("XSETID", record.name, record.head))
        if record.first > extent["first"]:
            commands.append(("XTRIM", record.name, "MINID", record.first))
        if record.metadata:
            commands.append(("TIMELINE.META", record.name, "*", *record.metadata))
        if any(record.retention):
            age, length, size = record.retention
            bounds = ("MAXAGE", age, "MAXLEN", length, "MAXBYTES", size)
            commands.append(("TIMELINE.RETENTION", record.name, *bounds))
        if commands:
            self._wire.ask_all(commands)
