"""What systemd is told: that the daemon serves, that it stops, that its loop turns.

Rule: this is the protocol of sd_notify(3). It is spoken when the environment names a socket for it,
and not otherwise. A service manager that does not listen stops nothing here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, environment: Mapping[str, str] | None = None
    ) -> None:
        environment = os.environ if environment is None else environment
        self._loop = loop
        address = environment.get("NOTIFY_SOCKET", "")
        # systemd writes an abstract address with @ in place of its zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # Twice in the time after which systemd takes the daemon for hung.
        self._period = int(environment.get("WATCHDOG_USEC") or 0) / 2e6
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """The daemon serves. From now on systemd hears that its loop turns."""
        self._tell("READY=1")
        if self._period:
            self._alive()

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _alive(self) -> None:
        self._tell("WATCHDOG=1")
        self._timer = self._loop.call_later(self._period, self._alive)

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto(state.encode(), self._address)
