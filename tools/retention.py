"""`timeline retention`: shows or sets to what a timeline is trimmed by itself.

Rule: what is not named stays as it is; without a bound named it only shows.
"""

from __future__ import annotations

from pathlib import Path

import click

import timeline
from timeline.engine import Engine
from timeline.formats.keys import MAX
from timeline.formats.rows import NO_RETENTION, Retention
from timeline.handle import TimelineHandle
from timeline.options import Options

from .amounts import AGE, SIZE, age
from .console import Output, size
from .looking import as_bytes, escaped
from .verb import verb
from .wire import Wire


@verb(
    "retention",
    examples="""
timeline retention data audit                            what it is
timeline retention data audit --max-age 30d --max-length 1000000
timeline retention --connect :7420 audit --max-bytes 10GiB
timeline retention data audit --none                     keep everything""",
)
@click.argument("name")
@click.option("--max-age", type=AGE, help="Keep entries for so long, such as 30d; 0s: for ever.")
@click.option("--max-length", type=click.IntRange(0, MAX), help="Keep so many entries; 0: all.")
@click.option("--max-bytes", type=SIZE, help="Keep about so much, such as 10GiB; 0: all.")
@click.option("--none", "no_bounds", is_flag=True, help="Keep everything.")
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
) -> None:
    """Show or set the bounds to which timeline NAME is trimmed by itself."""
    named = (max_age, max_length, max_bytes)
    if no_bounds and any(bound is not None for bound in named):
        raise click.UsageError("--none goes alone")
    changes = Retention(0, 0, 0) if no_bounds else named
    if daemon is not None:
        bounds = _of_daemon(daemon, name, changes)
    else:
        assert directory is not None
        if changes == (None, None, None):
            with timeline.open(directory, read_only=True, search=False) as database:
                _show(output, name, database.timeline(as_bytes(name)).retention())
            return
        # Without the layers above: the search index then finds in the log what was changed here.
        with Engine(directory, Options(create=False)) as engine:
            handle = TimelineHandle(engine, as_bytes(name))
            bounds = handle.retention()
            wanted = _merged(bounds, changes)
            if wanted != bounds:
                handle.set_retention(age_ms=wanted.age, length=wanted.length, bytes_=wanted.size)
                bounds = wanted
    _show(output, name, bounds)


def _of_daemon(daemon: Wire, name: str, changes: tuple[int | None, ...]) -> Retention:
    pairs = zip(("MAXAGE", "MAXLEN", "MAXBYTES"), changes, strict=True)
    words = [word for key, value in pairs if value is not None for word in (key, str(value))]
    reply = daemon.call("TIMELINE.RETENTION", name, *words)
    found = dict(zip(reply[::2], reply[1::2], strict=True))
    return Retention(*(int(found[key]) for key in ("maxage", "maxlen", "maxbytes")))


def _merged(bounds: Retention, changes: tuple[int | None, ...]) -> Retention:
    pairs = zip(bounds, changes, strict=True)
    return Retention(*(old if new is None else new for old, new in pairs))


def _show(output: Output, name: str, bounds: Retention) -> None:
    parts = []
    if bounds.age:
        parts.append(f"for {age(bounds.age)}")
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
        },
    )
