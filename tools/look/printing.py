"""What verbs that look have in common: what is named, and how an entry is shown.

Rule: one line an entry, whatever is in it: what would break a line or a terminal is escaped. Times
are in UTC.
"""

from __future__ import annotations

import click

from timeline.formats.names import EVENTS

from ..cli.console import Output, escaped, when
from ..cli.names import conversation_of
from ..sources.source import Commit, Line


def check_named(name: str | None, *, log: bool, events: bool) -> None:
    """Either a timeline is named, or it is the log that is meant."""
    if log and events:
        raise click.UsageError("--events are of a conversation: name it, and leave --log out")
    if log == (name is not None):
        raise click.UsageError("--log takes no name" if log else "name a timeline, or --log")


def timeline_of(name: bytes, *, events: bool) -> bytes:
    """The timeline that is meant: with `events` that of a conversation's, however it is named."""
    return EVENTS + conversation_of(name) if events else name


def as_text(value: str | bytes) -> str:
    """What the store calls something, which a daemon sends as bytes."""
    return value if isinstance(value, str) else value.decode()


def print_entry(output: Output, line: Line) -> None:
    fields = " ".join(
        click.style(escaped(name), fg="cyan") + "=" + escaped(value) for name, value in line.fields
    )
    head = click.style(line.id, bold=True)
    at = click.style(when(line.time), dim=True) + "  " if line.time else ""
    output.line(
        f"{head}  {at}{fields}",
        {
            "id": line.id,
            **({"time": line.time} if line.time else {}),
            "fields": [list(pair) for pair in line.fields],
        },
    )


def print_commit(output: Output, commit: Commit) -> None:
    parts = []
    for kind, name, numbers in commit.changes:
        first, last = (numbers + numbers)[:2] if numbers else (0, 0)
        span = "" if not numbers else f" {first}" if first == last else f" {first}-{last}"
        parts.append(f"{click.style(kind, fg='cyan')} {escaped(name) if name else '(gone)'}{span}")
    output.line(
        f"{click.style(str(commit.lsn), bold=True)}  {click.style(when(commit.time), dim=True)}  "
        + (", ".join(parts) or "state only"),
        {
            "lsn": commit.lsn,
            "time": commit.time,
            "changes": [
                {"kind": kind, "timeline": name or None, "numbers": numbers}
                for kind, name, numbers in commit.changes
            ],
        },
    )
