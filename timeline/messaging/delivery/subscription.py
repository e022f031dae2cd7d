"""A subscription to any number of devices, read a page at a time.

Rule: it waits for the in-boxes of its devices (`waiting`). For each device it keeps the position,
and whether something may have come. Devices take turns: a page for one, then the next. Called from
any thread, without the engine's lock.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from timeline.devices.presence import Presence
from timeline.devices.updates import Updates
from timeline.devices.waiting import Waiters
from timeline.engine.engine import Engine
from timeline.errors import ClosedError
from timeline.fanout import Position
from timeline.messaging.delivery.syncing import Page, Reader


class Subscriber:
    """A device in a subscription. All up to `position` was handed over; without one: resync."""

    __slots__ = ("device", "inbox", "position", "user")

    def __init__(self, user: bytes, device: bytes, inbox: int, position: Position | None) -> None:
        self.user = user
        self.device = device
        self.inbox = inbox
        self.position = position


_NOTHING: Final[dict[tuple[bytes, bytes], Subscriber]] = {}


class Subscribers:
    """The devices of one subscription.

    `on_due` is called, after the locks, when there may be something to take and was not before.
    """

    def __init__(
        self,
        engine: Engine,
        waiters: Waiters,
        reader: Reader,
        presence: Presence,
        on_due: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._waiters = waiters
        self._reader = reader
        self._presence = presence
        self._on_due = on_due
        self._lock = threading.Lock()  # of what follows; the engine's is never taken under it
        self._subscribers: dict[tuple[bytes, bytes], Subscriber] = {}
        self._by_inbox: dict[int, dict[tuple[bytes, bytes], Subscriber]] = {}
        # Those for whom something may have come, in the order of their turns.
        self._due: OrderedDict[Subscriber, None] = OrderedDict()
        self.closed = False

    def __len__(self) -> int:
        return len(self._subscribers)

    def add(self, user: bytes, device: bytes, after: bytes | None) -> None:
        """Take in a device: from a cursor on, or from what it acknowledged. Raises
        `NotFoundError`, `UsageError`, `ClosedError`.
        """
        self.remove(user, device)
        with self._engine.lock:
            self._engine.check_usable()
            inbox, position = self._reader.begin(user, device, after)
            subscriber = Subscriber(user, device, inbox, position)
            with self._lock:
                if self.closed:
                    raise ClosedError("the subscription was closed")
                self._subscribers[user, device] = subscriber
                self._by_inbox.setdefault(inbox, {})[user, device] = subscriber
                self._due[subscriber] = None
            self._waiters.add(inbox, self)
            self._presence.arrive(user, device)
        self._on_due()

    def remove(self, user: bytes, device: bytes) -> bool:
        """Whether there was something to end."""
        with self._engine.lock:
            with self._lock:
                subscriber = self._subscribers.pop((user, device), None)
                if subscriber is None:
                    return False
                self._due.pop(subscriber, None)
                others = self._by_inbox[subscriber.inbox]
                del others[user, device]
                if not others:
                    del self._by_inbox[subscriber.inbox]
            if not others:
                self._waiters.remove(subscriber.inbox, self)
            self._presence.depart(user, device)
            return True

    def close(self) -> None:
        """Hand over nothing more."""
        self.end()
        for user, device in list(self._subscribers):
            self.remove(user, device)

    def end(self) -> None:
        with self._lock:
            self.closed = True
        self._on_due()

    def ready(self, inbox: int) -> None:
        with self._lock:
            before = len(self._due)
            for subscriber in self._by_inbox.get(inbox, _NOTHING).values():
                self._due[subscriber] = None
            fresh = len(self._due) - before
        if fresh:
            self._on_due()

    @property
    def due(self) -> bool:
        """Whether `take` has something to give, or to raise because this was closed."""
        return self.closed or bool(self._due)

    def take(self, count: int) -> tuple[Subscriber, Page] | None:
        """What came for the device that waits longest, at most `count` entries; None when nothing
        came for any. Raises `ClosedError`.
        """
        while True:
            with self._lock:
                if self.closed:
                    raise ClosedError("the subscription was closed")
                if not self._due:
                    return None
                subscriber, _ = self._due.popitem(last=False)
            try:
                page = self._read(subscriber, count)
            except ClosedError:
                if self._engine.closed:
                    raise
                page = None  # the store is opened again after a failure, and then makes all ready
            if page is not None:
                return subscriber, page

    def _read(self, subscriber: Subscriber, count: int) -> Page | None:
        """The next page for a device, None for an empty one. If there is more it is due again."""
        reader = self._reader
        with self._engine.lock:
            self._engine.check_usable()
            if subscriber.position is None or subscriber.position < reader.floor(subscriber.inbox):
                subscriber.position = reader.now
                return Page(
                    Updates(), reader.cursors.encode(subscriber.position), more=False, resync=True
                )
            entries, position, more = reader.page(subscriber.inbox, subscriber.position, count)
            subscriber.position = position
            if more:
                with self._lock:
                    if self._subscribers.get((subscriber.user, subscriber.device)) is subscriber:
                        self._due[subscriber] = None
        if not len(entries):
            return None
        return Page(entries, reader.cursors.encode(position), more, resync=False)
