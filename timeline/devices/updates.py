"""Updates: what a device is told, as USER.SYNC, CONV.EVENTS and FEED.SYNC give it.

Rule: made of references, not of copies, so each says what is so now. The fields are kept in stored
form together with the id, so that what goes to a socket is not built again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import compress
from typing import NamedTuple

from timeline.entry import Fields
from timeline.fanout import Position
from timeline.formats.entries import decode_items
from timeline.formats.kinds import UPDATES
from timeline.formats.numbers import Lsn


class Update(NamedTuple):
    """One update: what happened, in which conversation or to whom, to which message or post (or up
    to which), with which fields. `payload` is the stored form of an entry with that number and
    those fields, `position` that of a reader who has it.
    """

    kind_number: int
    source: bytes
    seq: int
    payload: bytes
    position: Position

    @property
    def kind(self) -> str:
        return UPDATES[self.kind_number]

    @property
    def id(self) -> str:
        return f"{self.seq}-0"

    @property
    def fields(self) -> Fields:
        return Fields(decode_items(self.payload))

    def text(self, name: str, default: str | None = None) -> str:
        """The value of field `name` as text; where there is none `default`, if one is given. Raises
        `KeyError`, or `UnicodeDecodeError`.
        """
        return self.fields.text(name, default)


_new_position = partial(tuple.__new__, Position)  # a third of what its constructor takes
_new_update = partial(tuple.__new__, Update)


class Updates:
    """Updates in order, as columns: a page has many, and to send them takes no object for each."""

    __slots__ = ("kinds", "passed", "payloads", "reached", "seqs", "sources")

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.sources: list[bytes] = []
        self.seqs: list[int] = []
        self.payloads: list[bytes] = []
        # The fields of the position after each.
        self.reached: list[Lsn] = []
        self.passed: list[int] = []

    def __len__(self) -> int:
        return len(self.kinds)

    def __iter__(self) -> Iterator[Update]:
        positions = map(_new_position, zip(self.reached, self.passed, strict=True))
        columns = (self.kinds, self.sources, self.seqs, self.payloads)
        return map(_new_update, zip(*columns, positions, strict=True))

    def position(self, at: int) -> Position:
        """The position of a reader who has those up to `at`."""
        return Position(self.reached[at], self.passed[at])

    def add(self, update: Update) -> None:
        self.kinds.append(update.kind_number)
        self.sources.append(update.source)
        self.seqs.append(update.seq)
        self.payloads.append(update.payload)
        self.reached.append(update.position.lsn)
        self.passed.append(update.position.ordinal)

    def put(self, at: int, update: Update) -> None:
        """Let `update` be what row `at` says; its position stays."""
        self.kinds[at] = update.kind_number
        self.sources[at] = update.source
        self.seqs[at] = update.seq
        self.payloads[at] = update.payload

    def extend(self, more: Updates) -> None:
        self.kinds += more.kinds
        self.sources += more.sources
        self.seqs += more.seqs
        self.payloads += more.payloads
        self.reached += more.reached
        self.passed += more.passed

    def cut(self, length: int) -> None:
        """Keep the first `length`."""
        del self.kinds[length:], self.sources[length:], self.seqs[length:]
        del self.payloads[length:], self.reached[length:], self.passed[length:]

    def select(self, keep: Sequence[object]) -> None:
        """Keep those for which `keep` has something true."""
        self.kinds = list(compress(self.kinds, keep))
        self.sources = list(compress(self.sources, keep))
        self.seqs = list(compress(self.seqs, keep))
        self.payloads = list(compress(self.payloads, keep))
        self.reached = list(compress(self.reached, keep))
        self.passed = list(compress(self.passed, keep))
