"""Appends among the commands of a pipeline: `XADD key * …`, which the daemon lives on.

Rule: what counts as one is told in two forms, for speed: of a single command (`is_append`), and of
a whole pipeline by its columns (`are_appends`), which takes none that the first does not; those it
leaves out are then told one by one. Anything else, an option or an explicit id, is carried out as
any other command.
"""

from __future__ import annotations

from .protocol import Command

ADD = frozenset((b"XADD", b"xadd"))


def appends_from(commands: list[Command], place: int) -> list[tuple[bytes, ...]]:
    """The commands from `place` on that are `XADD key * …` of equally many words, as long as they
    follow one another, as columns: the first words of all, their second words, and so on.
    """
    # A pipeline is mostly one command over and over, which is told faster as a whole. Once only:
    # what is mixed is looked at command by command, or its cost would grow with its square.
    if not place:
        try:
            columns = list(zip(*commands, strict=True))
        except ValueError:
            columns = []
        if columns and are_appends(columns):
            return columns
    words, end = len(commands[place]), place
    while end < len(commands) and is_append(commands[end], words):
        end += 1
    return list(zip(*commands[place:end], strict=True))


def is_append(command: Command, words: int) -> bool:
    """Whether a command of so many words is `XADD key * …`, the key not being one of the store's
    own.
    """
    return (
        len(command) == words
        and words >= 5
        and words & 1 == 1
        and command[0] in ADD
        and command[2] == b"*"
        and not command[1].startswith(b"@")
    )


def are_appends(columns: list[tuple[bytes, ...]]) -> bool:
    """The same of each command, given as columns and told without a step for each."""
    if len(columns) < 5 or not len(columns) & 1:
        return False
    verbs, names, ids = columns[:3]
    count = len(ids)
    return (
        (verbs.count(b"XADD") == count or all(verb in ADD for verb in verbs))
        and ids.count(b"*") == count
        # One search finds names that begin with @ (and, which does no harm, some others).
        and b"\n@" not in b"\n".join((b"", *names))
    )
