"""Dropped names: which names lost their timeline of late.

Rule: a name that has no timeline now and had none before looks unchanged. It is not, when a
timeline was made and deleted under it in between. This tells the two apart for the newest drops; of
what is older than these it says that it may have changed.
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
