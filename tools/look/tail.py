"""`timeline tail`: the newest entries of a timeline or commits of the log; `-f` follows them.

Rule: following goes on after the last entry that was shown, so none is left out and none comes
twice. A message that is edited or recalled meanwhile is shown again, as it is then; the events of
the conversation tell of it. Ctrl-C ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from timeline.formats.names import CONVERSATIONS

from ..cli.console import Output
from ..cli.names import Name, as_bytes
from ..cli.verb import verb
from ..sources.opening import source_of
from ..sources.source import Bounds, Line, Source
from ..sources.wire import Wire
from .printing import check_named, print_commit, print_entry, timeline_of


@verb(
    "tail",
    examples="""
timeline tail data audit                    the newest ten
timeline tail -f data @conv:team            and then new ones, until Ctrl-C
timeline tail -f --connect :7420 audit      of a daemon
timeline tail -f -n 0 --log data            commits as they come
timeline tail data team --events            what else happened in a conversation""",
)
@click.argument("name", type=Name(), required=False)
@click.option("-n", "count", type=click.IntRange(0), default=10, help="How many (10).")
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones, until Ctrl-C.")
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
    """Print the newest entries of the timeline NAME, the oldest of them first.

    A directory can be followed too, while another process writes to it. A message that is edited or
    recalled meanwhile is printed again.
    """
    check_named(name, log=log, events=events)
    with source_of(directory, daemon) as source:
        if name is None:
            _log(output, source, count, follow=follow)
        else:
            _entries(output, source, timeline_of(as_bytes(name), events=events), count, follow)


def _entries(output: Output, source: Source, name: bytes, count: int, follow: bool) -> None:
    newest = list(source.entries(name, Bounds(), max(count, 1), reverse=True))
    after = {name: newest[0].id if newest else "0-0"}
    if follow and name.startswith(CONVERSATIONS):
        events = timeline_of(name, events=True)
        after[events] = _newest(source, events)
    for line in reversed(newest[:count]):
        print_entry(output, line)
    while follow:
        for timeline, lines in source.entries_after(after).items():
            for line in lines:
                for each in [line] if timeline == name else _changed(source, name, line):
                    print_entry(output, each)
                after[timeline] = line.id


def _newest(source: Source, name: bytes) -> str:
    return next((line.id for line in source.entries(name, Bounds(), 1, reverse=True)), "0-0")


def _changed(source: Source, name: bytes, event: Line) -> Iterator[Line]:
    """The message that an event of the conversation changed, as it is now."""
    fields = dict(event.fields)
    if fields.get(b"@kind") in (b"edit", b"recall"):
        number = int(fields[b"@id"])
        yield from source.entries(name, Bounds(number, number), 1, reverse=False)


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
