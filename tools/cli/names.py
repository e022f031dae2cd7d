"""Names on the command line: of timelines, conversations and users; a shell completes them.

Rule: completion never fails. If the daemon does not answer or the store cannot be read, it offers
nothing. It leaves out names that are not text, and offers a hundred at most.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import islice
from typing import Final

import click
from click.shell_completion import CompletionItem

from timeline.errors import TimelineError
from timeline.formats.names import CONVERSATIONS, EVENTS

from ..sources.opening import source_of
from ..sources.wire import connect_to_daemon

_NAMES_OFFERED: Final = 100
_NAMES_READ: Final = 1_000


def as_bytes(name: str) -> bytes:
    """A name as it was typed; it may be any bytes."""
    return name.encode("utf-8", "surrogateescape")


def conversation_of(name: bytes) -> bytes:
    """The id of a conversation. `name` is the id, or one of its two timelines."""
    return name.removeprefix(CONVERSATIONS).removeprefix(EVENTS)


class Name(click.ParamType[str]):
    """The name of a timeline that begins with `prefix`, without the prefix."""

    name = "name"

    def __init__(self, prefix: bytes = b"") -> None:
        self._prefix = prefix.decode()

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        del param
        try:
            found = _names(ctx, as_bytes(self._prefix + incomplete))
        except (TimelineError, OSError, click.ClickException):
            return []
        return [CompletionItem(name.removeprefix(self._prefix)) for name in found]


def _names(ctx: click.Context, prefix: bytes) -> list[str]:
    directory, address = ctx.params.get("directory"), ctx.params.get("connect")
    with ExitStack() as stack:
        if address is not None:
            wire = stack.enter_context(connect_to_daemon(address))
            source = stack.enter_context(source_of(None, wire))
        elif directory is not None:
            source = stack.enter_context(source_of(directory, None))
        else:
            return []
        found = [each.name for each in islice(source.timelines(prefix), _NAMES_READ)]
    # Names with @ come first in order and would leave no room for others.
    wanted = [name for name in found if prefix.startswith(b"@") or not name.startswith(b"@")]
    return [name.decode() for name in wanted if _is_text(name)][:_NAMES_OFFERED]


def _is_text(name: bytes) -> bool:
    try:
        return name.decode().isprintable()
    except UnicodeDecodeError:
        return False
