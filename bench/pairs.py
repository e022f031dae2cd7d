"""Drives two servers in turn with one load generator and compares them pair by pair.

Rule: what counts is the ratio of two runs side by side on the same machine, and of those the
median; absolute figures of shared machines mean little. What was sent is checked to have been done,
so that a fast refusal is never taken for speed.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench.servers import Server

CONNECTIONS: Final = 50
_RUN_SECONDS: Final = 300.0
_WARM_UP: Final = 10  # a run's requests divided by this go ahead of the first pair


@dataclass(frozen=True, kw_only=True)
class Work:
    """One row of the table: the command that `redis-benchmark` repeats."""

    name: str
    command: tuple[str, ...]
    requests: int  # of one run; some two seconds on two cores
    pipeline: int = 1
    random_up_to: int = 0  # `__rand_int__` in the command is a number below this
    prepare: Callable[[Server], None] = lambda _server: None
    # Raises when the server has not done what `sent` requests, warm-up included, asked for.
    check: Callable[[Server, int], None] = lambda _server, _sent: None


@dataclass(frozen=True)
class Run:
    """What one turn of one server came to."""

    per_second: float
    cpu_us: float  # of the server, for each command
    p99_ms: float = 0.0  # of a command's latency, where it was measured


@dataclass
class Comparison:
    """The turns of both sides, in the order they were taken."""

    work: str
    peer: list[Run] = field(default_factory=list)
    ours: list[Run] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ours through the peer's, pair by pair: above one we are faster."""
        return [
            ours.per_second / peer.per_second
            for peer, ours in zip(self.peer, self.ours, strict=True)
        ]

    @property
    def ratio(self) -> float:
        return median(self.ratios)


def compare(
    work: Work, peer: Server, ours: Server, pairs: int, requests: int | None = None
) -> Comparison:
    """Measure `work` on both sides in turn: peer, ours, peer, ours, …"""
    requests = _whole_pipelines(requests or work.requests, work)
    warm_up = _whole_pipelines(max(requests // _WARM_UP, CONNECTIONS * work.pipeline), work)
    sides = (peer, ours)
    for side in sides:
        work.prepare(side)
        drive(work, side, warm_up)
    comparison = Comparison(work.name)
    for _ in range(pairs):
        comparison.peer.append(drive(work, peer, requests))
        comparison.ours.append(drive(work, ours, requests))
    for side in sides:
        work.check(side, warm_up + pairs * requests)
    return comparison


def _whole_pipelines(requests: int, work: Work) -> int:
    """What `redis-benchmark` makes of a number of requests: it fills the last pipeline."""
    return -(-requests // work.pipeline) * work.pipeline


def drive(work: Work, server: Server, requests: int) -> Run:
    """Repeat the command of `work` so many times on one server."""
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "--csv"]
    command += ["-c", str(CONNECTIONS), "-n", str(requests), "-P", str(work.pipeline)]
    if work.random_up_to:
        command += ["-r", str(work.random_up_to)]
    before = server.cpu_seconds()
    done = subprocess.run(
        [*command, *work.command], capture_output=True, text=True, timeout=_RUN_SECONDS, check=False
    )
    cpu = server.cpu_seconds() - before
    if done.returncode or "rror" in done.stderr:
        raise RuntimeError(f"{work.name} on {server.name}: {done.stderr or done.stdout}")
    (row,) = csv.DictReader(done.stdout.splitlines())
    return Run(float(row["rps"]), cpu / requests * 1e6, float(row["p99_latency_ms"]))
