"""A subscription as embedders see it: an iterator or a callback, for any number of devices.

    with im.subscribe([("bob", "phone")]) as updates:
        for update in updates:
            show(update.user, update.page.entries)
            im.ack(update.user, update.device, update.page.cursor)

Rule: each update is a page as `sync` gives it. It is read when it is handed over, outside all
locks, so nothing piles up however slow its reader is. Devices take turns. An event loop waits for
an update without a thread. The loop comes as an argument: none is imported here.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol, Self

from timeline.devices.waiting import BlockedRead
from timeline.embedded.calls import arguments
from timeline.embedded.messaging import calls
from timeline.engine.engine import Engine
from timeline.errors import ClosedError, UsageError
from timeline.formats.given import Value, encode_name
from timeline.identity import check_device
from timeline.messaging.delivery.subscription import Subscribers
from timeline.messaging.pages import SyncPage, Update
from timeline.messaging.service import Messages

Devices = Iterable[tuple[Value, Value] | tuple[Value, Value, Value | None]]


class Loop(Protocol):
    """What is needed of an event loop, as asyncio has it."""

    def create_future(self) -> Any: ...  # noqa: ANN401  a future of the loop's own
    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> Any: ...  # noqa: ANN401


class Subscription:
    """What happens for any number of devices, from where each of them is."""

    def __init__(
        self,
        engine: Engine,
        messages: Messages,
        devices: Devices,
        call: Callable[[Update], object] | None,
        limit: int,
    ) -> None:
        self._callbacks = engine.callbacks
        self._call = call
        self._limit = limit
        self._lock = threading.Lock()  # of the next two
        self._hooks: dict[Callable[[], object], None] = {}
        self._called = False  # `_call_next` is due
        self._inner = Subscribers(
            engine, messages.waiters, messages.reader, messages.presence, self._tell
        )
        try:
            if not isinstance(devices, Iterable):
                raise UsageError(f"devices are given as a list, not as {devices!r:.64}")
            for device in devices:
                user, name, after = _parts(device)
                self.add(user, name, after=after)
        except BaseException:
            self.close()
            raise

    # --- whose --------------------------------------------------------------------------------

    def add(self, user: Value, device: Value, *, after: Value | None = None) -> None:
        """Add a device: what happened after a cursor, or after what it acknowledged, and what
        happens from now on. A device that is there already starts over. Raises `NotFoundError` for
        an unknown user.
        """
        cursor = None if after is None else encode_name(after)
        self._inner.add(encode_name(user), check_device(encode_name(device)), cursor)

    def remove(self, user: Value, device: Value) -> bool:
        """Leave out a device; whether it was there."""
        return self._inner.remove(encode_name(user), encode_name(device))

    def __len__(self) -> int:
        """How many devices."""
        return len(self._inner)

    def __bool__(self) -> bool:
        return True

    # --- taking -------------------------------------------------------------------------------

    def take(self) -> Update | None:
        """The next update, without waiting; None when there is none yet. Raises `ClosedError` when
        the subscription or the store was closed.
        """
        found = self._inner.take(self._limit)
        if found is None:
            return None
        subscriber, page = found
        entries = [calls.entry_of(update) for update in page.entries]
        read = SyncPage(entries, page.cursor.decode(), page.more, page.resync)
        return Update(subscriber.user.decode(), subscriber.device.decode(), read)

    def wait(self, timeout: float | None = None) -> Update | None:
        """The next update, once there is one; None when none came within `timeout` seconds. Raises
        `ClosedError`.
        """
        seconds = None if timeout is None else arguments.seconds(timeout, "timeout")
        update = self.take()
        if update is not None:
            return update
        waiter = BlockedRead(self.take)
        self._hook(waiter.ready)
        try:
            return waiter.wait(seconds)
        finally:
            self._unhook(waiter.ready)

    def __iter__(self) -> Iterator[Update]:
        """Updates as they come, until the subscription or the store is closed."""
        with suppress(ClosedError):
            while (update := self.wait()) is not None:
                yield update

    async def updates(self, loop: Loop) -> AsyncIterator[Update]:
        """The same without a thread, on an event loop such as `asyncio.get_running_loop()`."""
        while True:
            try:
                update = self.take()
            except ClosedError:
                return
            if update is not None:
                yield update
                continue
            future = loop.create_future()

            def hook(future: Any = future) -> None:  # noqa: ANN401
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(_settle, future)

            self._hook(hook)
            try:
                await future
            finally:
                self._unhook(hook)

    def close(self) -> None:
        """End it; a call that waits for an update ends too."""
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- being ready --------------------------------------------------------------------------

    def _hook(self, hook: Callable[[], object]) -> None:
        """Call `hook` when there may be something to take; immediately if there may be already."""
        with self._lock:
            self._hooks[hook] = None
            due = self._inner.due
        if due:
            hook()

    def _unhook(self, hook: Callable[[], object]) -> None:
        with self._lock:
            self._hooks.pop(hook, None)

    def _tell(self) -> None:
        """There may be something to take."""
        with self._lock:
            hooks = list(self._hooks)
            due = self._call is not None and not self._called
            self._called = self._called or due
        for hook in hooks:
            hook()
        if due:
            self._callbacks.call(self._call_next)

    def _call_next(self) -> None:
        """Hand over one update. Callbacks of others come between it and the next."""
        with self._lock:
            self._called = False
        try:
            update = self.take()
            if update is not None:
                assert self._call is not None
                self._call(update)
        except ClosedError:
            if not self._inner.closed:
                raise
        finally:  # also when this one failed, the others have their turns
            if self._inner.due and not self._inner.closed:
                self._tell()


def _parts(device: Iterable[Value | None]) -> tuple[Value, Value, Value | None]:
    """User, device and cursor. Raises `UsageError`."""
    text = isinstance(device, str | bytes) or not isinstance(device, Iterable)
    match () if text else tuple(device):
        case (str() | bytes() as user, str() | bytes() as name, *rest) if len(rest) < 2:
            return user, name, rest[0] if rest else None
    raise UsageError(f"a device is (user, device) or (user, device, cursor), not {device!r:.64}")


def _settle(future: Any) -> None:  # noqa: ANN401
    if not future.done():
        future.set_result(None)


def check_call(call: object) -> None:
    """Raise `UsageError` for what cannot be called."""
    if call is not None and not callable(call):
        raise UsageError(f"call is a function of one update, not {call!r:.64}")
