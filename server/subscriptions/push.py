"""Online push: devices are told what happened once it is durable.

A device is told in one of two ways:

- by notes, for every client: an ordinary pub/sub message on `sync:<user>:<device>`, or for feeds on
  `feed:<user>:<device>`, whose payload is the newest cursor;
- by a stream, for RESP3: frames `["sync", user, cursor, kind, conv, id, [field, value, …]]`, first
  what was missed, then what comes.

Rule: what is sent is read from the store at the subscriber's own position. So what was missed and
what comes now are read in the same way, and nothing is lost between the two.

A subscriber that has everything so far is `live`. A message to many is encoded once, and each live
subscriber gets it after a few bytes of its own (`rounds`). A client that does not read is sent
nothing more. Its subscribers are not live any longer, and go on from their positions when the
client has caught up. A note only ever needs the newest cursor. A stream whose position has expired
meanwhile is disconnected.

Subscribers are served some at a time, other clients between them. Everything kept for them is
bounded in bytes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from time import perf_counter
from typing import Final

from timeline.devices.updates import Update
from timeline.devices.waiting import Watch
from timeline.engine.engine import Engine
from timeline.errors import ClosedError, TimelineError
from timeline.fanout import Position
from timeline.feeds.service import Feeds
from timeline.formats.conversations import MESSAGE
from timeline.formats.numbers import Lsn
from timeline.messaging.access.names import conversation_of
from timeline.messaging.delivery.watching import Fresh, News
from timeline.messaging.service import Messages

from ..clients.client import Client
from ..wire import replies
from .frames import Frames
from .rounds import Round, Rounds
from .subscriber import FEED, STREAM, SYNC, Subscriber

_AT_A_TIME: Final = 32  # subscribers served in one turn of the loop: others wait for some 0.2 ms
_READING: Final = 0.0005  # seconds, after which a turn reads for no more of them
_PAGE_ENTRIES: Final = 128  # entries read for one subscriber at a time
_PAGE_BYTES: Final = 256 << 10  # bytes after which such a page ends
_COPIED: Final = 16 << 10  # bytes; longer frames are not copied for each subscriber


class Push:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, engine: Engine, messages: Messages, feeds: Feeds
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._messages = messages
        self._watches: dict[bytes, Watch] = {
            STREAM: messages.watch,
            SYNC: messages.watch,
            FEED: feeds.watch,
        }
        self._by_connection: dict[Client, dict[tuple[bytes, bytes, bytes], Subscriber]] = {}
        self._by_inbox: dict[int, tuple[Subscriber, ...]] = {}
        # Something may have come for them, in order.
        self._waiting: OrderedDict[Subscriber, None] = OrderedDict()
        self._ended: deque[Subscriber] = deque()  # yet to be forgotten
        self._scheduled = False
        self._frames = Frames(messages.reader.cursors)
        self._rounds = Rounds(self._each)
        self.pushed = 0  # frames and notes sent

    def __len__(self) -> int:
        return sum(map(len, self._by_connection.values()))

    # --- subscribing --------------------------------------------------------------------------

    def add(
        self,
        client: Client,
        user: bytes,
        device: bytes,
        inbox: int,
        way: bytes,
        position: Position | None = None,
    ) -> None:
        """Tell a device from now on: by notes, or by a stream after `position`."""
        self.remove(client, user, device, way)
        subscriber = Subscriber(client, user, device, inbox, way, position)
        self._by_connection.setdefault(client, {})[user, device, way] = subscriber
        self._by_inbox[inbox] = (*self._by_inbox.get(inbox, ()), subscriber)
        self._watches[way].add(inbox)
        self._messages.presence.arrive(user, device)
        self._waiting[subscriber] = None
        self._schedule()

    def remove(self, client: Client, user: bytes, device: bytes, way: bytes) -> bool:
        """Whether there was something to end."""
        subscriber = self._by_connection.get(client, {}).get((user, device, way))
        if subscriber is None:
            return False
        self._end(client, [subscriber])
        return True

    def forget(self, client: Client) -> None:
        """End all of a connection that is gone or was reset."""
        self._end(client, list(self._by_connection.get(client, {}).values()))

    def end_streams(self, client: Client) -> None:
        """End what only RESP3 can carry: the connection speaks RESP2 from now on."""
        subscribers = self._by_connection.get(client, {}).values()
        self._end(client, [each for each in subscribers if each.streams])

    def _end(self, client: Client, subscribers: Sequence[Subscriber]) -> None:
        """Send nothing to these any more. What was kept for them is dropped, some at a time."""
        if not subscribers:
            return
        there = self._by_connection[client]
        for subscriber in subscribers:
            del there[subscriber.user, subscriber.device, subscriber.way]
            subscriber.ended = True
            subscriber.live = False  # a round may still come to it
            self._waiting.pop(subscriber, None)
        if not there:
            del self._by_connection[client]
        self._ended.extend(subscribers)
        self._forget_ended()
        self._schedule()

    def _forget_ended(self) -> None:
        """Forget the next of those that ended."""
        for _ in range(min(_AT_A_TIME, len(self._ended))):
            subscriber = self._ended.popleft()
            inbox = subscriber.inbox
            others = tuple(each for each in self._by_inbox[inbox] if each is not subscriber)
            if others:
                self._by_inbox[inbox] = others
            else:
                del self._by_inbox[inbox]
            self._watches[subscriber.way].remove(inbox)
            self._messages.presence.depart(subscriber.user, subscriber.device)

    def streams_to(self, client: Client, user: bytes, device: bytes) -> bool:
        """Whether a connection has a stream of this device."""
        return (user, device, STREAM) in self._by_connection.get(client, {})

    def count(self, client: Client) -> int:
        return len(self._by_connection.get(client, ()))

    @property
    def waiting_bytes(self) -> int:
        """Bytes of messages that wait for their turn."""
        return self._rounds.size

    # --- telling ------------------------------------------------------------------------------

    def tell(self, news: News) -> None:
        """Tell those whom a group of commits concerns, in the turns to come."""
        for inbox in news.look:
            self._look(inbox)
        for fresh in news.fresh:
            self._line_up(fresh)
        self._schedule()

    def look(self, names: Iterable[int]) -> None:
        """Let those look for themselves who are waited for by these ids, in the turns to come."""
        for name in names:
            self._look(name)
        self._schedule()

    def _settle(self, subscriber: Subscriber) -> None:
        """It is no longer live, and goes on after everything that it has.

        It has all below the first message that waits in the rounds. What has expired since it was
        last told of something was not for it.
        """
        if subscriber.live and subscriber.streams:
            reached = self._messages.reader.floor(subscriber.inbox)
            if self._rounds:
                reached = Position(Lsn(self._rounds.first.positions[0].lsn - 1), 0)
            subscriber.position = max(subscriber.position, reached)
        subscriber.live = False

    def resume(self, client: Client) -> None:
        """A connection takes more again."""
        subscribers = self._by_connection.get(client)
        if subscribers:
            for subscriber in subscribers.values():
                if not subscriber.live:
                    self._waiting[subscriber] = None
            self._schedule()

    def look_all(self) -> None:
        """Let all look for themselves: commits were made that nobody told of."""
        for inbox in self._by_inbox:
            self._look(inbox)
        self._schedule()

    def _look(self, inbox: int) -> None:
        """Let the subscribers of an in-box read for themselves what came for it."""
        for subscriber in self._by_inbox.get(inbox, ()):
            if not subscriber.ended:
                try:
                    self._settle(subscriber)
                except TimelineError as problem:
                    self._fail(subscriber, problem)
                else:
                    self._waiting[subscriber] = None

    def _line_up(self, fresh: Fresh) -> None:
        """Let a message wait for its turn."""
        position = Position(Lsn(fresh.lsn), 0)
        name = conversation_of(fresh.conversation)
        suffix = self._frames.encode(Update(MESSAGE, name, fresh.seq, fresh.payload, position))
        if not self._rounds.add(fresh.inboxes, suffix, position):
            for inbox in fresh.inboxes:
                self._look(inbox)

    def _each(self, inboxes: Sequence[int]) -> Iterator[Subscriber]:
        """The subscribers of in-boxes, as they are when it comes to them."""
        return chain.from_iterable(self._by_inbox.get(inbox, ()) for inbox in inboxes)

    def _schedule(self) -> None:
        """Serve those that wait, in the turns to come."""
        if (self._waiting or self._rounds or self._ended) and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        self._scheduled = False
        self._forget_ended()
        room = _AT_A_TIME
        while self._rounds and room:
            room -= self._give(self._rounds.first, room)
        if self._waiting:
            self._look_after()
        self._schedule()

    # --- giving -------------------------------------------------------------------------------

    def _give(self, round_: Round, most: int) -> int:
        """Send the messages of a round to its next subscribers, and return how many those were."""
        round_.begun = True
        first, last = round_.positions[0], round_.positions[-1]
        together = [b"", *round_.suffixes]  # joined by what a frame begins with, that is the frames
        long = round_.size > _COPIED
        seen = 0
        for subscriber in islice(round_.to, most):
            seen += 1
            if not subscriber.live:
                continue  # it goes on from its position
            if subscriber.position < first:
                suffixes = together
            elif subscriber.position < last:
                suffixes = round_.after(subscriber.position)
            else:
                continue
            if not subscriber.streams:  # one note for all that came until its turn
                subscriber.live = False
                self._waiting[subscriber] = None
                continue
            prefix, client = subscriber.prefix, subscriber.client
            sent = (
                client.offer_shared(prefix, suffixes)
                if long
                else client.offer(prefix.join(suffixes))
            )
            if sent:
                subscriber.position = last
                self.pushed += len(suffixes) - 1
            else:  # `resume` wakes it; it has everything below
                subscriber.position = max(subscriber.position, Position(Lsn(first.lsn - 1), 0))
                subscriber.live = False
        if seen < most:
            self._rounds.drop_first()
        return seen

    def _look_after(self) -> None:
        """Read for the next of those that wait, and send them what there is."""
        reader = self._messages.reader
        until = perf_counter() + _READING
        with self._engine.lock:
            now = reader.now
            newest = replies.bulk(reader.cursors.encode(now))
            for subscriber in list(islice(self._waiting, _AT_A_TIME)):
                del self._waiting[subscriber]
                if not subscriber.client.takes_more:
                    continue  # `resume` wakes it
                if subscriber.streams:
                    try:
                        self._stream(subscriber)
                    except TimelineError as problem:
                        self._fail(subscriber, problem)
                else:
                    if subscriber.position < now:
                        header = replies.push_header(3, subscriber.client.session.resp)
                        subscriber.client.offer(header + subscriber.prefix + newest)
                        self.pushed += 1
                    subscriber.position, subscriber.live = now, True
                if perf_counter() > until:
                    break

    def _stream(self, subscriber: Subscriber) -> None:
        """Send a subscriber the next page after its position."""
        if subscriber.position < self._messages.reader.floor(subscriber.inbox):
            reason = "what it was too slow for has expired: subscribing again tells it to resync"
            self._give_up(subscriber, reason)
            return
        entries, subscriber.position, more = self._messages.reader.page(
            subscriber.inbox, subscriber.position, _PAGE_ENTRIES, _PAGE_BYTES
        )
        if len(entries):
            suffixes = [b"", *map(self._frames.get, entries)]
            prefix, client = subscriber.prefix, subscriber.client
            if sum(map(len, suffixes)) > _COPIED * len(entries):
                client.offer_shared(prefix, suffixes)
            else:
                client.offer(prefix.join(suffixes))
            self.pushed += len(entries)
        if more:
            self._waiting[subscriber] = None
        else:
            subscriber.live = True

    def _fail(self, subscriber: Subscriber, problem: TimelineError) -> None:
        """What follows cannot be read for one subscriber: others go on."""
        if not isinstance(problem, ClosedError):  # it will be opened again, and then all look
            self._give_up(subscriber, str(problem))

    def _give_up(self, subscriber: Subscriber, reason: str) -> None:
        """Close the connection of a subscriber that cannot be told what follows."""
        self._loop.call_soon(subscriber.client.disconnect, reason)
