"""A histogram of durations in bounded memory, exact to one percent.

Rule: only the number of durations in each bucket is kept; buckets are by logarithm. The largest
duration is kept exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

_STEPS: Final = 100  # buckets to a factor of e


class Histogram:
    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[round(math.log(max(seconds, 1e-7)) * _STEPS)] += 1
        self.count += 1
        self.largest = max(self.largest, seconds)

    def merge(self, other: Histogram) -> None:
        self._buckets.update(other._buckets)
        self.count += other.count
        self.largest = max(self.largest, other.largest)

    def quantile(self, share: float) -> float:
        """The seconds that a `share` of all durations did not exceed; 0 if there are none."""
        left = math.ceil(share * self.count)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return min(math.exp(bucket / _STEPS), self.largest)
        return 0.0

    def doublings(self) -> dict[int, int]:
        """How many took up to each power of two of microseconds, and more than half of it."""
        found: Counter[int] = Counter()
        for bucket, count in self._buckets.items():
            microseconds = math.exp(bucket / _STEPS) * 1e6
            found[1 << max(0, math.ceil(math.log2(microseconds)))] += count
        return dict(sorted(found.items()))
