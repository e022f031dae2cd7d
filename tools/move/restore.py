"""`timeline restore`: makes a store from a backup.

Rule: the new store has an epoch of its own. Devices may have seen more than the backup holds, so
they resync; with the old epoch they would miss what is new.
"""

from __future__ import annotations

from pathlib import Path

import click

import timeline

from ..cli.console import Output
from ..cli.verb import ExistingDirectory, verb


@verb(
    "restore",
    directory=False,
    daemon=False,
    examples="""
timeline restore /backups/monday data       data is new or empty
timelined --data data                       serve it""",
)
@click.argument("backup", type=ExistingDirectory())
@click.argument("target", type=click.Path(path_type=Path))
def restore(*, output: Output, backup: Path, target: Path) -> None:
    """Make a store from BACKUP in the new directory TARGET. Every device resyncs once."""
    with output.bar("restoring") as progress:
        manifest = timeline.restore(backup, target, progress=progress)
    output.line(
        f"restored to {target.absolute()}: {manifest.lsn:,} commits; devices resync once",
        {"path": str(target.absolute()), "lsn": manifest.lsn, "made": manifest.time},
    )
