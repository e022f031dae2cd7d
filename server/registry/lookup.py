"""The table of commands: looks up the one that a client calls, and refuses a call that fits none.

Rule: `commands` fills the table when it is imported; here it is only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache

from timeline.errors import TimelineError

from ..errors import CommandError, CommandSyntaxError
from .command import Arguments, Command

COMMANDS: dict[bytes, Command] = {}
# Dispatch by the name as clients spell it, filled as spellings are met.
_SPELLINGS: dict[bytes, Command] = {}
_MOST_SPELLINGS = 4096


def resolve(args: Arguments) -> Command | None:
    """The command or subcommand that `args` call, in upper or lower case; None when there is none.
    A command without such a subcommand stands for itself.
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
    """All commands, each followed by its subcommands."""
    for command in COMMANDS.values():
        yield command
        yield from command.subcommands.values()


def wrong_number(command: Command) -> CommandSyntaxError:
    return CommandSyntaxError(f"wrong number of arguments for '{command.wire_name}' command")


def explained(command: Command, problem: TimelineError) -> TimelineError:
    """The refusal of a call, with the syntax where the words do not fit that of a command of our
    own. Redis's commands are refused in Redis's words.
    """
    ours = "." in command.name or command.name == "BACKUP"
    if not isinstance(problem, CommandSyntaxError) or not ours:
        return problem
    fields = "* (field" in command.syntax and "'*'" not in str(problem)
    hint = " where fields come after '*' (in a shell, quote it)" if fields else ""
    return CommandError(f"{problem}: {command.name} {command.syntax}".rstrip() + hint)


def unknown(args: Arguments) -> CommandError:
    """The refusal of an unknown command: in Redis's words, unless it is like one of ours."""
    nearest = _nearest(args[0][:64].upper())
    if nearest:
        return CommandError(f"unknown command '{shown(args[0])}': did you mean {nearest}?")
    beginning = "".join(f"'{shown(argument)}' " for argument in args[1:8])
    return CommandError(
        f"unknown command '{shown(args[0])}', with args beginning with: {beginning[:128]}"
    )


@lru_cache(maxsize=1024)
def _nearest(name: bytes) -> str:
    """The command of our own that a misspelt name may mean; empty when there is none."""
    ours = [known.decode() for known in COMMANDS if b"." in known] if b"." in name else []
    return next(iter(get_close_matches(name.decode("latin-1"), ours, 1, 0.7)), "")


def unknown_subcommand(name: str, args: Arguments) -> CommandError:
    return CommandError(f"unknown subcommand '{shown(args[1])}'. Try {name} HELP.")


def shown(value: bytes) -> str:
    """What a client sent, short and printable, for an error."""
    return value[:64].decode("ascii", "backslashreplace").translate(_CONTROLS)


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
