"""`timeline ls`: the timelines by name, any number of them.

Rule: timelines are printed while they are read, so that a store of any size takes little memory.
With `--json` there is one object a line.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from sys import maxsize

import click

from timeline.admin.inspection import KINDS, kind_of

from ..cli.console import Output, escaped
from ..cli.names import Name, as_bytes
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.wire import Wire

_PREFIXES = {kind: prefix for prefix, kind in KINDS.items()}


@verb(
    "ls",
    examples="""
timeline ls data                        all timelines, without conversations
timeline ls data --kind conversation    conversations; likewise inbox, feed, home
timeline ls data audit:                 timelines that begin with audit:
timeline ls data --kind all --json      everything, an object a line""",
)
@click.argument("prefix", type=Name(), default="")
@click.option(
    "--kind",
    type=click.Choice(["timeline", *_PREFIXES, "all"]),
    help="Which to list. Default: timeline; all if PREFIX begins with @.",
)
@click.option("--limit", type=click.IntRange(1, maxsize), help="At most this many.")
def ls(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    prefix: str,
    kind: str | None,
    limit: int | None,
) -> None:
    """List timelines whose names begin with PREFIX: first number, head, entries, kind, name.

    For an in-box or a home, numbers are LSNs, and entries are references.
    """
    wanted = as_bytes(prefix)
    if kind is None:
        kind = "all" if wanted.startswith(b"@") else "timeline"
    start = _PREFIXES.get(kind, b"")
    if not wanted.startswith(start):
        wanted = start + wanted
    counted = 0
    with source_of(directory, daemon) as source:
        found = (each for each in source.timelines(wanted) if kind in ("all", kind_of(each.name)))
        for name, first, head, length in islice(found, limit):
            if not counted:
                output.line(f"{'first':>12} {'head':>12} {'entries':>12}  {'kind':<12}  name")
            counted += 1
            what = kind_of(name)
            output.line(
                f"{first:>12,} {head:>12,} {length:>12,}  {what:<12}  {escaped(name)}",
                {"name": name, "kind": what, "first": first, "head": head, "length": length},
            )
    output.note(f"{counted:,} in all" if counted != limit else f"{counted:,} shown")
