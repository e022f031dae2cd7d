"""A subscriber: one device that is online, and is served by a stream or by notes.

Rule: while it is `live` it has been sent everything except what waits in the rounds, so nothing has
to be read for it.
"""

from __future__ import annotations

from typing import Final

from timeline.fanout import Position
from timeline.formats.numbers import Lsn

from ..clients.client import Client
from ..wire import replies

# How a device is told: by frames of USER.SUBSCRIBE, or by notes on a channel that begins so.
STREAM: Final = b""
SYNC: Final = b"sync"
FEED: Final = b"feed"
CHANNELS: Final = (SYNC, FEED)

_NOTHING: Final = Position(Lsn(-1), 0)  # before the first note


class Subscriber:
    """One device on one connection. It was told everything up to `position`."""

    __slots__ = (
        "client", "device", "ended", "inbox", "live", "position", "prefix", "streams", "user",
        "way",
    )  # fmt: skip

    def __init__(
        self,
        client: Client,
        user: bytes,
        device: bytes,
        inbox: int,
        way: bytes,
        position: Position | None = None,
    ) -> None:
        self.client = client
        self.user = user
        self.device = device
        self.inbox = inbox
        self.way = way
        self.streams = way == STREAM
        self.position = _NOTHING if position is None else position
        # What each of its frames begins with.
        if self.streams:
            self.prefix = replies.push_header(7, 3) + replies.bulk(b"sync") + replies.bulk(user)
        else:
            self.prefix = replies.bulk(b"message") + replies.bulk(b"%b:%b:%b" % (way, user, device))
        self.live = False
        self.ended = False
