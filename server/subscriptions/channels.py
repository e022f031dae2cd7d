"""Channels: which clients listen to which, and what is published on them.

Rule: a message goes to the clients that listen when it is published, in the order of publishing.
Nobody else gets it later. Some listeners get it in each turn, so that a channel of thousands holds
nobody up. The messages that wait for their turn are bounded; beyond that, publishing meets BUSY,
and the publisher waits. A client that does not read is closed when more than `output_bytes` wait
for it.

Channels of devices, `sync:<user>:<device>`, are listed here among the others. `push` says what a
device hears on them; nothing is published there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from timeline.errors import BusyError

from ..clients.client import Client
from ..wire import replies

_AT_A_TIME = 64  # listeners served in one turn of the loop, well under a millisecond
_WAITING_BYTES = 8 << 20  # of messages that wait for their turn


class Listener:
    """A connection on a channel or, with a `pattern`, on all channels that match it."""

    __slots__ = ("client", "listens", "pattern")

    def __init__(self, client: Client, pattern: bytes | None) -> None:
        self.client = client
        self.pattern = pattern
        self.listens = True


Matches = Callable[[bytes], bool]
Listeners = dict[Client, Listener]


class _Message:
    """A message on its way; `to` are the listeners that do not have it yet."""

    __slots__ = ("_channel", "_frames", "_payload", "size", "to")

    def __init__(self, channel: bytes, payload: bytes, to: list[Listener]) -> None:
        self._channel = channel
        self._payload = payload
        self._frames: dict[tuple[bytes | None, int], bytes] = {}  # by pattern and protocol
        self.to: Iterator[Listener] = iter(to)
        self.size = len(channel) + len(payload) + 8 * len(to)

    def give(self, most: int) -> int:
        """Gives it to the next listeners, and returns how many those were."""
        seen = 0
        for listener in islice(self.to, most):
            seen += 1
            if listener.listens:
                client = listener.client
                client.push(self._frame(listener.pattern, client.session.resp))
        return seen

    def _frame(self, pattern: bytes | None, resp: int) -> bytes:
        frame = self._frames.get((pattern, resp))
        if frame is None:
            words = [b"message"] if pattern is None else [b"pmessage", pattern]
            words += [self._channel, self._payload]
            frame = replies.push_header(len(words), resp) + b"".join(map(replies.bulk, words))
            self._frames[pattern, resp] = frame
        return frame


class Channels:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._channels: dict[bytes, Listeners] = {}
        self._patterns: dict[bytes, tuple[Matches, Listeners]] = {}
        self._waiting: deque[_Message] = deque()
        self._waiting_bytes = 0
        self.published = 0

    # --- listening ----------------------------------------------------------------------------

    def subscribe(self, client: Client, channel: bytes) -> None:
        self._channels.setdefault(channel, {})[client] = Listener(client, None)

    def unsubscribe(self, client: Client, channel: bytes) -> None:
        listeners = self._channels[channel]
        listeners.pop(client).listens = False
        if not listeners:
            del self._channels[channel]

    def subscribe_pattern(self, client: Client, pattern: bytes, matches: Matches) -> None:
        """Listens to the channels for which `matches` is true."""
        _, listeners = self._patterns.setdefault(pattern, (matches, {}))
        listeners[client] = Listener(client, pattern)

    def unsubscribe_pattern(self, client: Client, pattern: bytes) -> None:
        listeners = self._patterns[pattern][1]
        listeners.pop(client).listens = False
        if not listeners:
            del self._patterns[pattern]

    def forget(self, client: Client) -> None:
        """Ends all of a connection that is gone or was reset."""
        session = client.session
        for channel in session.channels:
            self.unsubscribe(client, channel)
        for pattern in session.patterns:
            self.unsubscribe_pattern(client, pattern)
        session.channels.clear()
        session.patterns.clear()

    # --- looking ------------------------------------------------------------------------------

    def names(self) -> list[bytes]:
        """The channels that somebody listens to."""
        return list(self._channels)

    def listeners(self, channel: bytes) -> int:
        return len(self._channels.get(channel, ()))

    @property
    def patterns(self) -> int:
        """How many different patterns there are."""
        return len(self._patterns)

    # --- publishing ---------------------------------------------------------------------------

    def check_room(self) -> None:
        """Raises `BusyError` while too much waits to be given."""
        if self._waiting_bytes > _WAITING_BYTES:
            raise BusyError("too many messages wait for their listeners: try again later")

    def hearing(self, channel: bytes) -> list[Listener]:
        """The listeners of a channel, once for the channel and once for each pattern."""
        found = list(self._channels.get(channel, {}).values())
        for matches, listeners in self._patterns.values():
            if matches(channel):
                found += listeners.values()
        return found

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Gives a message to all that listen now, and returns how many they are."""
        heard = self.hearing(channel)
        message = _Message(channel, payload, heard)
        self.published += 1
        if self._waiting or message.give(_AT_A_TIME) == _AT_A_TIME:
            self._waiting.append(message)
            self._waiting_bytes += message.size
            if len(self._waiting) == 1:
                self._loop.call_soon(self._serve)
        return len(heard)

    def _serve(self) -> None:
        room = _AT_A_TIME
        while self._waiting and room:
            message = self._waiting[0]
            given = message.give(room)
            if given < room:
                self._waiting.popleft()
                self._waiting_bytes -= message.size
            room -= given
        if self._waiting:
            self._loop.call_soon(self._serve)
