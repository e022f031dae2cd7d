"""Waiting in this process for what happens to users: calls that block, and subscriptions.

Responsibility: say which in-boxes each applied group concerns, and wake those that wait for these
and nobody else; be one subscription to any number of users and devices.

Rule: nothing is kept for a waiter but a position and the note that something may have come. The
waiter then reads from the store, so backlog and live are the same thing, nothing lies between them,
and a slow reader holds no memory. A group costs what it concerns, however many wait for something
else (`watching` finds that out). Waking happens after the engine's locks. A waiter that is woken
takes the lock itself, for one page at a time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.errors import ClosedError, TimelineError
from timeline.fanout import Position
from timeline.messaging.delivery.presence import Presence
from timeline.messaging.delivery.syncing import Page, Reader
from timeline.messaging.delivery.watching import Watch


class Waiter(Protocol):
    def wake(self, inbox: int) -> None:
        """Something may have come for an in-box. Without the engine's lock; it must not wait."""

    def end(self) -> None:
        """The store is being closed."""


class Waiters:
    """The waiters for in-boxes of one store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watch = Watch(engine)
        self._waiters: dict[int, dict[Waiter, None]] = {}
        engine.add_observer(self._follow)
        engine.on_reload(self._wake_all)
        engine.before_closing(self._end)

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, inbox: int, waiter: Waiter) -> None:
        """Wake `waiter` for what comes for an in-box from now on. The caller holds the lock."""
        waiters = self._waiters.setdefault(inbox, {})
        if not waiters:
            self._watch.add(inbox)
        waiters[waiter] = None

    def remove(self, inbox: int, waiter: Waiter) -> None:
        """No longer; the caller holds the lock."""
        waiters = self._waiters.get(inbox, {})
        waiters.pop(waiter, None)
        if not waiters and inbox in self._waiters:
            del self._waiters[inbox]
            self._watch.remove(inbox)

    def _follow(self, group: Group) -> None:
        if self._waiters:
            group.on_done(self._tell)

    def _tell(self, group: Group) -> None:
        if group.error is not None:
            return
        with self._engine.lock:
            if self._engine.closed or not self._waiters:
                return
            try:
                news = self._watch.tell(group)
            except TimelineError:  # damage: whoever reads it is told, the others go on
                inboxes = set(self._waiters)
            else:
                inboxes = news.look.union(*[fresh.inboxes for fresh in news.fresh])
            woken = [
                (waiter, inbox) for inbox in inboxes for waiter in self._waiters.get(inbox, ())
            ]
        for waiter, inbox in woken:
            waiter.wake(inbox)

    def _wake_all(self) -> None:
        with self._engine.lock:
            woken = [(each, inbox) for inbox, waiters in self._waiters.items() for each in waiters]
        for waiter, inbox in woken:
            waiter.wake(inbox)

    def _end(self) -> None:
        with self._engine.lock:
            ended = {waiter: None for waiters in self._waiters.values() for waiter in waiters}
        for waiter in ended:
            waiter.end()


class Call:
    """One call that blocks until something may have come for an in-box."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self.ended = False  # nothing comes any more

    def wake(self, _: int) -> None:
        self._woken.set()

    def end(self) -> None:
        self.ended = True
        self._woken.set()

    def wait(self, seconds: float) -> bool:
        """Whether it was woken within that time; the next wait is for what comes after."""
        woken = self._woken.wait(min(seconds, threading.TIMEOUT_MAX))
        self._woken.clear()
        return woken


class Place:
    """A device in a subscription: everything up to `position` was handed over; None: resync."""

    __slots__ = ("device", "inbox", "position", "user")

    def __init__(self, user: bytes, device: bytes, inbox: int, position: Position | None) -> None:
        self.user = user
        self.device = device
        self.inbox = inbox
        self.position = position


_NOTHING: Final[dict[tuple[bytes, bytes], Place]] = {}


class Subscribed:
    """A subscription to any number of devices. From any thread, without the engine's lock.

    `ready` is called, after the locks, when there may be something to take and was not before.
    """

    def __init__(
        self,
        engine: Engine,
        waiters: Waiters,
        reader: Reader,
        presence: Presence,
        ready: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._waiters = waiters
        self._reader = reader
        self._presence = presence
        self._ready = ready
        self._lock = threading.Lock()  # of what follows; the engine's is never taken under it
        self._places: dict[tuple[bytes, bytes], Place] = {}
        self._by_inbox: dict[int, dict[tuple[bytes, bytes], Place]] = {}
        # Something may have come for them, in order.
        self._due: OrderedDict[Place, None] = OrderedDict()
        self.closed = False

    def __len__(self) -> int:
        return len(self._places)

    def add(self, user: bytes, device: bytes, after: bytes | None) -> None:
        """Hand over what happens for a device behind a cursor, or behind what it acknowledged.
        Raises `NotFoundError`, `UsageError`, `ClosedError`.
        """
        self.remove(user, device)
        with self._engine.lock:
            self._engine.check_usable()
            inbox, position = self._reader.begin(user, device, after)
            place = Place(user, device, inbox, position)
            with self._lock:
                if self.closed:
                    raise ClosedError("the subscription was closed")
                self._places[user, device] = place
                self._by_inbox.setdefault(inbox, {})[user, device] = place
                self._due[place] = None
            self._waiters.add(inbox, self)
            self._presence.arrive(user, device)
        self._ready()

    def remove(self, user: bytes, device: bytes) -> bool:
        """Whether there was something to end."""
        with self._engine.lock:
            with self._lock:
                place = self._places.pop((user, device), None)
                if place is None:
                    return False
                self._due.pop(place, None)
                others = self._by_inbox[place.inbox]
                del others[user, device]
                if not others:
                    del self._by_inbox[place.inbox]
            if not others:
                self._waiters.remove(place.inbox, self)
            self._presence.depart(user, device)
            return True

    def close(self) -> None:
        """Hand over nothing more."""
        self.end()
        for user, device in list(self._places):
            self.remove(user, device)

    def end(self) -> None:
        with self._lock:
            self.closed = True
        self._ready()

    def wake(self, inbox: int) -> None:
        with self._lock:
            before = len(self._due)
            for place in self._by_inbox.get(inbox, _NOTHING).values():
                self._due[place] = None
            fresh = len(self._due) - before
        if fresh:
            self._ready()

    @property
    def due(self) -> bool:
        """Whether `take` is worth a call: also when that is to say that it was closed."""
        return self.closed or bool(self._due)

    def take(self, count: int) -> tuple[Place, Page] | None:
        """What has come for the device that waits longest, at most `count` entries; None: nothing
        for any of them. Raises `ClosedError`.
        """
        while True:
            with self._lock:
                if self.closed:
                    raise ClosedError("the subscription was closed")
                if not self._due:
                    return None
                place, _ = self._due.popitem(last=False)
            try:
                page = self._read(place, count)
            except ClosedError:
                if self._engine.closed:
                    raise
                page = None  # the store is to be opened again after a failure, and then wakes all
            if page is not None:
                return place, page

    def _read(self, place: Place, count: int) -> Page | None:
        """The next page for a device, which waits on when there is more; None when it is empty."""
        reader = self._reader
        with self._engine.lock:
            self._engine.check_usable()
            if place.position is None or place.position < reader.floor(place.inbox):
                place.position = reader.now
                return Page([], reader.cursors.encode(place.position), more=False, resync=True)
            entries, position, more = reader.page(place.inbox, place.position, count)
            place.position = position
            if more:
                with self._lock:
                    if self._places.get((place.user, place.device)) is place:
                        self._due[place] = None
        if not entries:
            return None
        return Page(entries, reader.cursors.encode(position), more, resync=False)
