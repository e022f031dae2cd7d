"""Appends among the commands of a pipeline: `XADD key * …`, the command that matters most.

Rule: an XADD with an option or an explicit id is carried out like any other command.

A run is looked at only once. When the engine does not take it as a whole, its appends are tried one
by one. So each refusal costs the same, however many follow.
"""

from __future__ import annotations

from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import TimelineError
from timeline.formats.entries import IDS, KNOWN_IDS, resp_id, resp_ids

from ..wire.parser import Request

ADD: Final = frozenset((b"XADD", b"xadd"))
_RUN: Final = 4  # how many appends are staged together rather than one by one


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
                names, columns = appends_from(commands, place)
                if not names:
                    return []
                if len(names) >= _RUN:
                    seqs = self._engine.appender.append_run(names, columns)
                    if seqs:
                        return resp_ids(seqs)
                end = self.singly = place + len(names)
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


def appends_from(commands: list[Request], place: int) -> tuple[list[bytes], list[list[bytes]]]:
    """The commands from `place` on that are `XADD key * …` of equally many words, as long as they
    follow one another: their keys, and as columns their fourth words, their fifth words, and so on.
    """
    words, end = len(commands[place]), place
    while end < len(commands) and is_append(commands[end], words):
        end += 1
    run = commands[place:end]
    names = [command[1] for command in run]
    return names, [[command[index] for command in run] for index in range(3, words)]


def is_append(command: Request, words: int) -> bool:
    """Whether a command of so many words is `XADD key * …`, the key not being one of the store's
    own.
    """
    return (
        len(command) == words
        and words >= 5
        and words & 1 == 1
        and (command[0] == b"XADD" or command[0] == b"xadd")
        and command[2] == b"*"
        and not command[1].startswith(b"@")
    )
