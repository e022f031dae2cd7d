"""The output of one client: replies and pushes, from the moment that they may be sent.

Rule: the transport is given little at a time. What is long waits here in parts, and each part is
freed when the client has taken it. A client that reads fast gets `_SENT_BYTES` in a turn of the
loop. The output is `full` while the client does not read, or something waits here. Then nothing
more is made for it.

Bytes leave in the order in which they are given.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from ..service.counters import Counters

_PART: Final = 256 << 10  # bytes given to the transport at a time
_SENT_BYTES: Final = 1 << 20  # given to it in one turn of the loop


class Output:
    """`taken` is called after some of what waited was taken."""

    __slots__ = (
        "_counters",
        "_loop",
        "_parts",
        "_paused",
        "_taken",
        "_transport",
        "_waiting",
        "full",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
        taken: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._counters = counters
        self._taken = taken
        self._parts: deque[bytes] = deque()
        self._waiting = 0  # bytes of them
        self._paused = False
        self.full = False

    @property
    def size(self) -> int:
        """Bytes the client has yet to take."""
        return self._transport.get_write_buffer_size() + self._waiting

    @property
    def waits(self) -> bool:
        """Whether there is what the transport does not have yet."""
        return bool(self._parts)

    def send(self, out: list[bytes]) -> None:
        """Sends replies."""
        data = out[0] if len(out) == 1 else b"".join(out)
        size = len(data)
        if size > _SENT_BYTES or self._parts:
            self.send_in_parts([data[at : at + _PART] for at in range(0, size, _PART)])
        else:
            self._counters.output_bytes += size
            self._transport.write(data)

    def send_in_parts(self, parts: list[bytes]) -> None:
        """Sends what is long."""
        self._parts += parts
        self._waiting += sum(map(len, parts))
        self._give()
        # Not now: the caller is in the middle of something.
        self._loop.call_soon(self._taken)

    def offer(self, parts: list[bytes]) -> None:
        """Sends what others are sent too, without a copy. Only while it is not `full`."""
        self._counters.output_bytes += sum(map(len, parts))
        self._transport.writelines(parts)

    def pause(self) -> None:
        """The transport takes no more."""
        self._paused = self.full = True

    def resume(self) -> None:
        """The transport takes more again."""
        self._paused = False
        # Not now: this may be called from within a write.
        self._loop.call_soon(self.go_on)

    def go_on(self) -> None:
        """Gives the transport more of what waits, and tells."""
        self._give()
        self._taken()

    def _give(self) -> None:
        left = _SENT_BYTES
        while self._parts and not self._paused:
            if left <= 0:  # it reads fast, and others wait
                self._loop.call_soon(self.go_on)
                break
            part = self._parts.popleft()
            self._waiting -= len(part)
            left -= len(part)
            self._counters.output_bytes += len(part)
            self._transport.write(part)
        self.full = self._paused or bool(self._parts)

    def drop(self) -> None:
        """Lets go of what waits."""
        self._parts.clear()
        self._waiting = 0
