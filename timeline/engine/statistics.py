"""What the commit pipeline has done since the store was opened, counted for whoever watches it.

Rule: plain numbers, added to by the code that flushes, once for each group. They only grow, also
when the storage failed and was opened again. The engine bases no decision on them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

COMMITS: Final[Sequence[float]] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
SECONDS: Final[Sequence[float]] = (
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip


class Histogram:
    """How many values were at most each of `bounds`, and beyond the last; and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def listed(self, scale: float = 1) -> str:
        """`bound=count,…,more=count`, each bound times `scale`."""
        bounds = [f"{bound * scale:g}" for bound in self.bounds]
        pairs = zip((*bounds, "more"), self.counts, strict=True)
        return ",".join([f"{bound}={count}" for bound, count in pairs])


class Statistics:
    __slots__ = ("appends", "deliveries", "fsyncs", "groups", "healed", "poisoned")

    def __init__(self) -> None:
        self.groups = Histogram(COMMITS)  # applied, by how many commits they held
        self.fsyncs = Histogram(SECONDS)  # of the log, by the seconds they took
        self.appends = 0  # entries
        self.deliveries = 0  # references put into in-boxes
        self.poisoned = 0  # how often writing was turned off by a failure
        self.healed = 0  # and on again
