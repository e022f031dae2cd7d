"""One command: what it takes, is and does.

Commands are of three kinds, which decide when one may run and what its handler is given:
- `PLAIN` touches no timeline;
- `READ` sees applied groups only, and waits for the client's own writes;
- `WRITE` stages into a draft, and its reply is held until the group is durable.
EXEC is of a kind of its own, since it reads or writes as its queue does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .accounting import Account
from .keyspecs import KeySpec
from .syntax import Argument

PLAIN: Final = 0
READ: Final = 1
WRITE: Final = 2
EXECUTE: Final = 3  # EXEC: a read or a write, whichever its queue is

Arguments = list[bytes]  # the words of a call, its name first


@dataclass(slots=True, eq=False)
class Command:
    """One command or subcommand (whose name has a blank: `CLIENT ID`)."""

    name: str
    kind: int
    handler: Callable[..., bytes | None]
    arguments: tuple[Argument, ...]
    # Fewest and most words, the name included; -1: no most.
    low: int
    high: int
    summary: str
    group: str
    flags: tuple[str, ...]
    complexity: str
    syntax: str
    keys: KeySpec | None
    access: tuple[str, ...]  # what it does with its keys, in the words of COMMAND GETKEYSANDFLAGS
    queued: bool = True  # MULTI queues it; others run immediately (EXEC, DISCARD, …)
    listed: bool = True  # COMMAND tells of it; not of one that only explains why it is not there
    # What it is when called with so few words that there is nothing to write; see `reads`.
    reading: Command | None = None
    subcommands: dict[bytes, Command] = field(default_factory=dict)
    account: Account = field(default_factory=Account)  # its reading shares it

    @property
    def wire_name(self) -> str:
        """As COMMAND, INFO and CLIENT LIST call it: `client|id`."""
        return self.name.lower().replace(" ", "|")

    @property
    def arity(self) -> int:
        """As Redis counts: negative when it is only a least."""
        return self.low if self.low == self.high else -self.low
