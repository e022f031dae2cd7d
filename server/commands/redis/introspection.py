"""COMMAND: what commands there are and how they are called.

Rule: everything comes from the declarations; redis-cli's hints and clients' tables are built from
it.
"""

from __future__ import annotations

from ...errors import CommandError
from ...registry.command import Arguments, Command
from ...registry.lookup import COMMANDS, resolve
from ...service.session import Session
from ...wire import replies
from ...wire.replies import Set, Status
from ..declaring import declare_help, plain
from ..glob import Glob


def _named(names: list[bytes]) -> list[tuple[bytes, Command | None]]:
    """The commands called `names` (a subcommand as `client|id`), or all."""
    if not names:
        return [(name, command) for name, command in COMMANDS.items() if command.listed]
    found: list[tuple[bytes, Command | None]] = []
    for name in names:
        container, _, member = name.upper().partition(b"|")
        command = COMMANDS.get(container)
        if command is not None and member:
            command = command.subcommands.get(member)
        found.append((name, command if command is not None and command.listed else None))
    return found


def _listed() -> list[Command]:
    return [command for command in COMMANDS.values() if command.listed]


def _info(command: Command) -> replies.Value:
    """An element of COMMAND INFO, as Redis 7 documents it."""
    first, last, step = (0, 0, 0) if command.keys is None else command.keys.range
    specs = [] if command.keys is None else [command.keys.describe(command.access)]
    members = [_info(each) for each in command.subcommands.values()]
    return [
        command.wire_name,
        command.arity,
        Set(Status(flag) for flag in command.flags),
        first,
        last,
        step,
        Set([Status(f"@{command.group}")]),
        Set(),
        Set(specs),
        members or Set(),
    ]


def _docs(command: Command) -> replies.Value:
    """A value of COMMAND DOCS, as Redis 7 documents it."""
    found: dict[str, replies.Value] = {
        "summary": command.summary,
        "since": "0.1.0",
        "group": command.group,
        "complexity": command.complexity,
    }
    if command.subcommands:
        found["subcommands"] = {
            each.wire_name: _docs(each) for each in command.subcommands.values()
        }
    elif command.arguments:
        found["arguments"] = [argument.describe() for argument in command.arguments]
    return found


@plain("COMMAND", "", "What commands there are.", flags="loading")
def command_(session: Session, args: Arguments) -> bytes:
    return replies.encode([_info(command) for command in _listed()], session.resp)


@plain("COMMAND COUNT", "", "How many commands there are.")
def count(session: Session, args: Arguments) -> bytes:
    return replies.integer(len(_listed()))


@plain("COMMAND INFO", "[command-name...]", "Arity, flags and keys of commands.")
def info(session: Session, args: Arguments) -> bytes:
    found: list[replies.Value] = [
        None if command is None else _info(command) for _, command in _named(args[2:])
    ]
    return replies.encode(found, session.resp)


@plain("COMMAND DOCS", "[command-name...]", "What commands do and take.")
def docs(session: Session, args: Arguments) -> bytes:
    found = {
        command.wire_name: _docs(command) for _, command in _named(args[2:]) if command is not None
    }
    return replies.encode(found, session.resp)


@plain("COMMAND LIST", "[FILTERBY MODULE|ACLCAT|PATTERN filter]", "The names of the commands.")
def list_(session: Session, args: Arguments) -> bytes:
    names = [command.wire_name.encode() for command in _listed()]
    if len(args) > 2:
        names = _filtered(names, args)
    return replies.bulks(names)


def _filtered(names: list[bytes], args: Arguments) -> list[bytes]:
    if len(args) != 5 or args[2].upper() != b"FILTERBY":
        raise CommandError("syntax error")
    how, what = args[3].upper(), args[4].lower()
    if how == b"PATTERN":
        glob = Glob(args[4], ignore_case=True)
        return [name for name in names if glob.matches(name)]
    if how == b"ACLCAT":
        return [name for name in names if COMMANDS[name.upper()].group.encode() == what]
    if how == b"MODULE":
        return []
    raise CommandError("syntax error")


@plain("COMMAND GETKEYS", "command argument...", "The keys among the words of a command.")
def getkeys(session: Session, args: Arguments) -> bytes:
    _, keys = _keys_of(args[2:])
    return replies.bulks(keys)


@plain(
    "COMMAND GETKEYSANDFLAGS",
    "command argument...",
    "The keys among the words of a command, and what it does with them.",
)
def getkeysandflags(session: Session, args: Arguments) -> bytes:
    command, keys = _keys_of(args[2:])
    access = Set(Status(word) for word in command.access)
    return replies.encode([[key, access] for key in keys], session.resp)


def _keys_of(words: Arguments) -> tuple[Command, list[bytes]]:
    command = resolve(words)
    if command is None:
        raise CommandError("Invalid command specified")
    if command.keys is None:
        raise CommandError("The command has no key arguments")
    if len(words) < command.low or len(words) > command.high >= 0:
        raise CommandError("Invalid number of arguments specified for command")
    return command, command.keys.find(words)


declare_help("COMMAND")
