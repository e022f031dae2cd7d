"""`timeline top`: what a daemon is doing now, every few seconds.

Rule: rates are differences between two INFOs, so one look costs the daemon an INFO and a page of
the log. The hottest timelines are those of the newest thousand commits between two looks; where
there were more, that is a sample.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..cli.console import Output, Value, escaped, shown, size
from ..cli.verb import verb
from ..sources.daemon import Daemon
from ..sources.source import Commit
from ..sources.wire import Refused, Wire

_SAMPLE_COMMITS: Final = 1_000
_HOTTEST_SHOWN: Final = 10


class Look(NamedTuple):
    """The daemon at one moment of a clock that never goes back."""

    at: float
    figures: Mapping[str, str]  # of INFO, all sections
    consumers: Mapping[bytes, int]

    def number(self, name: str) -> float:
        return float(self.figures.get(name, 0))

    def counts(self, name: str) -> dict[str, int]:
        """A figure of INFO written as `bound=count,…`, in the same order."""
        pairs = [each.split("=") for each in self.figures.get(name, "").split(",") if each]
        return {bound: int(count) for bound, count in pairs}

    @property
    def lsn(self) -> int:
        return int(self.number("lsn"))


@verb(
    "top",
    directory=False,
    examples="""
timeline top --connect :7420                  until Ctrl-C
timeline top --connect :7420 --interval 5
timeline top --connect :7420 --once           one look, for a log
timeline top --connect :7420 --json           an object every interval""",
)
@click.option(
    "--interval", type=click.FloatRange(0.1), default=2.0, help="Seconds between two looks (2)."
)
@click.option("--once", is_flag=True, help="Print one look and end.")
def top(*, daemon: Wire, output: Output, interval: float, once: bool) -> None:
    """Watch a daemon: commits, appends and fan-out a second, fsyncs, what lags, what is hot."""
    before = _look(daemon)
    if once or output.as_json or not output.terminal:
        while True:
            time.sleep(interval)
            after = _look(daemon)
            _print(output, rates(before, after), _sample(daemon, before, after))
            if once:
                return
            before = after
    with Live(auto_refresh=False, screen=True) as live:
        live.update(Text("…"), refresh=True)
        while True:
            time.sleep(interval)
            after = _look(daemon)
            hottest = _sample(daemon, before, after)
            live.update(_screen(rates(before, after), hottest), refresh=True)
            before = after


def _look(daemon: Wire) -> Look:
    at = time.monotonic()
    figures = daemon.info("everything")
    return Look(at, figures, daemon.ask("LOG.CONSUMERS"))


def _sample(daemon: Wire, before: Look, after: Look) -> list[tuple[bytes, int]]:
    """The timelines with most appends in the sample, and how many."""
    start = max(before.lsn, after.lsn - _SAMPLE_COMMITS)
    try:
        commits = Daemon(daemon).log(start, after.lsn - start) if after.lsn > start else []
    except Refused:  # the log holds them no more
        commits = []
    return hottest(commits)


def hottest(commits: list[Commit]) -> list[tuple[bytes, int]]:
    found: Counter[bytes] = Counter()
    for commit in commits:
        for kind, name, numbers in commit.changes:
            if kind == "append":
                found[name] += numbers[1] - numbers[0] + 1
    return found.most_common(_HOTTEST_SHOWN)


def rates(before: Look, after: Look) -> dict[str, Any]:
    """What happened a second between two looks, and the state at the second one."""
    seconds = max(after.at - before.at, 1e-9)

    def rate(name: str) -> float:
        return max(0.0, after.number(name) - before.number(name)) / seconds

    groups = rate("groups")
    return {
        "commits": rate("lsn"),
        "appends": rate("appends"),
        "fan_out": rate("deliveries"),
        "commands": rate("total_commands_processed"),
        "errors": rate("total_error_replies"),
        "group_commits": rate("lsn") / groups if groups else 0.0,
        "fsync_usec": after.number("fsync_usec"),
        "fsync_p50_usec": _quantile(before, after, 0.5),
        "fsync_p99_usec": _quantile(before, after, 0.99),
        "connections": int(after.number("connected_clients")),
        "blocked": int(after.number("blocked_clients")),
        "lsn": after.lsn,
        "unsealed_lsn": after.lsn - int(after.number("sealed_lsn")),
        "unsealed_bytes": int(after.number("unsealed_bytes")),
        "memory": int(after.number("used_memory")),
        "index_lag": int(after.number("index_lag")),
        "index_lag_ms": int(after.number("index_lag_ms")),
        "writing": after.figures.get("writing", ""),
        "consumers": {
            name.decode("utf-8", "backslashreplace"): max(0, after.lsn - lsn)
            for name, lsn in after.consumers.items()
        },
    }


def _quantile(before: Look, after: Look, fraction: float) -> float:
    """An upper bound, in microseconds, of this `fraction` of the fsyncs between two looks.

    It is one of the bounds by which the daemon counts: the last one for anything slower. 0 if there
    were no fsyncs.
    """
    old, new = before.counts("fsync_usec_counts"), after.counts("fsync_usec_counts")
    if any(new[bound] < old.get(bound, 0) for bound in new):  # the daemon was restarted
        old = {}
    found = {bound: count - old.get(bound, 0) for bound, count in new.items()}
    wanted = sum(found.values()) * fraction
    last, seen = 0.0, 0
    for bound, count in found.items():
        last = last if bound == "more" else float(bound)
        seen += count
        if count and seen >= wanted:
            return last
    return 0.0


# --- how it is shown ------------------------------------------------------------------------------


def _lines(found: Mapping[str, Any]) -> dict[str, Value]:
    fsync = (
        f"{found['fsync_usec'] / 1000:,.2f} ms on average, p50 at most "
        f"{found['fsync_p50_usec'] / 1000:g} ms, p99 at most {found['fsync_p99_usec'] / 1000:g} ms"
    )
    return {
        "commits/s": f"{found['commits']:,.0f}, {found['group_commits']:,.1f} a group",
        "appends/s": f"{found['appends']:,.0f}",
        "fan-out/s": f"{found['fan_out']:,.0f}",
        "fsync": fsync if found["fsync_p50_usec"] else "none",
        "commands/s": f"{found['commands']:,.0f}, {found['errors']:,.0f} errors",
        "connections": f"{found['connections']:,}, {found['blocked']:,} blocked",
        "LSN": f"{found['lsn']:,}, {found['unsealed_lsn']:,} not sealed "
        f"({size(found['unsealed_bytes'])})",
        "memory": size(found["memory"]),
        "index behind": f"{found['index_lag']:,} commits, {found['index_lag_ms']:,} ms",
        "writing": found["writing"],
    }


def _print(output: Output, found: Mapping[str, Any], hot: list[tuple[bytes, int]]) -> None:
    if output.as_json:
        named = [{"timeline": name, "appends": count} for name, count in hot]
        output.line("", {**found, "hottest": named})
        return
    output.values(_lines(found))
    _rows(output, ("consumer", "commits behind"), list(found["consumers"].items()))
    _rows(output, ("hottest timelines", "appends"), [(escaped(name), n) for name, n in hot])


def _rows(output: Output, columns: tuple[str, str], rows: list[tuple[str, int]]) -> None:
    if rows:
        output.line("")
        output.rows(columns, rows)


def _screen(found: Mapping[str, Any], hot: list[tuple[bytes, int]]) -> Group:
    head = Table(box=None, show_header=False, pad_edge=False)
    head.add_column(style="bold")
    head.add_column()
    for name, value in _lines(found).items():
        head.add_row(name, Text(shown(value)))
    consumers = _table("consumer", "commits behind", list(found["consumers"].items()))
    hottest_ = _table("hottest timelines", "appends", [(escaped(name), n) for name, n in hot])
    return Group(head, Text(), consumers, Text(), hottest_, Text("\nCtrl-C ends", style="dim"))


def _table(one: str, other: str, rows: list[tuple[str, int]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(one, no_wrap=True)
    table.add_column(other, justify="right")
    for name, value in rows:
        table.add_row(Text(name), f"{value:,}")
    return table
