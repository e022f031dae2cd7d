"""`timeline compact`: merges small segments, applies what was deleted, and gives space back.

Rule: answers stay the same. It may be stopped at any time: what is done is done.
"""

from __future__ import annotations

from pathlib import Path

import click

import timeline
from timeline.admin import compact as compaction
from timeline.admin.progress import Progress
from timeline.lsm.upkeep.merging import Gain
from timeline.options import Options

from ..cli.console import Output, size
from ..cli.names import Name, as_bytes
from ..cli.verb import verb
from ..sources.daemon import check_timeline
from ..sources.wire import Wire


@verb(
    "compact",
    examples="""
timeline compact data                           everything
timeline compact data audit                     one timeline
timeline compact data --prefix sensor: --dry-run
timeline compact --connect :7420 --prefix sensor:""",
    configured=True,
)
@click.argument("name", type=Name(), required=False)
@click.option("--prefix", default="", help="Only timelines whose names begin with this.")
@click.option("--dry-run", is_flag=True, help="Only say what it would free.")
def compact(
    *,
    directory: Path | None,
    daemon: Wire | None,
    options: Options,
    output: Output,
    name: str | None,
    prefix: str,
    dry_run: bool,
) -> None:
    """Merge the small segments of timeline NAME, or of all, and give space back.

    Answers stay the same. Ctrl-C stops it safely: what is done is done.
    """
    if name is not None and prefix:
        raise click.UsageError("name a timeline or a --prefix, not both")
    one, many = None if name is None else as_bytes(name), as_bytes(prefix)
    with output.bar("looking" if dry_run else "compacting") as progress:
        if daemon is not None:
            gain, fewer = _of_daemon(daemon, one, many, progress, dry_run=dry_run)
        else:
            assert directory is not None
            with timeline.open(directory, options, search=False, read_only=dry_run) as database:
                engine = database.engine
                do = compaction.gain if dry_run else compaction.compact_measured
                gain = do(engine, one, prefix=many, progress=progress)
                fewer = gain.segments - gain.after
    if dry_run:
        output.line(
            f"segments: {gain.segments:,} would become {gain.after:,}; {size(gain.freed)} of "
            f"{size(gain.size)} would be freed",
            {
                "segments": gain.segments,
                "after": gain.after,
                "bytes": gain.size,
                "freed": gain.freed,
            },
        )
    else:
        output.line(
            f"segments: {gain.segments:,} before, {fewer:,} fewer now; "
            f"about {size(gain.freed)} freed",
            {"segments": gain.segments, "fewer": fewer, "freed": gain.freed},
        )


def _of_daemon(
    daemon: Wire, name: bytes | None, prefix: bytes, progress: Progress, *, dry_run: bool
) -> tuple[Gain, int]:
    if name is not None:
        check_timeline(daemon, name)
    which = [name] if name is not None else [b"PREFIX", prefix] if prefix else []
    reply = daemon.follow("TIMELINE.GAIN", *which, progress=progress)
    gain = Gain(*(int(value) for value in reply[1::2]))
    if dry_run:
        return gain, 0
    return gain, int(daemon.follow("TIMELINE.COMPACT", *which, progress=progress))
