"""A live daemon, as the tools reach it: one connection, one command at a time.

Rule: what the daemon refuses raises `Refused` with its own sentence; what keeps it from answering
raises `OSError`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from select import select
from types import TracebackType
from typing import Any, Self

import click
import hiredis

_SECONDS = 60.0  # without an answer, after which it is given up
_LOOK_SECONDS = 0.2
_PORT = 7420


class Refused(click.ClickException):
    """The daemon refused a command, and says why."""


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT`; either may be left out, for this machine and the daemon's own port."""
    host, _, port = address.rpartition(":") if ":" in address else (address, "", str(_PORT))
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise click.UsageError(f"{address!r} is no HOST:PORT, such as 127.0.0.1:{_PORT}")
    return host.strip("[]") or "127.0.0.1", int(port)


Command = Sequence[str | bytes | int]


def _accepted(reply: Any) -> Any:  # noqa: ANN401  whatever the command replies
    if isinstance(reply, hiredis.ReplyError):
        raise Refused(str(reply))
    return reply


class Wire:
    def __init__(self, address: str) -> None:
        self.address = address
        host, port = split_address(address)
        try:
            self._socket = socket.create_connection((host, port), timeout=_SECONDS)
        except OSError as error:
            raise click.ClickException(
                f"no daemon answers at {host}:{port} ({error}): is it running there?"
            ) from error
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        self._maps = False  # whether replies come in RESP3

    def call(self, *words: str | bytes) -> Any:  # noqa: ANN401  what it is
        """The reply to a command."""
        return _accepted(self._exchange([words])[0])

    def follow(self, *words: str | bytes, progress: Callable[[int, int], None]) -> Any:  # noqa: ANN401  what it is
        """The reply to a command that may take long, however long that is; meanwhile `progress` is
        told what INFO says of it. The daemon ends it when this connection closes.
        """
        client = str(self.call("CLIENT", "ID"))
        self._send([words])
        with Wire(self.address) as other:
            while not select([self._socket], [], [], _LOOK_SECONDS)[0]:
                for job in other.info("jobs").values():
                    facts = dict(fact.split("=", 1) for fact in job.split(","))
                    if facts["client"] == client:
                        progress(int(facts["done"]), int(facts["total"]))
        return _accepted(self._receive())

    def _receive(self) -> Any:  # noqa: ANN401
        while (reply := self._reader.gets()) is False:
            received = self._socket.recv(1 << 16)
            if not received:
                raise click.ClickException("the daemon closed the connection")
            self._reader.feed(received)
        return reply

    def ask(self, *words: str | bytes | int) -> Any:  # noqa: ANN401  whatever the command replies
        """As `call`, with strings as bytes and maps as maps."""
        return _accepted(self.ask_all([words])[0])

    def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """Several at once; what was refused is a `hiredis.ReplyError` among the replies."""
        self._reader.set_encoding(None)
        try:
            if not self._maps:
                self._exchange([("HELLO", "3")])
                self._maps = True
            return self._exchange(commands)
        finally:
            self._reader.set_encoding("utf-8", "replace")

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        self._send(commands)
        return [self._receive() for _ in commands]

    def _send(self, commands: Sequence[Command]) -> None:
        packed = [hiredis.pack_command(tuple(words)) for words in commands]  # type: ignore[arg-type]
        self._socket.sendall(b"".join(packed))

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
