"""Jobs: commands that may take minutes, done on another thread while the daemon serves.

Responsibility: say how far each is, and end those that nobody waits for any more.

Rule: work tells now and then how far it is, from its own thread. At these moments it is stopped if
its client has gone or the daemon stops. The work itself then takes back what it has made so far, or
keeps what is whole. Numbers are only ever replaced as a whole, so no lock is needed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..errors import CommandError


class Job:
    def __init__(self, command: str, client: int) -> None:
        self.command = command
        self.client = client
        self._begun = time.monotonic()
        self._far = (0, 0)
        self._dropped = False

    def tell(self, done: int, total: int) -> None:
        """Work is at `done` of `total`. Raises `CommandError` once it has to end."""
        self._far = (done, total)
        if self._dropped:
            raise CommandError(f"{self.command} ended, since the client that asked for it has gone")

    def drop(self) -> None:
        """Nobody waits for it any more."""
        self._dropped = True

    def facts(self) -> Mapping[str, object]:
        done, total = self._far
        seconds = round(time.monotonic() - self._begun, 1)
        return {
            "command": self.command,
            "client": self.client,
            "seconds": seconds,
            "done": done,
            "total": total,
        }
