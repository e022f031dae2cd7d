"""Options of commands of our own: words and values, which come in any order.

Rule: they end at `*`, after which the fields begin, so that no field is ever taken for an option.

    CONV.SEND team ann KEY k1 MENTIONS 2 bob eve * text hello
"""

from __future__ import annotations

from ..errors import CommandError, CommandSyntaxError
from ..registry.command import Arguments
from ..registry.lookup import shown
from ..service.session import Session
from . import arguments
from .arguments import syntax_error


class Options:
    """Words and values from `args[at]` on, up to `*` or the end."""

    def __init__(self, args: Arguments, at: int) -> None:
        self._args = args
        self.at = at

    def word(self) -> bytes | None:
        """The next option in upper case; None at `*` or at the end."""
        if self.at >= len(self._args) or self._args[self.at] == b"*":
            return None
        self.at += 1
        return self._args[self.at - 1].upper()

    def value(self) -> bytes:
        if self.at >= len(self._args):
            raise CommandSyntaxError(f"a value is missing after {shown(self._args[-1])}")
        self.at += 1
        return self._args[self.at - 1]

    def values(self) -> list[bytes]:
        """`n value …`"""
        count = arguments.how_many(self.value())
        if self.at + count > len(self._args):
            option, left = self._args[self.at - 2], len(self._args) - self.at
            raise CommandError(f"{shown(option)} announces {count} values, but {left} follow")
        self.at += count
        return self._args[self.at - count : self.at]

    def fields(self, *, needed: bool = True) -> list[bytes]:
        """Field, value, … after `*`. Without `*` there are none, which is refused if `needed`."""
        rest = self._args[self.at :]
        if not rest and not needed:
            return []
        if len(rest) < 3 or rest[0] != b"*" or not len(rest) & 1:
            raise CommandSyntaxError(
                "pairs of field and value come after '*' (in a shell, quote it)"
            )
        return rest[1:]

    def unknown(self) -> CommandSyntaxError:
        """The refusal of the word that was read last."""
        word = shown(self._args[self.at - 1])
        return CommandSyntaxError(f"there is no option {word} here")


def page_size(session: Session, value: bytes | None) -> int:
    """COUNT, cut to the largest page; without it 100."""
    most = session.service.configuration.settings.page_entries
    return min(most, 100 if value is None else arguments.count(value))


def paging(session: Session, args: Arguments, at: int) -> tuple[bytes | None, int]:
    """`[AFTER token] [COUNT count]`."""
    options = Options(args, at)
    after = count = None
    while (word := options.word()) is not None:
        if word == b"AFTER":
            after = options.value()
        elif word == b"COUNT":
            count = options.value()
        else:
            raise options.unknown()
    if options.at != len(args):
        raise syntax_error()
    return after, page_size(session, count)
