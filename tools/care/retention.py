"""`timeline retention`: shows or sets how much a timeline keeps.

Rule: a bound that is not named stays as it is; without any it only shows. Bounds that would remove
entries are set only after somebody agreed: see `consent`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import click

from timeline.amounts import time_shown
from timeline.embedded.handle import TimelineHandle
from timeline.engine.engine import Engine
from timeline.engine.openedreadonly import ReadOnlyEngine
from timeline.formats.keys import MAX
from timeline.formats.rows import NO_RETENTION, Retention
from timeline.options import Options

from ..cli.amounts import AGE, SIZE
from ..cli.consent import ask, consent, entries
from ..cli.console import Output, escaped, size
from ..cli.names import Name, as_bytes
from ..cli.verb import verb
from ..sources.daemon import check_timeline
from ..sources.wire import Wire


@verb(
    "retention",
    examples="""
timeline retention data audit                            what it is
timeline retention data audit --max-age 30d --max-length 1000000
timeline retention data audit --max-length 1000 --dry-run     how many entries would go
timeline retention --connect :7420 audit --max-bytes 10GiB --yes
timeline retention data audit --none                     keep everything""",
)
@click.argument("name", type=Name())
@click.option("--max-age", type=AGE, help="Keep entries this long, such as 30d; 0s: for ever.")
@click.option("--max-length", type=click.IntRange(0, MAX), help="Keep this many entries; 0: all.")
@click.option("--max-bytes", type=SIZE, help="Keep about this much, such as 10GiB; 0: all.")
@click.option("--none", "no_bounds", is_flag=True, help="Keep everything.")
@consent
def retention(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    name: str,
    max_age: int | None,
    max_length: int | None,
    max_bytes: int | None,
    no_bounds: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Show or set how much timeline NAME keeps. Entries beyond the bounds are removed for good.

    If the new bounds remove entries, it says how many, and asks. Where nobody can answer it needs
    --yes.
    """
    named = (max_age, max_length, max_bytes)
    if no_bounds and any(bound is not None for bound in named):
        raise click.UsageError("--none goes alone")
    changes = Retention(0, 0, 0) if no_bounds else named
    with ExitStack() as stack:
        kept: _Kept
        if daemon is not None:
            kept = _OfDaemon(daemon, name)
        else:
            assert directory is not None
            only_look = dry_run or changes == (None, None, None)
            # Without the index: it finds in the log later what is changed here.
            opening = ReadOnlyEngine if only_look else Engine
            engine = stack.enter_context(opening(directory, Options(create=False)))
            kept = _OfDirectory(engine, name)
        now = kept.bounds()
        wanted = _merged(now, changes)
        excess = kept.excess(wanted)
        if dry_run:
            text = f"{entries(excess)} would be removed"
            output.line(text, {"timeline": as_bytes(name), "would_remove": excess})
            return
        if wanted != now:
            question = f"{entries(excess)} of {escaped(as_bytes(name))} will be removed"
            ask(output, question, excess, yes=yes)
            kept.change(wanted)
        _show(output, name, wanted, excess)


class _Kept(Protocol):
    """The retention of a timeline, in a directory or in a daemon."""

    def bounds(self) -> Retention: ...
    def excess(self, bounds: Retention) -> int: ...
    def change(self, bounds: Retention) -> None: ...


class _OfDirectory:
    def __init__(self, engine: Engine, name: str) -> None:
        self._handle = TimelineHandle(engine, as_bytes(name))

    def bounds(self) -> Retention:
        return self._handle.retention()

    def excess(self, bounds: Retention) -> int:
        age, length, bytes_ = (bound or None for bound in bounds)
        return self._handle.excess(age_ms=age, length=length, bytes_=bytes_)

    def change(self, bounds: Retention) -> None:
        self._handle.set_retention(age_ms=bounds.age, length=bounds.length, bytes_=bounds.size)


class _OfDaemon:
    def __init__(self, daemon: Wire, name: str) -> None:
        self._daemon = daemon
        self._name = name

    def bounds(self) -> Retention:
        check_timeline(self._daemon, as_bytes(self._name))
        reply = self._daemon.call("TIMELINE.RETENTION", self._name)
        found = dict(zip(reply[::2], reply[1::2], strict=True))
        return Retention(*(int(found[key]) for key in ("maxage", "maxlen", "maxbytes")))

    def excess(self, bounds: Retention) -> int:
        words = _words(bounds, leave_out=0)
        return int(self._daemon.call("TIMELINE.EXCESS", self._name, *words)) if words else 0

    def change(self, bounds: Retention) -> None:
        self._daemon.call("TIMELINE.RETENTION", self._name, *_words(bounds))


def _words(bounds: Retention, leave_out: int | None = None) -> list[str]:
    pairs = zip(("MAXAGE", "MAXLEN", "MAXBYTES"), bounds, strict=True)
    return [word for key, value in pairs if value != leave_out for word in (key, str(value))]


def _merged(bounds: Retention, changes: tuple[int | None, ...]) -> Retention:
    pairs = zip(bounds, changes, strict=True)
    return Retention(*(old if new is None else new for old, new in pairs))


def _show(output: Output, name: str, bounds: Retention, excess: int) -> None:
    parts = []
    if bounds.age:
        parts.append(f"for {time_shown(bounds.age)}")
    if bounds.length:
        parts.append(f"{bounds.length:,} entries")
    if bounds.size:
        parts.append(size(bounds.size))
    text = "everything is kept" if bounds == NO_RETENTION else "kept: " + ", ".join(parts)
    output.line(
        f"{escaped(as_bytes(name))}: {text}",
        {
            "timeline": as_bytes(name),
            "max_age_ms": bounds.age,
            "max_length": bounds.length,
            "max_bytes": bounds.size,
            "beyond": excess,
        },
    )
    if excess:
        output.note(f"{entries(excess)} beyond that will be removed soon")
