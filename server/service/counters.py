"""What the daemon counts of all clients together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """What INFO shows, since the start."""

    connections: int = 0
    rejected: int = 0
    disconnected: int = 0  # by us: slow readers, protocol errors
    input_bytes: int = 0
    output_bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)  # error replies by their first word

    def clear(self) -> None:
        """Counts from 0 again. Connections share this object, so it stays the same."""
        self.connections = self.rejected = self.disconnected = 0
        self.input_bytes = self.output_bytes = 0
        self.errors.clear()
