"""On-line push: devices that are told what happened when it has become durable.

Two ways. A note, for every client: an ordinary pub/sub message on `sync:<user>:<device>` whose
payload is the newest cursor. A stream, for RESP3: frames `["sync", user, cursor, kind, conv, id,
[field, value, …]]`, first what was missed, then what comes.

Rule: what is sent is read from the store at the subscriber's own position, so backlog and live are
the same thing and nothing lies between them. Who has everything so far is `live`: a message to many
is then encoded once and given to each behind his own few bytes. Who does not read is sent nothing
more, is no longer live, and is gone on with from his position when he has caught up; notes only
ever need the newest. Subscribers are served some at a time, other clients between them.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from timeline.fanout import Position
from timeline.formats.messages import MESSAGE
from timeline.messaging.names import conversation_of
from timeline.messaging.service import Messages
from timeline.messaging.told import Told
from timeline.messaging.watching import Fresh, Woken

from . import replies
from .entries import encode_told

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Service

_AT_A_TIME = 64  # subscribers served in one turn of the loop
_FRAMES = 4_096  # encoded ones kept for the subscribers to come
_GIVEN_AT_A_TIME = 256  # subscribers given a message in one turn of the loop
_ROUNDS = 256  # messages that wait to be given; beyond, subscribers look for themselves
_PAGE = 128  # entries read for one of them at a time


class Subscriber:
    """One device on one connection; `position` is None when it only wants notes."""

    __slots__ = (
        "channel", "connection", "device", "inbox", "live", "position", "prefix", "user", "woken",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        user: bytes,
        device: bytes,
        inbox: int,
        position: Position | None,
        push: Push,
    ) -> None:
        self.connection = connection
        self.user = user
        self.device = device
        self.inbox = inbox
        self.position = position
        self.channel = b"sync:%b:%b" % (user, device)
        self.prefix = b">7\r\n$4\r\nsync\r\n" + replies.bulk(user)
        self.live = False  # nothing that happened before the newest group is owed to it
        self.woken: Woken = partial(push.wake, self)


class _Round:
    """A message, and the live subscribers who are to be given it; `at` of them were."""

    __slots__ = ("at", "fresh", "subscribers", "tail")

    def __init__(self, fresh: Fresh) -> None:
        self.fresh = fresh
        self.subscribers: list[Subscriber] = []
        self.tail = b""
        self.at = 0


class Push:
    def __init__(self, service: Service, messages: Messages) -> None:
        self._service = service
        self._messages = messages
        self._by_connection: dict[Connection, dict[tuple[bytes, bytes, bool], Subscriber]] = {}
        self._waiting: dict[Subscriber, None] = {}  # something may have come for them
        self._scheduled = False
        self._frames: dict[Told, bytes] = {}  # of this round
        self._fresh: deque[_Round] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._by_connection.values()))

    # --- subscribing --------------------------------------------------------------------------

    def add(
        self,
        connection: Connection,
        user: bytes,
        device: bytes,
        inbox: int,
        position: Position | None,
    ) -> None:
        """Tell a device from now on; a stream begins behind `position`, None is for notes."""
        streams = position is not None
        self.remove(connection, user, device, streams=streams)
        subscriber = Subscriber(connection, user, device, inbox, position, self)
        self._by_connection.setdefault(connection, {})[user, device, streams] = subscriber
        self._messages.watch.add(inbox, subscriber.woken)
        self._messages.presence.arrive(user, device)
        self.wake(subscriber, None)
        self.schedule()

    def remove(self, connection: Connection, user: bytes, device: bytes, *, streams: bool) -> bool:
        """Whether there was something to end."""
        subscribers = self._by_connection.get(connection, {})
        subscriber = subscribers.pop((user, device, streams), None)
        if subscriber is None:
            return False
        if not subscribers:
            del self._by_connection[connection]
        self._waiting.pop(subscriber, None)
        self._messages.watch.remove(subscriber.inbox, subscriber.woken)
        subscriber.live = False
        self._messages.presence.depart(user, device)
        return True

    def forget(self, connection: Connection) -> None:
        """End all of a connection that is gone or was reset."""
        for user, device, streams in list(self._by_connection.get(connection, ())):
            self.remove(connection, user, device, streams=streams)

    def end_streams(self, connection: Connection) -> None:
        """End what only RESP3 can carry: the connection speaks RESP2 from now on."""
        for user, device, streams in list(self._by_connection.get(connection, ())):
            if streams:
                self.remove(connection, user, device, streams=True)

    def count(self, connection: Connection) -> int:
        return len(self._by_connection.get(connection, ()))

    # --- telling ------------------------------------------------------------------------------

    def wake(self, subscriber: Subscriber, fresh: Fresh | None) -> None:
        """Something may have come for a subscriber, or exactly `fresh` has."""
        if fresh is not None and subscriber.live and len(self._fresh) < _ROUNDS:
            if not self._fresh or self._fresh[-1].fresh is not fresh:
                self._fresh.append(_Round(fresh))
            self._fresh[-1].subscribers.append(subscriber)
        else:
            subscriber.live = False
            self._waiting[subscriber] = None

    def resume(self, connection: Connection) -> None:
        """A connection takes more again."""
        subscribers = self._by_connection.get(connection)
        if subscribers:
            for subscriber in subscribers.values():
                if not subscriber.live:
                    self._waiting[subscriber] = None
            self.schedule()

    def schedule(self) -> None:
        """Serve those who wait, in the turns to come."""
        if (self._waiting or self._fresh) and not self._scheduled:
            self._scheduled = True
            self._service.loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._scheduled = False
        if self._fresh:
            self._give(self._fresh[0])
        with self._service.engine.lock:
            for subscriber in list(islice(self._waiting, _AT_A_TIME)):
                del self._waiting[subscriber]
                if not subscriber.connection.takes_more:
                    continue  # `resume` wakes it
                if subscriber.position is None:
                    self._note(subscriber)
                else:
                    self._stream(subscriber, subscriber.position)
        if not self._waiting or len(self._frames) > _FRAMES:
            self._frames.clear()
        self.schedule()

    def _give(self, round_: _Round) -> None:
        """Send a message to the next subscribers of its round."""
        fresh = round_.fresh
        position = Position(fresh.lsn, 0)
        if not round_.tail:
            name = conversation_of(fresh.conversation)
            round_.tail = self._encode(Told(MESSAGE, name, fresh.seq, fresh.payload, position))
        tail = round_.tail
        stop = round_.at + _GIVEN_AT_A_TIME
        for subscriber in round_.subscribers[round_.at : stop]:
            if not subscriber.live or subscriber.position is None:
                continue  # it is gone on with from its position
            if subscriber.position >= position:
                continue
            if not subscriber.connection.takes_more:
                subscriber.live = False
                continue
            subscriber.connection.push(subscriber.prefix + tail)
            subscriber.position = position
        round_.at = stop
        if stop >= len(round_.subscribers):
            self._fresh.popleft()

    def _note(self, subscriber: Subscriber) -> None:
        reader = self._messages.reader
        subscriber.connection.push(
            b"".join(
                (
                    replies.push_header(3, subscriber.connection.session.resp),
                    replies.bulk(b"message"),
                    replies.bulk(subscriber.channel),
                    replies.bulk(reader.cursors.encode(reader.now)),
                )
            )
        )

    def _stream(self, subscriber: Subscriber, position: Position) -> None:
        entries, behind, more = self._messages.reader.page(subscriber.inbox, position, _PAGE)
        subscriber.position = behind
        if entries:
            prefix = subscriber.prefix
            frames = self._frames
            parts: list[bytes] = []
            for told in entries:
                tail = frames.get(told)
                if tail is None:
                    tail = frames[told] = self._encode(told)
                parts += (prefix, tail)
            subscriber.connection.push(b"".join(parts))
        if more:
            self._waiting[subscriber] = None
        else:
            subscriber.live = True

    def _encode(self, told: Told) -> bytes:
        cursor = self._messages.reader.cursors.encode(told.behind)
        return replies.bulk(cursor) + encode_told(told)
