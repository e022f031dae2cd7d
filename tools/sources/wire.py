"""A connection to a live daemon: one command at a time.

Rule: a command that the daemon refuses raises `Refused` with the daemon's own sentence. If no
daemon answers, or something else does, a `click.ClickException` names the address. Arguments are
sent as the bytes that were typed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, Final, Self

import click
import hiredis

_ANSWER_SECONDS: Final = 60.0  # without a word of the daemon, after which it is given up
_LOOK_SECONDS: Final = 0.2  # between two looks at a job
_DEFAULT_PORT: Final = 7420


class Refused(click.ClickException):
    """The daemon refused a command, and says why."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`. Either may be left out: 127.0.0.1, 7420."""
    if address.isdigit():
        address = f":{address}"
    host, _, port = address.rpartition(":") if ":" in address else (address, "", str(_DEFAULT_PORT))
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise click.UsageError(f"{address!r} is no HOST:PORT, such as 127.0.0.1:{_DEFAULT_PORT}")
    return host.strip("[]") or "127.0.0.1", int(port)


def socket_of(address: str) -> str | None:
    """The path of a Unix socket, or None. An address is a path if it has a slash in it, or if there
    is a socket of that name here.
    """
    path = address.removeprefix("unix:")
    return path if "/" in path or Path(path).is_socket() else None


def place_of(address: str) -> str:
    """An address in full, for messages."""
    path = socket_of(address)
    if path is not None:
        return path
    host, port = split_address(address)
    return f"{host}:{port}"


def _connect(address: str) -> socket.socket:
    path = socket_of(address)
    if path is None:
        return socket.create_connection(split_address(address), timeout=_ANSWER_SECONDS)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(_ANSWER_SECONDS)
    try:
        link.connect(path)
    except OSError:
        link.close()
        raise
    return link


Command = Sequence[str | bytes | int]


def connect_to_daemon(address: str) -> Wire:
    """A connection to a Timeline daemon; raises when something else answers there."""
    wire = Wire(address)
    try:
        wire.greet()
    except BaseException:
        wire.close()
        raise
    return wire


def _bytes(word: str | bytes | int) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogateescape")


def _accepted(reply: Any) -> Any:  # noqa: ANN401  whatever the command replies
    if isinstance(reply, hiredis.ReplyError):
        raise Refused(str(reply))
    return reply


class Wire:
    def __init__(self, address: str) -> None:
        self.address = address
        self._place = place_of(address)
        try:
            self._socket = _connect(address)
        except OSError as error:
            raise click.ClickException(
                f"no daemon answers at {self._place} ({error}): is it running there?"
            ) from error
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")
        self._maps = False  # whether the connection speaks RESP3

    def greet(self) -> None:
        """Make sure that a Timeline daemon answers, before anything else is asked."""
        try:
            (reply,) = self._exchange([("HELLO",)])
        except click.ClickException:
            raise self._stranger() from None
        _accepted(reply)
        if not isinstance(reply, list):
            raise self._stranger()
        server = dict(zip(reply[::2], reply[1::2], strict=False)).get("server")
        if server != "timeline":
            raise self._stranger(f" but {server}" if isinstance(server, str) else "")

    def _stranger(self, but: str = "") -> click.ClickException:
        return click.ClickException(
            f"{self._place} is no Timeline daemon{but}: name its own port, {_DEFAULT_PORT} if it "
            "was not given another"
        )

    def call(self, *words: str | bytes) -> Any:  # noqa: ANN401  what it is
        """The reply to a command."""
        return _accepted(self._exchange([words])[0])

    def follow(self, *words: str | bytes, progress: Callable[[int, int], None]) -> Any:  # noqa: ANN401  what it is
        """The reply to a command that may take long. `progress` gets what INFO says of it so far.
        The daemon ends the command when this connection closes.
        """
        client = str(self.call("CLIENT", "ID"))
        self._send([words])
        # Without a second connection there is no progress to show; the work goes on.
        with suppress(click.ClickException), Wire(self.address) as other:
            while not self._answered(_LOOK_SECONDS):
                for job in other.info("jobs").values():
                    facts = dict(fact.split("=", 1) for fact in job.split(","))
                    if facts["client"] == client:
                        progress(int(facts["done"]), int(facts["total"]))
        self._answered(None)
        return _accepted(self._receive())

    def _answered(self, seconds: float | None) -> bool:
        """Whether a reply has begun to come; waits at most `seconds`."""
        return bool(select([self._socket], [], [], seconds)[0])

    def _receive(self) -> Any:  # noqa: ANN401
        try:
            while (reply := self._reader.gets()) is False:
                received = self._socket.recv(1 << 18)
                if not received:
                    raise self._lost("closed the connection")
                self._reader.feed(received)
        except TimeoutError:
            raise self._lost(f"said nothing for {_ANSWER_SECONDS:.0f} seconds") from None
        except OSError as error:
            raise self._lost(f"broke the connection off ({error.strerror})") from error
        except hiredis.ProtocolError as error:
            raise self._lost("sent something that is no reply") from error
        return reply

    def _lost(self, how: str) -> click.ClickException:
        return click.ClickException(
            f"{self._place} {how} before it answered: is it stopping? Its log says why"
        )

    def ask(self, *words: str | bytes | int) -> Any:  # noqa: ANN401  whatever the command replies
        """As `call`, but with strings as bytes, and maps as maps (RESP3)."""
        return _accepted(self.ask_all([words])[0])

    def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to several commands; one that was refused is a `hiredis.ReplyError`."""
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
        packed = [hiredis.pack_command(tuple(map(_bytes, words))) for words in commands]  # type: ignore[arg-type]
        try:
            self._socket.sendall(b"".join(packed))
        except TimeoutError:
            raise self._lost(f"took nothing for {_ANSWER_SECONDS:.0f} seconds") from None
        except OSError as error:
            raise self._lost(f"broke the connection off ({error.strerror})") from error

    def info(self, section: str) -> dict[str, str]:
        """A section of INFO."""
        lines = str(self.call("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
