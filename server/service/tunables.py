"""Options that CONFIG SET may change while the daemon runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf


@dataclass(slots=True)
class Tunables:
    maxclients: int
    slowlog_log_slower_than: int  # microseconds; below zero: never
    slowlog_max_len: int
    clients_bytes: int
    tcp_keepalive: int  # seconds; 0: never
    timeout: int  # seconds; 0: never
    slow_after: float = field(init=False)  # `slowlog_log_slower_than` in seconds

    def __post_init__(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Recomputes what follows from the options, after one changed."""
        limit = self.slowlog_log_slower_than
        self.slow_after = limit / 1e6 if limit >= 0 else inf
