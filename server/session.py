"""What the daemon knows of one client: who it is and in which mode its connection is.

Rule: state only. Bytes and replies are the connection's, commands are in `commands`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection
    from .registry import Command
    from .service import Service


@dataclass(slots=True, eq=False)
class Transaction:
    """Commands queued between MULTI and EXEC; `failed` once one could not be queued."""

    commands: list[tuple[Command, list[bytes]]] = field(default_factory=list)
    bytes: int = 0
    failed: bool = False


@dataclass(slots=True, eq=False)
class Session:
    id: int
    service: Service
    connection: Connection
    address: str
    local_address: str
    # Times of the loop.
    created: float
    active: float
    resp: int = 2
    user: str = "default"
    name: bytes = b""
    library: bytes = b""
    library_version: bytes = b""
    last: Command | None = None  # the command that is carried out, or was last
    transaction: Transaction | None = None
    channels: dict[bytes, None] = field(default_factory=dict)
    # In EXEC: commands answer at once, none may wait.
    executing: bool = False
    # Commands go straight to their handlers: no transaction is open, no RESP2 subscription.
    plain: bool = True

    def settle(self) -> None:
        """Recomputes `plain` after the transaction, the subscriptions or the protocol version
        changed.
        """
        self.plain = self.transaction is None and not (self.channels and self.resp == 2)
