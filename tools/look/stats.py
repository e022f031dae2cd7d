"""`timeline stats`: the figures of INFO once; of a directory, those of its engine."""

from __future__ import annotations

from pathlib import Path

import click

from timeline.options import Options

from ..cli.console import Output
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.wire import Wire


@verb(
    "stats",
    examples="""
timeline stats --connect :7420                everything
timeline stats --connect :7420 timeline       a section
timeline stats --connect :7420 --json | jq .timeline.index_lag
timeline stats data                           of a directory""",
    configured=True,
)
@click.argument("sections", nargs=-1)
def stats(
    *,
    directory: Path | None,
    daemon: Wire | None,
    options: Options,
    output: Output,
    sections: tuple[str, ...],
) -> None:
    """Show the figures of a daemon or a directory: of all sections, or of some SECTIONS."""
    with source_of(directory, daemon, options) as source:
        found = source.stats()
    for section in sections:
        if section not in found:
            raise click.UsageError(f"there is no section {section!r}: {', '.join(found)}")
    chosen = {name: found[name] for name in sections or found}
    if output.as_json:
        output.document(chosen)
        return
    for place, (name, figures) in enumerate(chosen.items()):
        values = {key: str(value) for key, value in figures.items()}
        output.values(values, title=("\n" if place else "") + name)
