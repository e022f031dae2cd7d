"""The commands that recently took long, for SLOWLOG.

Rule: the newest are kept, and of each only the beginning of its words.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from ..clients.state import ClientState

_WORDS: Final = 32  # kept of a command
_WORD_BYTES: Final = 128  # kept of each word


@dataclass(frozen=True, slots=True)
class SlowCommand:
    id: int
    time: int
    microseconds: int
    args: list[bytes]
    address: str
    name: bytes


class SlowLog:
    def __init__(self) -> None:
        self.kept: deque[SlowCommand] = deque()  # the newest first
        self.noted = 0  # since the start

    def note(self, seconds: float, args: list[bytes], client: ClientState, most: int) -> None:
        """Keeps a command that took so long, and `most` commands in all."""
        self.kept.appendleft(
            SlowCommand(
                self.noted,
                int(time.time()),
                int(seconds * 1e6),
                [word[:_WORD_BYTES] for word in args[:_WORDS]],
                client.address,
                client.name,
            )
        )
        self.noted += 1
        while len(self.kept) > most:
            self.kept.pop()
