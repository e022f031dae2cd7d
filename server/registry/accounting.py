"""The calls of a command: how many there were, how long they took, how many failed.

Rule: every call that is carried out counts once: by itself, in a run of appends or short reads, or
as a member of EXEC. Times leave out what a command waited for. As in Redis, a call that did not
even begin (a wrong number of words, not allowed now) is a rejection and no call. A command that
MULTI queues counts when EXEC carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Account:
    calls: int = 0
    seconds: float = 0.0
    failures: int = 0  # of the calls
    rejections: int = 0

    def clear(self) -> None:
        self.calls = self.failures = self.rejections = 0
        self.seconds = 0.0
