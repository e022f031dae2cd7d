"""A client as the rest of the daemon knows it: what it is, and how it is sent something.

Rule: nothing outside `connection` knows more of a connection than this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .blocking import Reader
from .holdings import Holder
from .state import ClientState


class Client(Holder, Reader, Protocol):
    @property
    def session(self) -> ClientState: ...

    # --- what it holds --------------------------------------------------------------------------

    @property
    def input_bytes(self) -> int:
        """Bytes received and not carried out yet."""

    @property
    def output_bytes(self) -> int:
        """Bytes that the client has not taken yet."""

    def holds(self) -> int:
        """Bytes of memory, about: what was received and not done, what was made and not taken."""

    def does_nothing(self) -> bool:
        """Whether nothing is owed to the client, now or when something happens."""

    # --- sending ---------------------------------------------------------------------------------

    @property
    def takes_more(self) -> bool:
        """Whether something may be pushed: the client reads, and no replies wait to go first."""

    def push(self, data: bytes) -> None:
        """Sends what the client did not ask for just now. One that never reads it is closed."""

    def offer(self, data: bytes) -> bool:
        """Sends what a subscriber is owed; False when it is to be offered again later."""

    def offer_shared(self, prefix: bytes, suffixes: Sequence[bytes]) -> bool:
        """As `offer` of `prefix.join(suffixes)`, without a copy of the suffixes for each client."""

    # --- closing ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes once everything answered so far is sent; later commands are not carried out."""

    def finish(self) -> None:
        """The daemon stops: no more is read, what was received is answered, then it closes."""

    def expire(self, seconds: int) -> None:
        """Closes it, since it did nothing for so long."""

    def disconnect(self, reason: str) -> None:
        """Closes immediately, without what waits to be sent."""
