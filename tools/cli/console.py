"""What the tools print: tables and lines for people, JSON for scripts.

Rule: a verb says what it found once, as rows or as names and values, and `Output` prints it either
way: with `--json` one document, or one a line where there may be no end of them. Tables go to
standard output, progress and problems to standard error, so that a pipe gets the result alone;
colours are only where a terminal is. Names and values that are not UTF-8 are escaped for people and
for JSON alike.

Exit status: 0 done and nothing found wrong, 1 refused or something found, 2 a mistake in the call,
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
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

from timeline.errors import printable

_WIDE_COLUMNS = 10_000
_HINTS = {
    errno.EACCES: "run as the owner of the store",
    errno.ENOSPC: "free some space",
    errno.EFBIG: "a limit on the size of files is set here (ulimit -f)",
}

Value = str | int | float | bool | bytes | None


def shown(value: Value) -> str:
    """A value as people read it."""
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
    """A value in a line: quoted where a blank or a quote is in it, and escaped where it must be."""
    plain = printable(value)
    if plain and not set(plain) & set(" \"='"):
        return plain
    return '"' + plain.replace('"', '\\"') + '"'


def told(problem: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(problem, OSError) and problem.strerror:
        where = problem.filename and shown(os.fsencode(problem.filename))
        hint = _HINTS.get(problem.errno or 0)
        return ": ".join(part for part in (where, problem.strerror, hint) if part)
    return shown(" ".join(str(problem).splitlines()))


def size(count: int) -> str:
    """Bytes as people read them."""
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def when(milliseconds: int) -> str:
    """A time as people read it, in UTC; nothing where none is known."""
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
            self._console.width = _WIDE_COLUMNS  # nothing is cut that a script may want
        # Of a wide one nothing is cut either: the terminal breaks its lines.
        self._tables = Console(highlight=False, soft_wrap=True, width=_WIDE_COLUMNS)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def terminal(self) -> bool:
        """Whether somebody reads it on a terminal."""
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
        """What a person wants to know and no script reads."""
        if not self.as_json:
            self._errors.print(Text(text))

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """As `progress`, of one thing: to be told how much is done, and of how much; 0 where that
        is not known.
        """
        with self.progress() as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total or None)

    def progress(self) -> Progress:
        """A bar on standard error, which shows only on a terminal."""
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
