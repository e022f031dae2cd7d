"""Who is subscribed to which channel.

Rule: bookkeeping only; who may hear what is decided before, and sending is others' business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection


class Channels:
    def __init__(self) -> None:
        self._listeners: dict[bytes, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, connection: Connection, channel: bytes) -> None:
        self._listeners.setdefault(channel, {})[connection] = None
        connection.session.channels[channel] = None

    def remove(self, connection: Connection, channel: bytes) -> None:
        listeners = self._listeners.get(channel)
        if listeners is not None:
            listeners.pop(connection, None)
            if not listeners:
                del self._listeners[channel]
        connection.session.channels.pop(channel, None)

    def forget(self, connection: Connection) -> None:
        """Ends every subscription of a connection that is gone or was reset."""
        for channel in list(connection.session.channels):
            self.remove(connection, channel)
