"""`timeline import`: reads an export, or streams of a Redis.

Rule: into a new DIRECTORY an export is loaded whole, with every number and time. Into an existing
store or a daemon its raw timelines are added, with the current time. After an interruption the same
call goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import cast

import click

import timeline
from timeline.admin.load import load
from timeline.admin.merge import Destination, EngineDestination, Merged, merge
from timeline.errors import CorruptError, UsageError, shown
from timeline.formats.export import ExportRecord, Header
from timeline.storage.files import new_directory, partial_of

from ..cli.consent import entries
from ..cli.console import Output
from ..cli.names import as_bytes
from ..cli.verb import verb
from ..sources.rawwire import RawWire, connect_to_redis
from ..sources.wire import Wire
from .exportfile import Reader
from .remote import DaemonDestination, redis_records


@verb(
    "import",
    new=True,
    examples="""
timeline import data all.jsonl                     a whole export into a new directory
timeline import data rooms.jsonl                   raw timelines into an existing store
timeline import --connect :7420 rooms.jsonl        into a daemon
timeline import data --redis redis://127.0.0.1:6379 orders audit
timeline import data --redis redis://127.0.0.1:6379 --prefix shop: @cart
zcat all.jsonl.gz | timeline import data -""",
)
@click.argument("sources", metavar="FILE|STREAM...", nargs=-1, required=True)
@click.option("--redis", metavar="URL", help="Import streams of this Redis instead of a file.")
@click.option(
    "--id-field",
    default="redis-id",
    show_default=True,
    help="The field that keeps the id of the entry in Redis; empty: none.",
)
@click.option("--prefix", default="", help="Put this before the names of a Redis's streams.")
def import_(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    sources: tuple[str, ...],
    redis: str | None,
    id_field: str,
    prefix: str,
) -> None:
    """Import a FILE of `timeline export` (-: standard input), or STREAMs of a Redis.

    A new DIRECTORY becomes the exported store, with every number and time. An existing store, or a
    daemon, gets the raw timelines added, with the current time.
    """
    if redis is None and len(sources) > 1:
        raise click.UsageError("name one FILE; several names are streams of a --redis URL")
    if redis is None and prefix:
        raise click.UsageError("--prefix is for streams of a --redis URL; a FILE has its names")
    with ExitStack() as stack, output.bar("importing records") as progress:

        def counted(records: Iterator[ExportRecord]) -> Iterator[ExportRecord]:
            for count, record in enumerate(records):
                if count % 1_000 == 0:
                    progress(count, 0)
                yield record

        if redis is not None:
            streams = _named(sources, prefix)
            source = stack.enter_context(connect_to_redis(redis))
            destination = _destination(stack, directory, daemon)
            reached = _reached(destination, streams, as_bytes(id_field))
            records = redis_records(source, streams, as_bytes(id_field), reached)
            done = merge(destination, counted(records))
        else:
            records = iter(Reader(_opened(stack, sources[0])))
            try:
                header = next(records, None)
            except CorruptError as error:
                raise click.ClickException(f"{sources[0]} is no export: {error}") from None
            if not isinstance(header, Header):
                raise click.ClickException(f"{sources[0]} is no export: it has no header")
            records = counted(chain([header], records))
            if directory is not None and not _occupied(directory) and header.exact:
                _load(directory, records, output)
                return
            if header.whole:
                raise UsageError(
                    "an export of a whole store is imported into a new directory; to add timelines "
                    "to an existing store, export them with --prefix"
                )
            done = merge(_destination(stack, directory, daemon), records)
    _report(output, done)


def _report(output: Output, done: Merged) -> None:
    there = f"; {done.skipped:,} were there" if done.skipped else ""
    timelines = "1 timeline" if done.timelines == 1 else f"{done.timelines:,} timelines"
    output.line(
        f"imported {entries(done.added)} of {timelines}{there}",
        {"timelines": done.timelines, "entries": done.added, "skipped": done.skipped},
    )


def _load(directory: Path, records: Iterator[ExportRecord], output: Output) -> None:
    try:
        with new_directory(directory, resume=True) as partial:
            count = load(partial, records)
    except KeyboardInterrupt:
        kept = partial_of(directory.absolute())
        output.note(f"{kept} is kept: the same call goes on from there; remove it to give up")
        raise
    output.line(
        f"imported {count:,} records into the new store {directory}; devices resync once",
        {"path": str(directory), "records": count},
    )


def _occupied(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _opened(stack: ExitStack, file: str) -> BufferedReader:
    if file == "-":
        if sys.stdin is None:
            raise click.ClickException("standard input is closed: name a file")
        return cast(BufferedReader, sys.stdin.buffer)
    return stack.enter_context(Path(file).open("rb"))


def _destination(stack: ExitStack, directory: Path | None, daemon: Wire | None) -> Destination:
    if daemon is not None:
        return DaemonDestination(stack.enter_context(RawWire(daemon.address)))
    assert directory is not None
    return EngineDestination(stack.enter_context(timeline.open(directory, search=False)).engine)


def _named(streams: tuple[str, ...], prefix: str) -> dict[bytes, bytes]:
    """Streams of a Redis, by their names here."""
    named = {as_bytes(prefix + stream): as_bytes(stream) for stream in streams}
    for name, stream in named.items():
        if name.startswith(b"@"):
            raise UsageError(
                f"{shown(stream)} cannot have this name here, where those that begin with @ belong "
                "to the store: put something before it by --prefix"
            )
    return named


def _reached(
    destination: Destination, streams: Iterable[bytes], id_field: bytes
) -> dict[bytes, bytes]:
    """The id in Redis of the last imported entry, for each stream."""
    found = {}
    for name in streams:
        head = destination.head(name)
        last = destination.entry(name, head) if head else None
        if last is not None and id_field and last[0] == id_field:
            found[name] = last[1]
        elif head:
            raise UsageError(
                f"{shown(name)} is there and was not "
                "imported from a Redis: import into another store, or delete it first"
            )
    return found
