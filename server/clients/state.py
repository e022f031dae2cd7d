"""What is known of one client: its names, and the mode of its connection.

Rule: state only. Bytes and replies are the connection's, commands are in `commands`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from ..registry.command import Command
from .watches import Mark


class Replying(Enum):
    """Which replies are sent: CLIENT REPLY."""

    ON = auto()
    OFF = auto()
    SKIP = auto()  # that of the next command is dropped


class Tracking(Enum):
    """Which answers a client may keep: CLIENT TRACKING."""

    OFF = auto()
    ON = auto()
    OPTIN = auto()  # those it asks for
    OPTOUT = auto()  # all but those it names


@dataclass(slots=True, eq=False)
class Transaction:
    """Commands queued between MULTI and EXEC; `failed` once one could not be queued. `afterwards`
    is done once its commit is durable.
    """

    commands: list[tuple[Command, list[bytes]]] = field(default_factory=list)
    bytes: int = 0
    objects: int = 0  # arguments and commands
    failed: bool = False
    afterwards: list[Callable[[], object]] = field(default_factory=list)


@dataclass(slots=True, eq=False, kw_only=True)
class ClientState:
    id: int
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
    watched: dict[bytes, Mark] = field(default_factory=dict)  # names, as WATCH saw them
    channels: dict[bytes, None] = field(default_factory=dict)
    patterns: dict[bytes, None] = field(default_factory=dict)  # of channels
    replying: Replying = Replying.ON
    tracking: Tracking = Tracking.OFF
    caching: bool | None = None  # what CLIENT CACHING said of the next command, or transaction
    # In EXEC: commands answer immediately, none may wait.
    executing: bool = False
    # Commands go straight to their handlers and replies to the client: no transaction is open, no
    # RESP2 subscription, CLIENT REPLY is ON, and what is read is not tracked.
    plain: bool = True

    def settle(self) -> None:
        """Recomputes `plain` after the transaction, the subscriptions or the protocol version
        changed.
        """
        self.plain = (
            self.transaction is None
            and not (self.listening and self.resp == 2)
            and self.replying is Replying.ON
            and not self.tracks
        )

    @property
    def tracks(self) -> bool:
        """Whether the client may keep the answer to what it reads now."""
        match self.tracking:
            case Tracking.OFF:
                return False
            case Tracking.OPTIN:
                return self.caching is True
            case _:
                return self.caching is not False

    @property
    def listening(self) -> bool:
        """Whether it is subscribed to anything."""
        return bool(self.channels or self.patterns)

    def swallows(self) -> bool:
        """Whether the client does not want the reply that comes now."""
        if self.replying is Replying.SKIP:
            self.replying = Replying.ON
            self.settle()
            return True
        return self.replying is Replying.OFF
