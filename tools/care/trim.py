"""`timeline trim`: removes the oldest entries of a timeline.

Rule: numbers are never given out twice, so the head stays. Nothing is removed before somebody
agreed: see `consent`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from timeline.embedded.calls.arguments import writable
from timeline.embedded.handle import TimelineHandle
from timeline.engine.engine import Engine
from timeline.engine.openedreadonly import ReadOnlyEngine
from timeline.formats.names import CONVERSATIONS
from timeline.options import Options

from ..cli.amounts import AGE
from ..cli.consent import ask, consent, entries
from ..cli.console import Output, escaped
from ..cli.names import Name, as_bytes
from ..cli.verb import verb
from ..sources.daemon import check_timeline
from ..sources.wire import Wire


@verb(
    "trim",
    examples="""
timeline trim data audit --before 1000
timeline trim data audit --length 100000 --dry-run        how many entries would go
timeline trim --connect :7420 audit --older-than 30d --yes""",
)
@click.argument("name", type=Name())
@click.option("--before", type=click.IntRange(0), help="Remove entries numbered below this.")
@click.option("--length", type=click.IntRange(0), help="Keep the newest, this many.")
@click.option("--older-than", type=AGE, help="Remove entries older than this, such as 30d.")
@consent
def trim(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    name: str,
    before: int | None,
    length: int | None,
    older_than: int | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove the oldest entries of timeline NAME, for good.

    It says how many, and asks. Where nobody can answer it needs --yes. The entries are gone for
    readers immediately; their bytes leave the disk later, or with `timeline compact`.
    """
    if sum(bound is not None for bound in (before, length, older_than)) != 1:
        raise click.UsageError("say what to remove: one of --before, --length and --older-than")
    if as_bytes(name).startswith(CONVERSATIONS):
        raise click.ClickException("messages of a conversation are removed by `timeline retention`")
    writable(as_bytes(name))
    with ExitStack() as stack:
        if daemon is not None:
            count, remove = _of_daemon(daemon, name, before, length, older_than)
        else:
            assert directory is not None
            # Without the index: it finds in the log later what is changed here.
            opening = ReadOnlyEngine if dry_run else Engine
            engine = stack.enter_context(opening(directory, Options(create=False)))
            count, remove = _of_directory(engine, name, before, length, older_than)
        if dry_run:
            _report(output, name, count, "would be removed", "would_remove")
            return
        ask(
            output, f"{entries(count)} of {escaped(as_bytes(name))} will be removed", count, yes=yes
        )
        removed = remove()
        _report(output, name, removed, "was removed" if removed == 1 else "were removed", "removed")


Trim = tuple[int, Callable[[], int]]  # how many would go, and what removes them


def _of_daemon(daemon: Wire, name: str, *bounds: int | None) -> Trim:
    pairs = zip(("MINID", "MAXLEN", "MAXAGE"), bounds, strict=True)
    words = [word for key, value in pairs if value is not None for word in (key, str(value))]
    check_timeline(daemon, as_bytes(name))
    count = int(daemon.call("TIMELINE.EXCESS", name, *words))
    return count, lambda: int(daemon.call("TIMELINE.TRIM", name, *words))


def _of_directory(
    engine: Engine, name: str, before: int | None, length: int | None, age_ms: int | None
) -> Trim:
    handle = TimelineHandle(engine, as_bytes(name))
    count = handle.excess(before=before, length=length, age_ms=age_ms)
    return count, lambda: handle.trim(before=before, length=length, age_ms=age_ms)


def _report(output: Output, name: str, count: int, what: str, key: str) -> None:
    output.line(f"{entries(count)} {what}", {"timeline": as_bytes(name), key: count})
