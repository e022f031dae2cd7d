"""`timeline trim`: removes the oldest entries of a timeline.

Rule: numbers are never given out twice, so the head stays where it is.
"""

from __future__ import annotations

from pathlib import Path

import click

from timeline.engine import Engine
from timeline.handle import TimelineHandle
from timeline.options import Options

from .amounts import AGE
from .console import Output
from .looking import as_bytes
from .verb import verb
from .wire import Wire


@verb(
    "trim",
    examples="""
timeline trim data audit --before 1000
timeline trim data audit --length 100000
timeline trim --connect :7420 audit --older-than 30d""",
)
@click.argument("name")
@click.option("--before", type=click.IntRange(0), help="Remove entries numbered below this.")
@click.option("--length", type=click.IntRange(0), help="Keep this many, the newest.")
@click.option("--older-than", type=AGE, help="Remove what is older, such as 30d.")
def trim(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    name: str,
    before: int | None,
    length: int | None,
    older_than: int | None,
) -> None:
    """Remove the oldest entries of timeline NAME, for good.

    They are read no more at once; their bytes leave the disk in time, or by `timeline compact`.
    """
    if sum(bound is not None for bound in (before, length, older_than)) != 1:
        raise click.UsageError("say what goes: one of --before, --length and --older-than")
    if daemon is not None:
        pairs = (("MINID", before), ("MAXLEN", length), ("MAXAGE", older_than))
        words = [word for key, value in pairs if value is not None for word in (key, str(value))]
        removed = int(daemon.call("TIMELINE.TRIM", name, *words))
    else:
        assert directory is not None
        # Without the layers above: the search index then finds in the log what was changed here.
        with Engine(directory, Options(create=False)) as engine:
            handle = TimelineHandle(engine, as_bytes(name))
            handle.retention()  # raises where there is none
            removed = handle.trim(before=before, length=length, age_ms=older_than)
    plural = "entry was" if removed == 1 else "entries were"
    output.line(f"{removed:,} {plural} removed", {"timeline": as_bytes(name), "removed": removed})
