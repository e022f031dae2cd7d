"""`timeline cat`: the entries of a timeline, or the commits of the log, one a line.

Rule: entries are printed while they are read, and only those that were asked for are read.
"""

from __future__ import annotations

from pathlib import Path

import click

from timeline.formats.keys import MAX

from ..cli.amounts import MOMENT
from ..cli.console import Output
from ..cli.names import Name, as_bytes
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.source import PAGE_ITEMS, Bounds, Source
from ..sources.wire import Wire
from .printing import check_named, print_commit, print_entry, timeline_of


@verb(
    "cat",
    examples="""
timeline cat data audit                          all entries, oldest first
timeline cat data audit --reverse --limit 10     the newest ten
timeline cat data @conv:team --since 2h          messages of the last two hours
timeline cat data team --events                  what else happened in a conversation
timeline cat data @user:bob                      references in an in-box; @home:bob
timeline cat data --log --from 1000 --limit 5    commits from LSN 1000 on
timeline cat --connect :7420 audit --json        for scripts, an object a line""",
)
@click.argument("name", type=Name(), required=False)
@click.option("--from", "first", type=click.IntRange(0, MAX), default=0, help="From this number.")
@click.option("--to", "last", type=click.IntRange(0, MAX), default=MAX, help="Up to this number.")
@click.option("--since", type=MOMENT, help="Committed then or later.")
@click.option("--until", type=MOMENT, help="Committed then or before.")
@click.option("--limit", type=click.IntRange(0), help="At most this many.")
@click.option("--reverse", is_flag=True, help="Newest first.")
@click.option("--log", is_flag=True, help="Commits of the log; numbers are LSNs.")
@click.option("--events", is_flag=True, help="Events of the conversation NAME.")
def cat(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    name: str | None,
    first: int,
    last: int,
    since: int | None,
    until: int | None,
    limit: int | None,
    reverse: bool,
    log: bool,
    events: bool,
) -> None:
    """Print the entries of the timeline NAME. Bounds are inclusive.

    The messages of conversation ID are the timeline @conv:ID. The in-box of user ID is @user:ID:
    it has references, and its numbers are LSNs. Likewise the posts of ID are @feed:ID, @home:ID
    refers to those of whom they follow, and @note:ID to what others did to theirs.
    """
    check_named(name, log=log, events=events)
    if log and (reverse or since is not None or until is not None):
        raise click.UsageError("the log is read forwards, with --from, --to and --limit only")
    with source_of(directory, daemon) as source:
        if log:
            after = first - 1 if first else source.log_start(0)
            _log(output, source, after, last, limit)
            return
        assert name is not None
        wanted = timeline_of(as_bytes(name), events=events)
        bounds = Bounds(first, last, since, until)
        for line in source.entries(wanted, bounds, limit, reverse=reverse):
            print_entry(output, line)


def _log(output: Output, source: Source, after: int, last: int, limit: int | None) -> None:
    left = MAX if limit is None else limit
    while left > 0 and after < last:
        page = source.log(after, min(left, PAGE_ITEMS))
        for commit in page:
            if commit.lsn > last:
                return
            print_commit(output, commit)
        if not page:
            return
        left -= len(page)
        after = page[-1].lsn
