"""Who is subscribed to which channel.

Rule: bookkeeping and delivery only; who may hear what is decided before. A subscriber that does not
read is bounded by its connection, never by this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import replies

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

    def publish(self, channel: bytes, message: bytes) -> int:
        """Sends `message` to those who listen; returns how many."""
        listeners = self._listeners.get(channel)
        if listeners is None:
            return 0
        body = replies.bulk(b"message") + replies.bulk(channel) + replies.bulk(message)
        frames = {resp: replies.push_header(3, resp) + body for resp in (2, 3)}
        for connection in list(listeners):
            connection.push(frames[connection.session.resp])
        return len(listeners)
