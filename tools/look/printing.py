"""How an entry and a commit are shown.

Rule: an entry is one line, whatever is in it. What would break the line or the terminal is escaped.
Times are in UTC.
"""

from __future__ import annotations

import click

from timeline.formats.names import EVENTS

from ..cli.console import Output, escaped, when
from ..cli.names import conversation_of
from ..sources.source import Commit, Line


def check_named(name: str | None, *, log: bool, events: bool) -> None:
    """Raises unless either a timeline is named or the log is asked for."""
    if log and events:
        raise click.UsageError("--events needs a conversation: name it, and leave --log out")
    if log == (name is not None):
        raise click.UsageError("--log takes no name" if log else "name a timeline, or --log")


def timeline_of(name: bytes, *, events: bool) -> bytes:
    """The timeline `name`; with `events`, the events of the conversation `name`."""
    return EVENTS + conversation_of(name) if events else name


def as_text(value: str | bytes) -> str:
    """A word of the store, which a daemon sends as bytes."""
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
