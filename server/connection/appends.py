"""Appends among the commands of a pipeline: `XADD key * …`, the command that matters most.

Rule: for speed there are two tests of what is an append: `is_append` of a single command, and
`are_appends` of a whole pipeline by its columns. The second takes nothing that the first does not
take. What it leaves out is then tested one by one. An XADD with an option or an explicit id is
carried out like any other command.

A run is looked at only once. When the engine does not take it as a whole, its appends are tried one
by one. So each refusal costs the same, however many follow.
"""

from __future__ import annotations

from timeline.engine.engine import Engine
from timeline.errors import TimelineError
from timeline.formats.entries import IDS, KNOWN_IDS, resp_id, resp_ids

from ..wire.parser import Request

ADD = frozenset((b"XADD", b"xadd"))
_RUN = 4  # how many appends are staged together rather than one by one


class Appends:
    """Those of one client."""

    __slots__ = ("_engine", "singly")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # The commands before this place are appended one by one; 0 when they are another list.
        self.singly = 0

    def take(self, commands: list[Request], place: int) -> list[bytes]:
        """Appends for the commands from `place` on, as long as they are `XADD key * …`, and returns
        the new ids as replies. When there is none, the first is another command, or one that the
        engine refuses. It is then carried out, and refused, like any other.
        """
        end = self.singly
        if place >= end:
            if len(commands) - place < _RUN:
                end = place + 1
            else:
                columns = appends_from(commands, place)
                if not columns:
                    return []
                if len(columns[0]) >= _RUN:
                    seqs = self._engine.appender.append_run(columns[1], columns[3:])
                    if seqs:
                        return resp_ids(seqs)
                end = self.singly = place + len(columns[0])
        appender = self._engine.appender  # another one once the engine has healed
        ids: list[bytes] = []
        for command in commands[place:end]:
            if not is_append(command, len(command)):
                break
            try:
                seq = appender.append(command[1], command[3:])
            except TimelineError:
                break
            ids.append(IDS[seq] if seq < KNOWN_IDS else resp_id(seq))
        return ids


def appends_from(commands: list[Request], place: int) -> list[tuple[bytes, ...]]:
    """The commands from `place` on that are `XADD key * …` of equally many words, as long as they
    follow one another, as columns: the first words of all, their second words, and so on.
    """
    # A pipeline is mostly one command over and over, which is seen faster as a whole. This is tried
    # once only: for a mixed pipeline the cost would grow with the square of its length.
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


def is_append(command: Request, words: int) -> bool:
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
    """The same of all commands, given as columns, without a step for each."""
    if len(columns) < 5 or not len(columns) & 1:
        return False
    verbs, names, ids = columns[:3]
    count = len(ids)
    return (
        (verbs.count(b"XADD") == count or all(verb in ADD for verb in verbs))
        and ids.count(b"*") == count
        # One search finds names that begin with @ (and, which does no harm, some others); by
        # `find`, since `bytes in bytes` costs a raised and dropped exception.
        and b"\n".join((b"", *names)).find(b"\n@") < 0
    )
