"""Findings: what is wrong, where, what it means, and the rows that would put it right.

Rule: a check only says what it found. It may propose rows that make the store consistent again with
what is whole in it. Only `repair` writes them, into a copy of the store.

    family state, timeline a, "it has 5 members, not 4"; fix: the row with 5 members
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from timeline.errors import shown
from timeline.formats.stretches import OPEN, Stretch

FILES = "files"  # the family of what RocksDB itself cannot read
LOG = "log"
MARK = "MARK"
INDEX = "index"


class Put(NamedTuple):
    """A row to write, or with the value None a row to remove."""

    family: str
    key: bytes
    value: bytes | None = None


class Finding(NamedTuple):
    """Something that is wrong.

    `family` is a column family, `files`, `log`, `MARK` or `index`. `key` is the stored row, if it
    is about one. `timeline` and `number` say where it is, if that can be said; for in-boxes and the
    log the number is an LSN. `lost` says that content is gone, not only what can be derived from
    the rest.
    """

    family: str
    text: str
    key: bytes = b""
    timeline: bytes = b""
    number: int = 0
    lost: bool = False
    fix: tuple[Put, ...] = ()

    def document(self) -> dict[str, object]:
        """The finding as JSON, with the key in hex."""
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
    """What was found, and how much was checked."""

    findings: list[Finding] = field(default_factory=list)
    applied: int = 0
    entries: int = 0
    references: int = 0
    documents: int = 0
    backup: bool = False  # whether a backup was checked, not a store

    @property
    def sound(self) -> bool:
        return not self.findings


def within(stretches: Sequence[Stretch], head: int) -> tuple[Stretch, ...]:
    """The stretches of a conversation, cut off at its newest message, `head`."""
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
