"""`timeline tail`: the newest entries of a timeline or commits of the log, and with -f what comes.

Rule: nothing is left out and nothing shown twice between what there was and what comes: following
goes on behind the last that was shown. Ctrl-C ends it.
"""

from __future__ import annotations

from pathlib import Path

import click

from .cat import timeline_of
from .console import Output
from .looking import as_bytes, check_named, print_commit, print_entry, source_of
from .source import Bounds, Source
from .verb import verb
from .wire import Wire


@verb(
    "tail",
    examples="""
timeline tail data audit                    the newest ten
timeline tail -f data @conv:team            and then what comes, until Ctrl-C
timeline tail -f --connect :7420 audit      of a daemon
timeline tail -f -n 0 --log data            commits as they come
timeline tail data team --events            what else happened in a conversation""",
)
@click.argument("name", required=False)
@click.option("-n", "count", type=click.IntRange(0), default=10, help="How many (10).")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--log", is_flag=True, help="Commits of the log.")
@click.option("--events", is_flag=True, help="Events of the conversation NAME.")
def tail(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    name: str | None,
    count: int,
    follow: bool,
    log: bool,
    events: bool,
) -> None:
    """Print the newest entries of the timeline NAME, oldest of them first.

    A directory may be followed too, while another process writes to it.
    """
    check_named(name, log=log, events=events)
    with source_of(directory, daemon) as source:
        if name is None:
            _log(output, source, count, follow=follow)
        else:
            _entries(output, source, timeline_of(as_bytes(name), events=events), count, follow)


def _entries(output: Output, source: Source, name: bytes, count: int, follow: bool) -> None:
    newest = list(source.entries(name, Bounds(), max(count, 1), reverse=True))
    after = newest[0].id if newest else "0-0"
    for line in reversed(newest[:count]):
        print_entry(output, line)
    while follow:
        for line in source.entries_after(name, after):
            print_entry(output, line)
            after = line.id


def _log(output: Output, source: Source, count: int, *, follow: bool) -> None:
    head = source.head()
    after = source.log_start(max(0, head - count))
    for commit in source.log(after, count) if count else []:
        print_commit(output, commit)
    after = head
    while follow:
        for commit in source.log_after(after):
            print_commit(output, commit)
            after = commit.lsn
