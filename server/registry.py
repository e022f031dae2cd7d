"""The table of commands: what each takes, is and does.

Rule: a command is declared once, by a decorator on its handler; arity, COMMAND INFO, COMMAND DOCS
and dispatch all come from that declaration.

Handlers are of three kinds, which decide when a command may run and what it is given:
- `plain` touches no timeline;
- `read` sees applied groups only, and waits for the client's own writes;
- `write` stages into a draft, and its reply is held until the group is durable.
A handler returns its whole reply; None says that it comes later (a blocked read, a series of
commits) or never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, Generic, Protocol, TypeVar

from timeline.commit.draft import Draft
from timeline.errors import TimelineError
from timeline.formats.rows import Retention
from timeline.lsm.timeline import Timeline
from timeline.lsm.timelines import Extent, Page

from . import replies
from .accounting import Account
from .errors import CommandError, CommandSyntaxError
from .keyspecs import KeySpec, key_spec
from .session import Session
from .syntax import Argument, bounds, parse

PLAIN: Final = 0
READ: Final = 1
WRITE: Final = 2
EXECUTE: Final = 3  # EXEC: a read or a write, whichever its queue is


class View(Protocol):
    """What a read sees: the engine itself or, in a transaction, its draft."""

    def find(self, name: bytes) -> Timeline | None: ...
    def extent(self, timeline: Timeline) -> Extent: ...
    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]: ...
    def retention(self, timeline: Timeline) -> Retention: ...
    def read(
        self,
        timeline: Timeline,
        first: int = ...,
        last: int = ...,
        limit: int | None = ...,
        *,
        reverse: bool = ...,
    ) -> Page: ...


class Catalog(View, Protocol):
    """The same with what there is: names in byte order, and (id, name) in order of ids."""

    @property
    def count(self) -> int: ...  # raw timelines
    def names(self, prefix: bytes = ..., after: bytes | None = ...) -> Iterator[bytes]: ...
    def ids(self, after: int) -> Iterator[tuple[int, bytes]]: ...


Arguments = list[bytes]
PlainHandler = Callable[[Session, Arguments], bytes | None]
ReadHandler = Callable[[Session, Arguments, Catalog], bytes | None]
WriteHandler = Callable[[Session, Arguments, Draft], bytes | None]


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
    queued: bool = True  # MULTI queues it; others run at once (EXEC, DISCARD, …)
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


COMMANDS: dict[bytes, Command] = {}
# Dispatch by the name as clients spell it, filled as spellings are met.
_SPELLINGS: dict[bytes, Command] = {}
_MOST_SPELLINGS = 4096


def resolve(args: Arguments) -> Command | None:
    """The command or subcommand that `args` call, in any case; None when there is none. A command
    that has no such subcommand stands for itself.
    """
    name = args[0]
    command = _SPELLINGS.get(name)
    if command is None:
        command = COMMANDS.get(name.upper())
        if command is not None and len(_SPELLINGS) < _MOST_SPELLINGS:
            _SPELLINGS[name] = command
    if command is None:
        return None
    if command.reading is not None and len(args) <= command.reading.high:
        return command.reading
    if command.subcommands and len(args) > 1:
        return command.subcommands.get(args[1].upper(), command)
    return command


def every() -> Iterator[Command]:
    """All commands, each with its subcommands behind it."""
    for command in COMMANDS.values():
        yield command
        yield from command.subcommands.values()


def wrong_number(command: Command) -> CommandSyntaxError:
    return CommandSyntaxError(f"wrong number of arguments for '{command.wire_name}' command")


def explained(command: Command, problem: TimelineError) -> TimelineError:
    """A refusal, with the syntax of a command of our own where the words do not fit that. Redis's
    commands are refused in Redis's words.
    """
    ours = "." in command.name or command.name == "BACKUP"
    if not isinstance(problem, CommandSyntaxError) or not ours:
        return problem
    fields = "* (field" in command.syntax and "'*'" not in str(problem)
    hint = " where fields come behind '*' (in a shell, quote it)" if fields else ""
    return CommandError(f"{problem}: {command.name} {command.syntax}".rstrip() + hint)


def unknown(args: Arguments) -> CommandError:
    """The refusal of a command that does not exist, in Redis's words but for what is like ours."""
    nearest = _nearest(args[0][:64].upper())
    if nearest:
        return CommandError(f"unknown command '{shown(args[0])}': did you mean {nearest}?")
    beginning = "".join(f"'{shown(argument)}' " for argument in args[1:8])
    return CommandError(
        f"unknown command '{shown(args[0])}', with args beginning with: {beginning[:128]}"
    )


@lru_cache(maxsize=1024)
def _nearest(name: bytes) -> str:
    """The command of our own that a name like one may mean; empty when there is none."""
    ours = [known.decode() for known in COMMANDS if b"." in known] if b"." in name else []
    return next(iter(get_close_matches(name.decode("latin-1"), ours, 1, 0.7)), "")


def unknown_subcommand(name: str, args: Arguments) -> CommandError:
    return CommandError(f"unknown subcommand '{shown(args[1])}'. Try {name} HELP.")


def shown(value: bytes) -> str:
    """What a client sent, short and printable, for an error."""
    return value[:64].decode("ascii", "backslashreplace").translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


H = TypeVar("H", bound=Callable[..., bytes | None])


class Declarer(Generic[H]):
    """The decorator for handlers of one kind."""

    def __init__(self, kind: int) -> None:
        self._kind = kind

    def __call__(
        self,
        name: str,
        syntax: str,
        summary: str,
        *,
        group: str = "server",
        flags: str = "",
        complexity: str = "O(1)",
        access: str = "",
        queued: bool = True,
        listed: bool = True,
        lenient: bool = False,
    ) -> Callable[[H], H]:
        """Declares the command `name`; how many words it takes follows from `syntax`. A `lenient`
        one is called with more too, as Redis does, and says itself what is wrong.
        """

        def decorate(handler: H) -> H:
            arguments = parse(syntax)
            words = len(name.split())
            low, high = bounds(arguments)
            keys = key_spec(arguments, words)
            told = flags.split()
            if keys is not None and keys.movable:
                told.append("movablekeys")
            command = Command(
                name=name,
                kind=self._kind,
                handler=handler,
                arguments=arguments,
                low=low + words,
                high=-1 if lenient or high < 0 else high + words,
                summary=summary,
                group=group,
                flags=tuple(told),
                complexity=complexity,
                syntax=syntax,
                keys=keys,
                access=tuple((access or ("RW update" if "write" in told else "RO access")).split()),
                queued=queued,
                listed=listed,
            )
            container, _, member = name.partition(" ")
            if member:
                COMMANDS[container.encode()].subcommands[member.encode()] = command
            else:
                COMMANDS[name.encode()] = command
            return handler

        return decorate


plain = Declarer[PlainHandler](PLAIN)
read = Declarer[ReadHandler](READ)
write = Declarer[WriteHandler](WRITE)
execute = Declarer[PlainHandler](EXECUTE)


def reads(name: str, syntax: str) -> Callable[[ReadHandler], ReadHandler]:
    """Declares what the command `name`, which writes, does when called with no more than `syntax`:
    it reads, also while writing is off.
    """

    def decorate(handler: ReadHandler) -> ReadHandler:
        command = COMMANDS[name.encode()]
        high = bounds(parse(syntax))[1] + len(name.split())
        command.reading = replace(command, kind=READ, handler=handler, high=high)
        return handler

    return decorate


def container(name: str, summary: str, *, group: str = "server", listed: bool = True) -> None:
    """Declares a command that is nothing but its subcommands; one of them is HELP."""

    def refuse(session: Session, args: Arguments) -> bytes:
        raise AssertionError("a subcommand is carried out, or none is found")

    plain(name, "subcommand [argument...]", summary, group=group, listed=listed)(refuse)
    declare_help(name, group)


def declare_help(name: str, group: str = "server") -> None:
    """Declares the subcommand HELP of the command `name`: the others and what each does."""

    def help_(session: Session, args: Arguments) -> bytes:
        lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        for member in COMMANDS[name.encode()].subcommands.values():
            if member.name != f"{name} HELP":
                lines += [f"{member.name.removeprefix(f'{name} ')} {member.syntax}".rstrip()]
                lines += [f"    {member.summary}"]
        lines += ["HELP", "    Print this help."]
        return replies.encode([replies.Status(line) for line in lines], session.resp)

    plain(f"{name} HELP", "", "What the subcommands do.", group=group, flags="loading stale")(help_)
