"""Updates: what a device is told, as USER.SYNC and CONV.EVENTS give it.

Rule: made of references, not of copies. A message comes in its present state, settings as they are
now, and what is gone is left out. A user who left no longer gets the metadata of the conversation.
The fields are kept in stored form together with the id, so that what goes to a socket is not built
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import compress
from typing import NamedTuple

from timeline.engine.view import View
from timeline.entry import Fields
from timeline.fanout import Position
from timeline.formats.conversations import CLEAR, EDIT, KINDS, META, RECALL, MemberRow
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.numbers import Lsn
from timeline.messaging.access.access import Conversation, is_current
from timeline.messaging.access.entries import find_entry, split_event


class Update(NamedTuple):
    """One update: what happened, in which conversation, to which message (or up to which), with
    which fields. `payload` is the stored form of an entry with that number and those fields,
    `position` that of a reader who has it.
    """

    kind_number: int
    conversation: bytes
    seq: int
    payload: bytes
    position: Position

    @property
    def kind(self) -> str:
        return KINDS[self.kind_number]

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

    __slots__ = ("conversations", "kinds", "passed", "payloads", "reached", "seqs")

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.conversations: list[bytes] = []
        self.seqs: list[int] = []
        self.payloads: list[bytes] = []
        # The fields of the position after each.
        self.reached: list[Lsn] = []
        self.passed: list[int] = []

    def __len__(self) -> int:
        return len(self.kinds)

    def __iter__(self) -> Iterator[Update]:
        positions = map(_new_position, zip(self.reached, self.passed, strict=True))
        columns = (self.kinds, self.conversations, self.seqs, self.payloads)
        return map(_new_update, zip(*columns, positions, strict=True))

    def position(self, at: int) -> Position:
        """The position of a reader who has those up to `at`."""
        return Position(self.reached[at], self.passed[at])

    def add(self, update: Update) -> None:
        self.kinds.append(update.kind_number)
        self.conversations.append(update.conversation)
        self.seqs.append(update.seq)
        self.payloads.append(update.payload)
        self.reached.append(update.position.lsn)
        self.passed.append(update.position.ordinal)

    def put(self, at: int, update: Update) -> None:
        """Let `update` be what row `at` says; its position stays."""
        self.kinds[at] = update.kind_number
        self.conversations[at] = update.conversation
        self.seqs[at] = update.seq
        self.payloads[at] = update.payload

    def extend(self, more: Updates) -> None:
        self.kinds += more.kinds
        self.conversations += more.conversations
        self.seqs += more.seqs
        self.payloads += more.payloads
        self.reached += more.reached
        self.passed += more.passed

    def cut(self, length: int) -> None:
        """Keep the first `length`."""
        del self.kinds[length:], self.conversations[length:], self.seqs[length:]
        del self.payloads[length:], self.reached[length:], self.passed[length:]

    def select(self, keep: Sequence[object]) -> None:
        """Keep those for which `keep` has something true."""
        self.kinds = list(compress(self.kinds, keep))
        self.conversations = list(compress(self.conversations, keep))
        self.seqs = list(compress(self.seqs, keep))
        self.payloads = list(compress(self.payloads, keep))
        self.reached = list(compress(self.reached, keep))
        self.passed = list(compress(self.passed, keep))


def event_update(
    view: View,
    conversation: Conversation,
    member: MemberRow | None,
    position: Position,
    payload: bytes,
) -> Update | None:
    """What a stored event means now to a member (None: to the application); None when the message
    concerned is gone.
    """
    kind, seq, items = split_event(payload)
    if kind in (EDIT, RECALL):
        message = find_entry(view, conversation.messages, seq)
        return None if message is None else Update(kind, conversation.name, seq, message, position)
    if kind == CLEAR:
        return Update(kind, conversation.name, seq, encode_entry(seq, items), position)
    if kind == META:
        current = member is None or is_current(member)
        metadata = view.metadata(conversation.messages) if current else {}
        items = [item for pair in metadata.items() for item in pair]
    return Update(kind, conversation.name, 0, encode_entry(0, items), position)
