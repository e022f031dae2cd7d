"""Where the keys of a command lie among its words. Proxies and clients of a cluster route by them.

Rule: the syntax says it. The first argument of a command is a key if it is called `key`,
`conversation`, `user` or `author`, since everything of a conversation lies together, and so does
everything of a user. Other users and conversations that a command names are not keys. In two
syntaxes the keys lie elsewhere. Clients learn of these from COMMAND INFO, or ask COMMAND GETKEYS:

    [COUNT count] STREAMS key... id...    the first half of what follows the word
    [key | PREFIX prefix]                 a key if nothing follows it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..wire.replies import Set, Status, Value
from .syntax import Argument

_STREAMS = b"STREAMS"


@dataclass(frozen=True, slots=True)
class KeySpec:
    """The keys from word `first` on: that word only, or `many`. With a `keyword` they are the first
    half of what follows it. With `alone` the word is a key only when nothing follows it.
    """

    first: int
    many: bool = False
    keyword: bytes = b""
    alone: bool = False

    @property
    def movable(self) -> bool:
        """Whether a range of words does not tell where they are."""
        return bool(self.keyword) or self.alone

    @property
    def range(self) -> tuple[int, int, int]:
        """First, last and step, as COMMAND INFO tells them; zeros where these do not do."""
        if self.movable:
            return 0, 0, 0
        return self.first, -1 if self.many else self.first, 1

    def find(self, args: Sequence[bytes]) -> list[bytes]:
        """The keys among the words of a command."""
        if self.keyword:
            words = [word.upper() for word in args]
            if self.keyword not in words[self.first :]:
                return []
            rest = args[words.index(self.keyword, self.first) + 1 :]
            return list(rest[: len(rest) // 2])
        if self.alone and len(args) != self.first + 1:
            return []
        return list(args[self.first :] if self.many else args[self.first : self.first + 1])

    def describe(self, flags: Sequence[str]) -> Value:
        """An element of the key specifications of COMMAND INFO, as Redis 7 documents it."""
        begin: Value = {"type": "index", "spec": {"index": self.first}}
        found: Value = {
            "type": "range",
            "spec": {"lastkey": -1 if self.many else 0, "keystep": 1, "limit": 0},
        }
        if self.keyword:
            spec: Value = {"keyword": self.keyword, "startfrom": self.first}
            begin = {"type": "keyword", "spec": spec}
            found = {"type": "range", "spec": {"lastkey": -1, "keystep": 1, "limit": 2}}
        if self.alone:
            begin = found = {"type": "unknown", "spec": {}}
        words = (*flags, "incomplete") if self.alone else flags
        shown = Set(Status(word) for word in words)
        return {"flags": shown, "begin_search": begin, "find_keys": found}


def key_spec(arguments: Sequence[Argument], words: int) -> KeySpec | None:
    """Where a command of this syntax, whose name has so many words, has its keys; None: nowhere."""
    if not arguments:
        return None
    if any(each.token.encode() == _STREAMS for each in arguments):
        return KeySpec(words, many=True, keyword=_STREAMS)
    argument = arguments[0]
    if argument.kind == "block":  # `[key [seq]]`
        argument = argument.parts[0]
    if argument.kind == "oneof":
        is_key = any(each.kind == "key" for each in argument.parts)
        return KeySpec(words, alone=True) if is_key else None
    return KeySpec(words, many=argument.multiple) if argument.kind == "key" else None
