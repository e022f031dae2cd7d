"""The gate: whether another commit may be staged, asked by every write.

Rule: one number answers on the hot path. The open group takes another commit as long as it holds no
more than `room` bytes. While writing is off, `room` is below zero, so no group has room, and a
write raises `refusal`. Write control decides when to shut and to open it.
"""

from __future__ import annotations

from timeline.errors import BusyError, TimelineError


class Gate:
    __slots__ = ("_most", "refusal", "room")

    def __init__(self, most: int) -> None:
        """A group grows by another commit until it holds more than `most` bytes."""
        self._most = most
        self.room = most
        self.refusal: TimelineError | None = None

    def shut(self, refusal: TimelineError) -> None:
        self.refusal = refusal
        self.room = -1

    def open(self) -> None:
        self.refusal = None
        self.room = self._most

    def check(self) -> None:
        """Raise while it is shut."""
        if self.refusal is not None:
            # One error is raised many times, and each would add its frames to those before.
            raise self.refusal.with_traceback(None)

    def check_room(self, size: int) -> None:
        """Raise also when an open group of `size` bytes takes no other commit."""
        self.check()
        if size > self.room:
            raise BusyError("too much is waiting for the disk: try again later")
