"""What verbs that look have in common: a source, times on the command line, how an entry is shown.

Rule: one line an entry, whatever is in it: what would break a line or a terminal is escaped. Times
are in UTC.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from timeline import amounts
from timeline.errors import printable
from timeline.options import Options

from .console import Output, when
from .daemon import Daemon
from .directory import Directory
from .source import Commit, Line, Source
from .wire import Wire


@contextmanager
def source_of(
    directory: Path | None, daemon: Wire | None, options: Options | None = None
) -> Iterator[Source]:
    """The directory, opened read only with `options` or without its index, or the daemon, whichever
    was given.
    """
    if daemon is not None:
        yield Daemon(daemon)
        return
    assert directory is not None
    with Directory(directory, options) as opened:
        yield opened


class Moment(click.ParamType[int]):
    """A time: `2026-11-24`, `2026-11-24T23:50`, `90s`, `2h` or `3d` ago, or milliseconds."""

    name = "time"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        text = str(value)
        if text.isdigit() and len(text) > 8:
            return int(text)
        with suppress(ValueError):
            return round(time.time() * 1000) - amounts.milliseconds(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is no time: write 2026-11-24, 2026-11-24T23:50 (UTC), 2h (ago), or "
                "milliseconds since 1970",
                param,
                ctx,
            )
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


MOMENT = Moment()


def as_bytes(name: str) -> bytes:
    """A name as it was typed, whatever bytes that are."""
    return name.encode("utf-8", "surrogateescape")


def check_named(name: str | None, *, log: bool, events: bool) -> None:
    """Either a timeline is named, or it is the log that is meant."""
    if log and events:
        raise click.UsageError("--events are of a conversation: name it, and leave --log out")
    if log == (name is not None):
        raise click.UsageError("--log takes no name" if log else "name a timeline, or --log")


def as_text(value: str | bytes) -> str:
    """What the store calls something, which a daemon sends as bytes."""
    return value if isinstance(value, str) else value.decode()


def escaped(value: bytes) -> str:
    """A value in a line: quoted where a blank or a quote is in it, and escaped where it must be."""
    plain = printable(value)
    if plain and not set(plain) & set(" \"='"):
        return plain
    return '"' + plain.replace('"', '\\"') + '"'


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
