"""A connection to a daemon or a Redis with replies as bytes, for data that must stay exact.

Rule: several commands are sent together. When all are answered, the first that was refused raises
`Refused`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import hiredis

from .wire import Refused, Wire

Word = bytes | str | int


class RawWire(Wire):
    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._reader = hiredis.Reader()

    def ask(self, *words: Word) -> Any:  # noqa: ANN401  whatever the command replies
        return self.ask_all([words])[0]

    def ask_all(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """The replies to `commands`. Raises `Refused` for the first that was refused."""
        replies = self._exchange(commands)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise Refused(str(reply))
        return replies


def connect_to_redis(url: str) -> RawWire:
    """A connection to `redis://[[user]:password@]host[:port][/database]`."""
    parts = urlsplit(url)
    if parts.scheme != "redis" or not parts.hostname:
        raise click.UsageError(f"{url!r} is no redis://HOST:PORT/DATABASE")
    try:
        port = parts.port or 6379
    except ValueError:
        raise click.UsageError(f"{url!r} has no valid port") from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    wire = RawWire(f"{host}:{port}")
    if parts.password:
        names = [unquote(parts.username)] if parts.username else []
        wire.ask("AUTH", *names, unquote(parts.password))
    database = parts.path.strip("/")
    if database:
        wire.ask("SELECT", database)
    return wire


def as_map(reply: Sequence[Any]) -> dict[str, Any]:
    """A flat reply of names and values."""
    names = [name.decode() for name in chain(reply[::2])]
    return dict(zip(names, reply[1::2], strict=True))
