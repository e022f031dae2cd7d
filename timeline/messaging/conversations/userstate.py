"""User state: the read position, hidden messages, cleared history and settings of one user.

Rule: each change is a commit that also tells the user's own devices, by a reference without a
target, so that the others show what one device did. The read position never moves back. A position
above the newest message counts as the newest: a crash may have lost a message that a device was
shown. In a direct conversation the other user's devices hear of it as `receipt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timeline import bitmaps
from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import NotFoundError, TooLargeError, UsageError
from timeline.fanout import notify
from timeline.fields import check_own_fields, merge_fields
from timeline.formats.conversations import (
    CLEAR,
    DIRECT,
    HAS_HIDDEN,
    HAS_SETTINGS,
    HIDDEN,
    HIDE,
    MUTED,
    PINNED,
    READ,
    RECEIPT,
    SET,
    MemberRow,
    decode_settings,
    encode_settings,
    having_read,
    settings_key,
)
from timeline.messaging.access.access import enter_as_user, save_member
from timeline.messaging.access.visibility import Visibility, head_seen
from timeline.messaging.conversations.membership import roster
from timeline.messaging.conversations.sending import check_seen

_SETTINGS_BYTES: Final = 64 * 1024
_SWITCHES: Final = {b"@pin": PINNED, b"@mute": MUTED}


def read(draft: Draft, user: bytes, name: bytes, seq: int) -> int:
    """Move the read position to `seq`, never back; where it is then."""
    conversation, inbox, member = enter_as_user(draft, name, user)
    seq = min(seq, head_seen(member, draft.extent(conversation.messages).head))
    if seq <= member.read:
        return member.read
    save_member(draft, inbox.id, conversation.id, having_read(member, seq))
    notify(draft, [inbox.id], conversation.messages, seq, READ)
    if conversation.row.kind == DIRECT:
        peers = [each for each, _ in roster(draft, conversation.id) if each != inbox.id]
        notify(draft, peers, conversation.messages, seq, RECEIPT)
    return seq


def hide(draft: Draft, user: bytes, name: bytes, seqs: Sequence[int]) -> int:
    """Leave messages out of what `user` is shown; how many they had not hidden before. A message
    that retention has taken counts as hidden.
    """
    conversation, inbox, member = enter_as_user(draft, name, user)
    visibility = Visibility(draft, conversation, inbox.id, member)
    extent = draft.extent(conversation.messages)
    for seq in seqs:
        if not 0 < seq <= extent.head:
            raise NotFoundError(f"there is no message {seq}")
        check_seen(visibility, seq)
    fresh = [
        seq
        for seq in dict.fromkeys(seqs)
        if seq >= extent.first and (visibility.hidden is None or seq not in visibility.hidden)
    ]
    if fresh:
        bitmaps.add(draft, HIDDEN, (inbox.id, conversation.id), fresh, extent.first)
        if not member.flags & HAS_HIDDEN:
            save_member(
                draft, inbox.id, conversation.id, member._replace(flags=member.flags | HAS_HIDDEN)
            )
        for seq in fresh:
            notify(draft, [inbox.id], conversation.messages, seq, HIDE)
    return len(fresh)


def clear(draft: Draft, user: bytes, name: bytes, seq: int) -> None:
    """Show `user` nothing up to message `seq` any more."""
    conversation, inbox, member = enter_as_user(draft, name, user)
    seq = min(seq, head_seen(member, draft.extent(conversation.messages).head))
    if seq > member.cleared:
        save_member(draft, inbox.id, conversation.id, member._replace(cleared=seq))
        notify(draft, [inbox.id], conversation.messages, seq, CLEAR)


def set_fields(draft: Draft, user: bytes, name: bytes, items: Sequence[bytes]) -> None:
    """Change a user's settings of a conversation; an empty value removes."""
    conversation, inbox, member = enter_as_user(draft, name, user)
    if not items or len(items) & 1:
        raise UsageError("settings are one or more pairs of field and value")
    own: list[bytes] = []
    changed = member
    for field, value in zip(items[::2], items[1::2], strict=True):
        if field[:1] != b"@":
            own += (field, value)
            continue
        if field not in (*_SWITCHES, b"@listed") or value not in (b"0", b"1", b""):
            raise UsageError("the store's settings are @pin, @mute and @listed, each 0 or 1")
        if field == b"@listed":
            head = draft.extent(conversation.messages).head
            changed = changed._replace(unlisted=head + 1 if value == b"0" else 0)
        else:
            flag = _SWITCHES[field]
            kept = changed.flags & ~flag
            changed = changed._replace(flags=kept | flag if value == b"1" else kept)
    check_own_fields(own)
    if own:
        changed = _merge(draft, inbox.id, conversation.id, changed, own)
    save_member(draft, inbox.id, conversation.id, changed)
    notify(draft, [inbox.id], conversation.messages, 0, SET)


def _merge(
    draft: Draft, inbox: int, conversation: int, member: MemberRow, own: Sequence[bytes]
) -> MemberRow:
    key = settings_key(inbox, conversation)
    items = merge_fields(decode_settings(draft.get(key)), own)
    if not items:
        if member.flags & HAS_SETTINGS:
            draft.remove(key)
        return member._replace(flags=member.flags & ~HAS_SETTINGS)
    if sum(map(len, items)) > _SETTINGS_BYTES:
        raise TooLargeError(f"settings of a conversation take at most {_SETTINGS_BYTES} bytes")
    draft.put(key, encode_settings(items))
    return member._replace(flags=member.flags | HAS_SETTINGS)


def settings_of(
    view: View, inbox: int, conversation: int, member: MemberRow, head: int
) -> list[bytes]:
    """Field, value, … of a user's settings, those of the store first."""
    items = [
        b"@pin", b"%d" % bool(member.flags & PINNED),
        b"@mute", b"%d" % bool(member.flags & MUTED),
        b"@listed", b"%d" % is_listed(member, head),
    ]  # fmt: skip
    if member.flags & HAS_SETTINGS:
        for pair in decode_settings(view.get(settings_key(inbox, conversation))).items():
            items += pair
    return items


def is_listed(member: MemberRow, head: int) -> bool:
    """Whether it is on the list. One taken off comes back with the next message they are sent."""
    return not member.unlisted or head_seen(member, head) >= member.unlisted
