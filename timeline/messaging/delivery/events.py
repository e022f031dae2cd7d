"""Events of conversations as devices are told of them.

Rule: a message comes in its present state, settings as they are now, and what is gone is left out.
A user who left no longer gets the metadata of the conversation.
"""

from __future__ import annotations

from timeline.devices.updates import Update
from timeline.engine.view import View
from timeline.fanout import Position
from timeline.formats.conversations import CLEAR, EDIT, META, RECALL, MemberRow
from timeline.formats.entries import encode_entry
from timeline.messaging.access.access import Conversation, is_current
from timeline.messaging.access.entries import find_entry, split_event


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
