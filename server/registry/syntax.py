"""The syntax of commands, written as text and read here into the argument tree of COMMAND DOCS.

    key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id (field value)...

UPPER CASE words and signs are tokens, lower case words are values, `[…]` may be left out, `(…)`
belongs together, `|` chooses, `...` repeats. A token right before a value names that value. `key`
is a key, and so is a `conversation` or a `user` that comes first.

Rule: text in, tree and bounds out. Each command checks by itself what a client sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from ..wire.replies import Set, Status, Value

_TOKENS = re.compile(r"\.\.\.|[\[\]()|]|(?:(?!\.\.\.)[^\s\[\]()|])+")
_SIGNS = frozenset("*=~$-+")
_OWNERS = ("author", "conversation", "user")  # a command that begins with one belongs to it
_INTEGERS = frozenset(
    (
        "bytes",
        "client-id",
        "count",
        "entries",
        "index",
        "lsn",
        "milliseconds",
        "protover",
        "threshold",
    )
)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `kind` is a type of COMMAND DOCS: string, integer, key, pattern, pure-token,
    oneof, block.
    """

    name: str
    kind: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    parts: tuple[Argument, ...] = field(default=())

    def bounds(self) -> tuple[int, int]:
        """Fewest and most words; -1 when there is no most."""
        if self.kind == "pure-token":
            low, high = 1, 1
        elif self.kind == "oneof":
            pairs = [part.bounds() for part in self.parts]
            low = min(pair[0] for pair in pairs)
            high = -1 if any(pair[1] < 0 for pair in pairs) else max(pair[1] for pair in pairs)
        elif self.kind == "block":
            low, high = bounds(self.parts)
        else:
            low = high = 2 if self.token else 1
        return 0 if self.optional else low, -1 if self.multiple else high

    def describe(self) -> Value:
        """The map of COMMAND DOCS."""
        found: dict[str, Value] = {"name": self.name, "type": self.kind}
        if self.kind not in ("oneof", "block"):
            found["display_text"] = self.name
        if self.kind == "key":
            found["key_spec_index"] = 0
        if self.token:
            found["token"] = self.token
        flags = Set(Status(word) for word in ("optional", "multiple") if getattr(self, word))
        if flags:
            found["flags"] = flags
        if self.parts:
            found["arguments"] = [part.describe() for part in self.parts]
        return found


def bounds(arguments: tuple[Argument, ...]) -> tuple[int, int]:
    """Fewest and most words of a sequence; -1 when there is no most."""
    pairs = [argument.bounds() for argument in arguments]
    high = -1 if any(pair[1] < 0 for pair in pairs) else sum(pair[1] for pair in pairs)
    return sum(pair[0] for pair in pairs), high


def parse(text: str) -> tuple[Argument, ...]:
    """Reads a syntax. Raises `ValueError` when it is not well-formed: a mistake of ours."""
    words = _TOKENS.findall(text)
    if words and words[0] in _OWNERS:
        words[0] = f"{words[0]}:key"
    words.reverse()
    found = _sequence(words)
    if words:
        raise ValueError(f"unbalanced brackets in {text!r}")
    return found


def _sequence(words: list[str]) -> tuple[Argument, ...]:
    found: list[Argument] = []
    while words and words[-1] not in ("]", ")"):
        choices = [_item(words)]
        while words and words[-1] == "|":
            words.pop()
            choices.append(_item(words))
        if len(choices) > 1:
            name = "-".join(choice.name for choice in choices)
            found.append(Argument(name, "oneof", parts=tuple(choices)))
        else:
            found.append(choices[0])
    return tuple(found)


def _item(words: list[str]) -> Argument:
    word = words.pop()
    if word in ("[", "("):
        parts = _sequence(words)
        words.pop()
        if len(parts) == 1:
            item = parts[0]
        else:
            item = Argument(parts[0].token.lower() or parts[0].name, "block", parts=parts)
        if word == "[":
            item = replace(item, optional=True)
    elif word.isupper() or word in _SIGNS:
        if words and words[-1].islower():
            item = replace(_value(words.pop()), token=word)
        else:
            item = Argument(word.lower() if word.isupper() else word, "pure-token", token=word)
    else:
        item = _value(word)
    if words and words[-1] == "...":
        words.pop()
        item = replace(item, multiple=True)
    return item


def _value(word: str) -> Argument:
    if word.endswith(":key"):
        return Argument(word.removesuffix(":key"), "key")
    if word in ("key", "pattern"):
        return Argument(word, word)
    return Argument(word, "integer" if word in _INTEGERS else "string")
