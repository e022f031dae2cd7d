"""`timeline bench`: how much this machine takes, in sends to groups and syncs of devices.

Rule: it measures how long clients wait. With `--rate`, a request counts from the moment when it was
due: a daemon that stalls also answers for the requests that it kept from being sent. The load ends
after `--seconds` or with Ctrl-C, and either way the result is printed.

In a running daemon it deletes its groups. Its users stay, since a store keeps users. They have the
same names each time, are in no conversation, and have no device.
"""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from .cli.console import Output, Value
from .cli.verb import STOPPED, verb
from .histogram import Histogram
from .sources.rawwire import RawWire, as_map
from .sources.wire import Refused, Wire

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
_JOINED_AT_ONCE: Final = 1_000  # users, by one command
_GROUP_SENDERS: Final = 10  # of each group, who send
_LOOK_SECONDS: Final = 0.2
_BAR_CHARACTERS: Final = 30  # of the longest bar


@dataclass(frozen=True, slots=True)
class Load:
    users: int
    groups: int
    size: int
    connections: int
    rate: float
    seconds: float
    bytes: int
    syncs: float
    tag: str  # of this run

    def user(self, number: int) -> str:
        return f"bench:u{number}"

    def group(self, number: int) -> str:
        return f"bench-{self.tag}:g{number}"


class People(NamedTuple):
    """The senders of each group, and all who are in a group."""

    senders: list[list[str]]
    everybody: list[str]


@dataclass(slots=True)
class Measured:
    sends: Histogram = field(default_factory=Histogram)
    syncs: Histogram = field(default_factory=Histogram)
    entries: int = 0  # that syncs brought


@verb(
    "bench",
    examples="""
timeline bench /var/lib                                   a daemon on a new directory in there
timeline bench . --users 1000 --group-size 200 --rate 500 --seconds 30
timeline bench --connect 127.0.0.1:7420 --seconds 5       a daemon that runs""",
)
@click.option(
    "--users",
    default=1_000,
    show_default=True,
    type=click.IntRange(2, 1_000_000),
    help="Users in all.",
)
@click.option(
    "--groups",
    default=100,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Groups in all.",
)
@click.option(
    "--group-size",
    default=10,
    show_default=True,
    type=click.IntRange(2, 100_000),
    help="Members of each group.",
)
@click.option(
    "--connections",
    default=16,
    show_default=True,
    type=click.IntRange(1, 1_000),
    help="Connections at a time.",
)
@click.option(
    "--rate",
    default=0.0,
    type=click.FloatRange(0),
    help="Sends a second in all; 0: as many as possible.",
)
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1, 86_400),
    help="How long.",
)
@click.option(
    "--bytes",
    "bytes_",
    default=100,
    show_default=True,
    type=click.IntRange(1, 1 << 20),
    help="Size of each message.",
)
@click.option(
    "--syncs",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1_000),
    help="Syncs for each send.",
)
def bench(
    *,
    directory: Path | None,
    daemon: Wire | None,
    output: Output,
    users: int,
    groups: int,
    group_size: int,
    connections: int,
    rate: float,
    seconds: float,
    bytes_: int,
    syncs: float,
) -> None:
    """Load a daemon with sends and syncs, and print rates and latencies.

    With DIRECTORY it starts a daemon of its own in there, and removes it afterwards.
    """
    if group_size > users:
        raise click.UsageError("--group-size is at most --users")
    tag = f"{random.getrandbits(32):08x}"
    load = Load(users, groups, group_size, connections, rate, seconds, bytes_, syncs, tag)
    with ExitStack() as stack:
        if daemon is not None:
            address = daemon.address
        else:
            assert directory is not None
            address = stack.enter_context(_own_daemon(directory))
        wire = stack.enter_context(RawWire(address))
        try:
            people = _set_up(wire, load, output)
            measured, took, stopped = _run(address, load, people, output)
        finally:
            _clear(address, load)
    _report(output, load, measured, took)
    if daemon is not None:
        output.note(
            f"{len(people.everybody):,} users named {load.user(0)} and so on stay, without a "
            "conversation; the next run has the same"
        )
    if stopped:
        raise click.exceptions.Exit(STOPPED)


@contextmanager
def _own_daemon(parent: Path) -> Iterator[str]:
    """A daemon on a new directory in `parent`; its address. Both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="timeline-bench-", dir=parent) as directory:
        words = ["--data", f"{directory}/data", "--port", "0", "--log-level", "error"]
        process = subprocess.Popen(  # noqa: S603  this very interpreter
            [sys.executable, "-m", "timeline_tools.lifeline", *words],
            stdin=subprocess.PIPE,  # closes when we end, however that is
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us only
        )
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().strip()
            if not ready.startswith("ready on "):
                raise click.ClickException("the daemon did not start: it says why above")
            yield ready.removeprefix("ready on ")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def _set_up(wire: RawWire, load: Load, output: Output) -> People:
    """Make the groups."""
    senders, everybody = [], set()
    with output.bar("making groups") as progress:
        for number in range(load.groups):
            members = random.sample(range(load.users), load.size)
            group = load.group(number)
            wire.ask("CONV.CREATE", group, "-")
            for at in range(0, load.size, _JOINED_AT_ONCE):
                some = members[at : at + _JOINED_AT_ONCE]
                wire.ask("CONV.JOIN", group, "-", *map(load.user, some))
            senders.append([load.user(member) for member in members[:_GROUP_SENDERS]])
            everybody.update(members)
            progress(number + 1, load.groups)
    return People(senders, [load.user(number) for number in everybody])


def _clear(address: str, load: Load) -> None:
    """Delete the groups, on a new connection: Ctrl-C may have come in the middle of an answer."""
    with RawWire(address) as wire, suppress(Refused):
        for number in range(load.groups):
            wire.ask("CONV.DELETE", load.group(number), "-")


def _run(address: str, load: Load, people: People, output: Output) -> tuple[Measured, float, bool]:
    """The result, the seconds it took, and whether Ctrl-C ended it."""
    stop = threading.Event()
    workers = [_Worker(address, load, people, number, stop) for number in range(load.connections)]
    begin = time.monotonic()
    stopped = False
    for worker in workers:
        worker.start()
    try:
        with output.bar("seconds") as progress:
            while (took := time.monotonic() - begin) < load.seconds and not stop.is_set():
                progress(int(took), int(load.seconds))
                stop.wait(min(_LOOK_SECONDS, load.seconds - took))
    except KeyboardInterrupt:
        stopped = True
    stop.set()
    for worker in workers:
        worker.join()
    took = time.monotonic() - begin
    for worker in workers:
        if worker.problem is not None:
            raise worker.problem
    return _together([worker.measured for worker in workers]), took, stopped


class _Worker(threading.Thread):
    """One connection: sends at its share of the rate, with syncs in between."""

    def __init__(
        self,
        address: str,
        load: Load,
        people: People,
        number: int,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"bench-{number}")
        self._load = load
        self._people = people
        self._stop_asked = stop
        self._wire = RawWire(address)
        self._random = random.Random(number)  # noqa: S311  the same load every time
        self._cursors: dict[str, bytes] = {}
        self.measured = Measured()
        self.problem: Exception | None = None

    def run(self) -> None:
        try:
            with self._wire:
                self._work()
        except Exception as problem:  # reported by the main thread
            self.problem = problem
            self._stop_asked.set()

    def _work(self) -> None:
        load = self._load
        pause = load.connections / load.rate if load.rate > 0 else 0.0
        due = time.perf_counter() + pause * self._random.random()
        owed = 0.0
        while not self._stop_asked.is_set():
            if pause:
                self._stop_asked.wait(max(0.0, due - time.perf_counter()))
                if self._stop_asked.is_set():
                    return
                self._send(due)
                due += pause
            else:
                self._send(time.perf_counter())
            owed += load.syncs
            while owed >= 1 and not self._stop_asked.is_set():
                self._sync()
                owed -= 1

    def _send(self, due: float) -> None:
        load = self._load
        number = self._random.randrange(load.groups)
        sender = self._random.choice(self._people.senders[number])
        self._wire.ask("CONV.SEND", load.group(number), sender, "*", "text", "x" * load.bytes)
        self.measured.sends.add(time.perf_counter() - due)

    def _sync(self) -> None:
        user = self._random.choice(self._people.everybody)
        device = self.name
        cursor = self._cursors.get(user)
        after = ("AFTER", cursor) if cursor else ()
        begin = time.perf_counter()
        page = as_map(self._wire.ask("USER.SYNC", user, device, *after, "COUNT", 100))
        self.measured.syncs.add(time.perf_counter() - begin)
        self.measured.entries += len(page["entries"])
        self._cursors[user] = page["cursor"]


def _together(parts: Sequence[Measured]) -> Measured:
    whole = Measured()
    for part in parts:
        whole.sends.merge(part.sends)
        whole.syncs.merge(part.syncs)
        whole.entries += part.entries
    return whole


def _report(output: Output, load: Load, measured: Measured, took: float) -> None:
    requests = {"send": measured.sends, "sync": measured.syncs}
    rows: list[dict[str, Any]] = []
    for name, histogram in requests.items():
        latencies = {key: histogram.quantile(share) for key, share in _QUANTILES.items()}
        latencies["max"] = histogram.largest
        rows.append(
            {
                "request": name,
                "count": histogram.count,
                "per second": round(histogram.count / took, 1),
                **{key: round(seconds * 1_000, 3) for key, seconds in latencies.items()},
            }
        )
    if output.as_json:
        for row, histogram in zip(rows, requests.values(), strict=True):
            row["microseconds"] = {str(key): n for key, n in histogram.doublings().items()}
        output.document(rows)
        return
    output.rows(tuple(rows[0]), [tuple(row.values()) for row in rows])
    _show_histograms(output, requests)
    output.note(
        f"{took:.1f} s, {load.connections} connections, {load.groups} groups of {load.size}; "
        f"latencies in ms; syncs brought {measured.entries:,} entries"
    )


def _show_histograms(output: Output, requests: Mapping[str, Histogram]) -> None:
    """How many requests took how long: a line for each doubling, with a bar for its share."""
    found = {name: histogram.doublings() for name, histogram in requests.items()}
    bounds = sorted(set().union(*found.values()))
    table: list[tuple[Value, ...]] = []
    for bound in bounds:
        row: list[Value] = [_span(bound)]
        for name, histogram in requests.items():
            count = found[name].get(bound, 0)
            share = count / max(1, histogram.count)
            row += [count, "▇" * math.ceil(share * _BAR_CHARACTERS)]
        table.append(tuple(row))
    heads = [head for name in requests for head in (f"{name}s", "")]
    output.rows(("up to", *heads), table, title="\nLatency")


def _span(microseconds: int) -> str:
    if microseconds < 1_000:
        return f"{microseconds} µs"
    return (
        f"{microseconds / 1_000:.3g} ms"
        if microseconds < 1 << 20
        else f"{microseconds / 1e6:.3g} s"
    )
