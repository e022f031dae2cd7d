"""Receipts: who has read a message, and to whose devices it came.

Rule: derived from the read positions of members and from what their devices acknowledged. Only
conversations of up to `receipts_limit` members have receipts.
"""

from __future__ import annotations

from timeline.engine.view import View
from timeline.errors import NotFoundError, UsageError
from timeline.fields import value_of
from timeline.formats import keys
from timeline.formats.conversations import DEVICE, between, decode_device
from timeline.formats.entries import decode_items
from timeline.messaging.access.access import enter, member_of
from timeline.messaging.access.names import user_of
from timeline.messaging.access.roles import Action
from timeline.messaging.access.visibility import Visibility
from timeline.messaging.conversations.membership import roster
from timeline.messaging.conversations.sending import check_seen, has_expired
from timeline.options import Options


def receipts_of(
    view: View, name: bytes, seq: int, actor: bytes, options: Options
) -> tuple[list[bytes], list[bytes]]:
    """(who has read message `seq`, to whose devices it was delivered), the sender left out."""
    access = enter(view, name, actor, Action.SEE_MEMBERS)
    conversation = access.conversation
    if conversation.row.members > options.receipts_limit:
        raise UsageError(
            f"only conversations of up to {options.receipts_limit} members have receipts"
        )
    if access.inbox is not None:
        check_seen(Visibility(view, conversation, access.inbox.id, access.member), seq)
    row = view.entry(conversation.messages, seq)
    if row is None:
        expired = has_expired(view, conversation, seq)
        reason = f"message {seq} has expired" if expired else f"there is no message {seq}"
        raise NotFoundError(reason)
    sender = value_of(decode_items(row[3]), b"@from")
    was_read: list[bytes] = []
    delivered: list[bytes] = []
    for inbox, _ in roster(view, conversation.id):
        timeline = view.load(inbox)
        member = member_of(view, inbox, conversation.id)
        if timeline is None or member is None or user_of(timeline.name) == sender:
            continue
        if not Visibility(view, conversation, inbox, member).reaches(seq):
            continue
        if member.read >= seq:
            was_read.append(user_of(timeline.name))
        if _has_acknowledged(view, inbox, row[1]):
            delivered.append(user_of(timeline.name))
    return was_read, delivered


def _has_acknowledged(view: View, inbox: int, lsn: int) -> bool:
    devices = view.scan(*between(DEVICE + keys.number(inbox)))
    found = [decode_device(value) for _, value in devices]
    return any(device.known and device.lsn >= lsn for device in found)
