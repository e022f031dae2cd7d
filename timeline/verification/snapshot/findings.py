"""Findings: what is wrong, where, what it means, and the rows that would put it right.

Rule: a check says what it found and never changes anything. The rows it proposes make the store
consistent again with what is whole in it; only `repair` writes them, and into a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from timeline.errors import shown
from timeline.formats.conversations import OPEN, Stretch

FILES = "files"  # the family of what RocksDB itself cannot read
MARK = "MARK"
INDEX = "index"


class Put(NamedTuple):
    """A row to be written; with the value None to be removed."""

    family: str
    key: bytes
    value: bytes | None = None


class Finding(NamedTuple):
    """Something wrong. `family` is a column family, `files`, `MARK` or `index`; `key` the row as
    stored, if it is one; `timeline` and `number` (an LSN for in-boxes and the log) its place where
    there is one. `lost` says that content is gone, not only something that can be derived.
    """

    family: str
    text: str
    key: bytes = b""
    timeline: bytes = b""
    number: int = 0
    lost: bool = False
    fix: tuple[Put, ...] = ()

    def document(self) -> dict[str, object]:
        """As JSON can hold it; keys in hex."""
        return {
            "family": self.family,
            "key": self.key.hex(),
            "timeline": self.timeline.decode("utf-8", "backslashreplace"),
            "number": self.number,
            "lost": self.lost,
            "text": self.text,
        }

    @property
    def place(self) -> str:
        """Where it is, for people."""
        parts = [self.family]
        if self.timeline:
            parts.append(shown(self.timeline))
        if self.number:
            parts.append(str(self.number))
        if self.key and not self.timeline:
            parts.append(self.key.hex())
        return " ".join(parts)


@dataclass(slots=True)
class Report:
    """What was found, and how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    applied: int = 0
    entries: int = 0
    references: int = 0
    documents: int = 0
    backup: bool = False  # it was no store that was looked at, but a backup

    @property
    def sound(self) -> bool:
        return not self.findings


def within(stretches: Sequence[Stretch], head: int) -> tuple[Stretch, ...]:
    """Stretches of a conversation that ends at message `head`, none of them beyond it."""
    return tuple(
        each._replace(
            first=min(each.first, head + 1),
            last=OPEN if each.ended == OPEN else min(each.last, head),
        )
        for each in stretches
    )


def put(family: str, key: bytes, value: bytes) -> tuple[Put, ...]:
    return (Put(family, key, value),)


def remove(family: str, *keys: bytes) -> tuple[Put, ...]:
    return tuple(Put(family, key) for key in keys)
