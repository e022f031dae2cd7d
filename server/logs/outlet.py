"""A stream for the daemon's output. A writer never waits, even if nobody reads the stream.

Rule: a thread writes the lines in order. What waits is bounded. A line beyond that is dropped and
counted, and the count is reported once there is room again. What cannot be written, on a full disk
or to a pipe without a reader, is lost and stops nothing.

The thread writes to the descriptor itself. If it used Python's buffer and were stuck there, the
process could not end.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

_WAITING_BYTES: Final = 1 << 20


class Outlet(io.TextIOBase):
    def __init__(self, stream: TextIO, tell: Callable[[int], None] = lambda _: None) -> None:
        """`tell` is called with the number of lines that were dropped, and may write of it."""
        super().__init__()
        self._stream = stream
        self._tell = tell
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0  # of what waits, and of what is being written
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        line = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._size + len(line) > _WAITING_BYTES:
                self._dropped += 1
                return len(text)
            self._waiting.append(line)
            self._size += len(line)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="timelined-outlet", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing: `drain` waits."""

    def drain(self, seconds: float) -> None:
        """Wait until everything is written, for so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._size, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                lines = list(self._waiting)
                self._waiting.clear()
            data = b"".join(lines)
            with suppress(OSError, ValueError):  # a full disk, a closed stream
                self._put(data)
            with self._changed:
                self._size -= len(data)
                dropped, self._dropped = self._dropped, 0
                self._changed.notify_all()
            if dropped:
                self._tell(dropped)

    def _put(self, data: bytes) -> None:
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):  # one in memory
            self._stream.write(data.decode("utf-8", "backslashreplace"))
            return
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
