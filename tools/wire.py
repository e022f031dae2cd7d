"""A live daemon, as the tools reach it: one connection, one command at a time.

Rule: what the daemon refuses raises `Refused` with its own sentence; what keeps it from answering
raises `OSError`.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, Self

import click
import hiredis

_SECONDS = 60.0  # without an answer, after which it is given up
_PORT = 7420


class Refused(click.ClickException):
    """The daemon refused a command, and says why."""


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT`; either may be left out, for this machine and the daemon's own port."""
    host, _, port = address.rpartition(":") if ":" in address else (address, "", str(_PORT))
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise click.UsageError(f"{address!r} is no HOST:PORT, such as 127.0.0.1:{_PORT}")
    return host.strip("[]") or "127.0.0.1", int(port)


class Wire:
    def __init__(self, address: str) -> None:
        host, port = split_address(address)
        try:
            self._socket = socket.create_connection((host, port), timeout=_SECONDS)
        except OSError as error:
            raise click.ClickException(
                f"no daemon answers at {host}:{port} ({error}): is it running there?"
            ) from error
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")

    def call(self, *words: str) -> Any:  # noqa: ANN401  whatever the command replies
        packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub takes one
        self._socket.sendall(packed)
        while (reply := self._reader.gets()) is False:
            received = self._socket.recv(1 << 16)
            if not received:
                raise click.ClickException("the daemon closed the connection")
            self._reader.feed(received)
        if isinstance(reply, hiredis.ReplyError):
            raise Refused(str(reply))
        return reply

    def info(self, section: str) -> dict[str, str]:
        """A section of INFO."""
        lines = str(self.call("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
