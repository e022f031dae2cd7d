"""`timeline inspect DIR`: what a stopped store holds, timeline by timeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

import timeline

_COLUMNS = "{:>12} {:>12} {:>12}  {}"


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--prefix", default="", help="Only timelines whose name begins with this.")
def inspect(directory: Path, prefix: str) -> None:
    """List the timelines of the store in DIRECTORY, which no process may have open."""
    try:
        with timeline.open(directory, create=False) as database:
            click.echo(_COLUMNS.format("first", "head", "entries", "timeline"))
            for line in _lines(database, prefix):
                click.echo(line)
    except timeline.TimelineError as error:
        raise click.ClickException(str(error)) from error


def _lines(database: timeline.Database, prefix: str) -> Iterator[str]:
    count = entries = 0
    for name in database.timelines(prefix):
        extent = database.timeline(name).extent()
        count += 1
        entries += extent.length
        shown = name.decode("utf-8", "backslashreplace")
        yield _COLUMNS.format(extent.first, extent.head, extent.length, shown)
    yield f"{entries} entries in {count} timelines; {database.log.head} commits"
