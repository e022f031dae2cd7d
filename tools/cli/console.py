"""What the tools print: tables and lines for people, JSON for scripts.

Rule: a verb gives its result once, as rows or as names and values, and `Output` prints it for
people or as JSON. JSON is one document, or one object a line where there may be many. Results go to
standard output, progress and errors to standard error, so that a pipe gets the result only. Colours
are for terminals only. What is not UTF-8 is escaped, in JSON too.

Exit status: 0 done and nothing wrong found, 1 refused or something wrong found, 2 a mistake in the
call, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from timeline.errors import printable, reason

_WIDE_COLUMNS = 10_000

Value = str | int | float | bool | bytes | None


def shown(value: Value) -> str:
    """A value as text for people."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return printable(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return printable(str(value).encode("utf-8", "surrogateescape"))


def escaped(value: bytes) -> str:
    """A value in a line: quoted if it has a blank or a quote in it, and escaped if need be."""
    plain = printable(value)
    if plain and not set(plain) & set(" \"='"):
        return plain
    return '"' + plain.replace('"', '\\"') + '"'


def error_line(problem: Exception) -> str:
    """An error in one line, with what to do about it where that is known."""
    if isinstance(problem, OSError) and problem.strerror:
        where = problem.filename and shown(os.fsencode(problem.filename))
        return ": ".join(part for part in (where, reason(problem)) if part)
    return shown(" ".join(str(problem).splitlines()))


def size(count: int) -> str:
    """A number of bytes for people: `1.5 MiB`."""
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def when(milliseconds: int) -> str:
    """A time for people, in UTC; empty where none is known."""
    if not milliseconds:
        return ""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(value: Any) -> Any:  # noqa: ANN401  whatever JSON can hold
    """A value as JSON can hold it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {shown(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


class Output:
    """Prints for people, or with `as_json` for scripts."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = _WIDE_COLUMNS  # a script gets whole lines
        # A table is never cut either: the terminal wraps its lines.
        self._tables = Console(highlight=False, soft_wrap=True, width=_WIDE_COLUMNS)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def terminal(self) -> bool:
        """Whether the output goes to a terminal."""
        return self._console.is_terminal

    def rows(
        self, columns: Sequence[str], rows: Iterable[Sequence[Value]], *, title: str = ""
    ) -> None:
        """A table; with JSON an array of objects."""
        if self.as_json:
            self.document([dict(zip(columns, row, strict=True)) for row in rows])
            return
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        kept = [list(row) for row in rows]
        for index, column in enumerate(columns):
            numeric = bool(kept) and all(
                isinstance(row[index], (int, float)) and not isinstance(row[index], bool)
                for row in kept
            )
            table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
        for row in kept:
            table.add_row(*[Text(shown(value)) for value in row])
        self._tables.print(table)

    def values(self, values: Mapping[str, Value], *, title: str = "") -> None:
        """Names and values, one a line; with JSON an object."""
        if self.as_json:
            self.document(values)
            return
        table = Table(
            title=title or None, title_justify="left", box=None, show_header=False, pad_edge=False
        )
        table.add_column(style="bold", overflow="fold")
        table.add_column(overflow="fold")
        for name, value in values.items():
            table.add_row(name, Text(shown(value)))
        self._console.print(table)

    def line(self, text: str, document: Mapping[str, Any] | None = None) -> None:
        """One line of many; with JSON `document` in its place, or nothing."""
        if not self.as_json:
            click.echo(text)
        elif document is not None:
            click.echo(json.dumps(plain(document), ensure_ascii=False))

    def document(self, document: Any) -> None:  # noqa: ANN401  whatever JSON can hold
        click.echo(json.dumps(plain(document), ensure_ascii=False, indent=2))

    def note(self, text: str) -> None:
        """Something for people only, on standard error."""
        if not self.as_json:
            self._errors.print(Text(text))

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar of one task. Call what it gives with how much is done, and with the total
        or 0 if that is not known.
        """
        with self.progress() as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total or None)

    def progress(self) -> Progress:
        """Progress bars on standard error, shown only on a terminal."""
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._errors,
            transient=True,
            disable=self.as_json or not self._errors.is_terminal,
        )
