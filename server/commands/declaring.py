"""The syntax of a command stands in the decorator above its handler. This makes the decorators.

Rule: a command is declared once; arity, COMMAND INFO, COMMAND DOCS and dispatch all come from that
declaration. There is a decorator for each kind of command (`registry.command` lists them).

A handler returns its whole reply; None says that it comes later (a blocked read, a command of
several commits) or never.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from timeline.commit.draft import Draft
from timeline.engine.view import View

from ..registry.command import EXECUTE, PLAIN, READ, WRITE, Arguments, Command
from ..registry.keyspecs import key_spec
from ..registry.lookup import COMMANDS
from ..registry.syntax import bounds, parse
from ..service.session import Session
from ..wire import replies

PlainHandler = Callable[[Session, Arguments], bytes | None]
ReadHandler = Callable[[Session, Arguments, View], bytes | None]
WriteHandler = Callable[[Session, Arguments, Draft], bytes | None]


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
        """Declares the command `name`. How many words it takes follows from `syntax`.

        - `group`: where COMMAND DOCS lists it, and its ACL category (`stream`, `timeline`)
        - `flags`: words of COMMAND INFO. `no_multi` refuses it inside MULTI; `skip_slowlog` keeps
          it out of the slow log; `write` gives `access` another default.
        - `access`: what it does with its keys, in the words of COMMAND GETKEYSANDFLAGS
          (`RW update`, `RO access`)
        - `queued`: whether MULTI queues it; others run at once (EXEC, DISCARD)
        - `listed`: whether COMMAND lists it; not one that only explains why it is not there
        - `lenient`: it is called with too many words as well, as in Redis, and says itself what is
          wrong
        """

        def decorate(handler: H) -> H:
            arguments = parse(syntax)
            words = len(name.split())
            low, high = bounds(arguments)
            keys = key_spec(arguments, words)
            given_flags = flags.split()
            if keys is not None and keys.movable:
                given_flags.append("movablekeys")
            command = Command(
                name=name,
                kind=self._kind,
                handler=handler,
                arguments=arguments,
                low=low + words,
                high=-1 if lenient or high < 0 else high + words,
                summary=summary,
                group=group,
                flags=tuple(given_flags),
                complexity=complexity,
                syntax=syntax,
                keys=keys,
                access=tuple(
                    (access or ("RW update" if "write" in given_flags else "RO access")).split()
                ),
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
    """Declares what the command `name`, which writes, does when it is called with no more than
    `syntax`. Then it only reads, also while writing is off.
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
    """Declares the subcommand HELP of the command `name`, which lists the others."""

    def help_(session: Session, args: Arguments) -> bytes:
        lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        for member in COMMANDS[name.encode()].subcommands.values():
            if member.name != f"{name} HELP":
                lines += [f"{member.name.removeprefix(f'{name} ')} {member.syntax}".rstrip()]
                lines += [f"    {member.summary}"]
        lines += ["HELP", "    Print this help."]
        return replies.encode([replies.Status(line) for line in lines], session.resp)

    plain(f"{name} HELP", "", "What the subcommands do.", group=group, flags="loading stale")(help_)
