"""What the daemon itself refuses, besides the engine's `timeline.errors`.

Rule: everything here is a `TimelineError` with a first word for the wire, so that one place
(`replies.error`) turns any refusal into a reply.
"""

from __future__ import annotations

from timeline.errors import TimelineError


class CommandError(TimelineError):
    """A command is refused with a first word of the Redis protocol, such as EXECABORT."""

    def __init__(self, message: str, code: str = "ERR") -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the class's word, given by instance here


class CommandSyntaxError(CommandError):
    """The words of a command do not fit its syntax, which the reply may add."""


class ProtocolError(TimelineError):
    """The bytes are no commands; the connection cannot go on.

    `commands` are the whole commands that came before the fault in the same bytes. They are in good
    order, and are carried out.
    """

    def __init__(self, message: str, commands: list[list[bytes]] | None = None) -> None:
        super().__init__(f"Protocol error: {message}")
        self.commands = commands if commands is not None else []
