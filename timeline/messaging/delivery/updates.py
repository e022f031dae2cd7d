"""Updates: what a device is told, as USER.SYNC and CONV.EVENTS give it.

Rule: made of references, not of copies. A message comes in its present state, settings as they are
now, and what is gone is left out. A user who left no longer gets the metadata of the conversation.
The fields are kept in stored form together with the id, so that what goes to a socket is not built
again.
"""

from __future__ import annotations

from typing import NamedTuple

from timeline.engine.view import View
from timeline.entry import Fields
from timeline.fanout import Position
from timeline.formats.conversations import CLEAR, EDIT, KINDS, META, RECALL, MemberRow
from timeline.formats.entries import decode_items, encode_entry
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
