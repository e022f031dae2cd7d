"""Dropped names: which names lost their timeline lately.

A name that had no timeline before, and has none now, looks unchanged. It has changed if a timeline
was made and deleted under it in between.

Rule: the newest drops are remembered. A name that may have been dropped before these counts as
dropped.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

_REMEMBERED: Final = 1024  # names


class DroppedNames:
    """Names by the commits that were staged since the engine was made, whatever became of them."""

    def __init__(self) -> None:
        self.count = 0
        self._newest: deque[bytes] = deque(maxlen=_REMEMBERED)

    def note(self, name: bytes) -> None:
        """A commit that is staged leaves no timeline under `name`."""
        self.count += 1
        self._newest.append(name)

    def holds_since(self, name: bytes, count: int) -> bool:
        """Whether `name` was noted since there were `count`; True also where that is too long ago
        to tell.
        """
        newer = self.count - count
        return newer > len(self._newest) or name in islice(reversed(self._newest), newer)
