"""`timeline backup`: a consistent copy of a store, stopped or live.

Rule: the engine makes the copy. A daemon makes it on its own machine, below its option
`backup_directory`.
"""

from __future__ import annotations

from pathlib import Path

import click

import timeline

from ..cli.console import Output, size
from ..cli.verb import verb
from ..sources.wire import Wire


@verb(
    "backup",
    examples="""
timeline backup data /backups/monday                    a stopped store
timeline backup --connect 127.0.0.1:7420 monday         a daemon, below its backup_directory""",
)
@click.argument("target")
def backup(*, directory: Path | None, daemon: Wire | None, output: Output, target: str) -> None:
    """Back up the store in DIRECTORY, or of a daemon, to the new directory TARGET.

    A file is linked instead of copied if TARGET is on the disk of the store, or if an earlier
    backup next to TARGET has it.
    """
    with output.bar("backing up") as progress:
        if daemon is not None:
            reply = daemon.follow("BACKUP", target, progress=progress)
            found = dict(zip(reply[::2], reply[1::2], strict=True))
            path, lsn, count, files = found["path"], found["lsn"], found["bytes"], found["files"]
        else:
            assert directory is not None
            with timeline.open(directory, create=False, search=False) as database:
                manifest = database.backup(target, progress=progress)
            path, lsn = str(Path(target).absolute()), manifest.lsn
            count, files = manifest.size, len(manifest.files)
    output.line(
        f"backed up to {path}: {lsn:,} commits, {size(count)} in {files:,} files",
        {"path": path, "lsn": lsn, "bytes": count, "files": files},
    )
