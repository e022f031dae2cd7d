"""`timeline export`: a store, or raw timelines of one, as lines of JSON or in binary form.

Rule: records are streamed, in little memory. FILE appears when it is whole, and replaces another
only with `--overwrite`. After Ctrl-C or a kill, the same call goes on from FILE.part, unless the
store has changed since. A directory is only read, so it may be in use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path

import click

import timeline
from timeline.admin.export import export_records
from timeline.errors import NotFoundError, shown
from timeline.formats.export import ExportRecord

from ..cli.console import Output
from ..cli.names import as_bytes
from ..cli.verb import verb
from ..sources.rawwire import RawWire
from ..sources.wire import Wire
from . import exportfile
from .remote import daemon_records


@verb(
    "export",
    examples="""
timeline export data all.jsonl                          everything, to make the same store again
timeline export data all.bin --binary                   the same, smaller and faster
timeline export data rooms.jsonl --prefix room:         raw timelines only
timeline export --connect :7420 rooms.jsonl             raw timelines of a daemon, without times
timeline export data - | jq -c 'select(.fields)'        to a pipe""",
)
@click.argument("file")
@click.option("--prefix", help="Only raw timelines whose names begin with this.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option("--binary", is_flag=True, help="The binary form instead of lines of JSON.")
def export(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    file: str,
    prefix: str | None,
    overwrite: bool,
    binary: bool,
) -> None:
    """Write the store in DIRECTORY, or raw timelines of a daemon, to FILE (-: standard output).

    The directory may be in use: the export is the store as it was when the export began. If
    FILE.part is there from an export that was interrupted, it goes on from there.
    """
    if prefix is not None and prefix.startswith("@"):
        raise click.UsageError("conversations and users are exported with the whole store")
    if Path(file).is_dir():
        raise click.UsageError(f"{file} is a directory: name a file in it")
    if file != "-":
        exportfile.refuse_existing(Path(file), overwrite=overwrite)
    with ExitStack() as stack, output.bar("exporting records") as progress:
        records = _some(_records(stack, directory, daemon, prefix), prefix)

        def tell(count: int) -> None:
            progress(count, 0)

        count = before = 0
        try:
            if file == "-":
                _to_pipe(records, tell, binary=binary)
            else:
                count, before = exportfile.write(
                    Path(file), records, binary=binary, overwrite=overwrite, tell=tell
                )
        except KeyboardInterrupt:
            if file != "-":
                output.note(f"{file}.part is kept: the same call goes on from there")
            raise
    if file != "-":
        _report(output, file, count, before)
    if directory is None and prefix is None:
        output.note("conversations and users are not in it: export the daemon's directory")


def _records(
    stack: ExitStack, directory: Path | None, daemon: Wire | None, prefix: str | None
) -> Iterator[ExportRecord]:
    """The records to export. `stack` closes what is opened for them."""
    if daemon is not None:
        wire = stack.enter_context(RawWire(daemon.address))
        return daemon_records(wire, as_bytes(prefix or ""))
    assert directory is not None
    database = stack.enter_context(timeline.open(directory, read_only=True, search=False))
    wanted = None if prefix is None else as_bytes(prefix)
    return stack.enter_context(closing(export_records(database.engine, wanted)))


def _some(records: Iterator[ExportRecord], prefix: str | None) -> Iterator[ExportRecord]:
    """`records`. Raises `NotFoundError` if a `prefix` was given and nothing begins with it."""
    header, first = next(records), next(records, None)
    if first is None and prefix:
        raise NotFoundError(
            f"there is no timeline whose name begins with {shown(as_bytes(prefix))}"
        )
    return chain([header] if first is None else [header, first], records)


def _report(output: Output, file: str, count: int, before: int) -> None:
    size = Path(file).stat().st_size
    further = f", {before:,} of them were there" if before else ""
    output.line(
        f"exported to {file}: {count:,} records in {size:,} bytes{further}",
        {"path": file, "records": count, "resumed": before, "bytes": size},
    )


def _to_pipe(records: Iterator[ExportRecord], tell: Callable[[int], None], *, binary: bool) -> None:
    if sys.stdout is None:
        raise click.ClickException("standard output is closed: name a file")
    try:
        writer = exportfile.Writer(sys.stdout.buffer, binary=binary)
        count = 0
        for count, record in enumerate(records, 1):
            writer.add(record)
            if count % 1_000 == 0:
                tell(count)
        writer.end(count)
    except BrokenPipeError:  # the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(1) from None
