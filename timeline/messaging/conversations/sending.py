"""Sending, and changing what was sent: send, edit, recall.

Rule: a send is one commit with everything it means: the entry, one delivery to all members (none
in a read-diffused conversation, where they pull it), the sender's read position, the key. Nothing
else is written per member, so a send costs the same whatever the size of the group.

An edit replaces the sender's fields and the mentions, a recall removes them. Both are patches of
the one entry that there is, so no copy of it can be stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline import bitmaps
from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import NoPermissionError, NotFoundError, TooLargeError, UsageError
from timeline.fanout import ORDINAL, push, stamp
from timeline.fields import check_text, value_of
from timeline.formats.conversations import (
    BINARY,
    CALLED,
    DYING,
    EDIT,
    HAS_CALLED,
    HAS_MENTIONS,
    HAS_UNCOUNTED,
    MENTIONED,
    MESSAGE,
    RECALL,
    UNCOUNTED,
    KeyRow,
    having_read,
)
from timeline.formats.entries import decode_items
from timeline.formats.names import USERS
from timeline.idempotency import Keys, digest_of
from timeline.identity import APPLICATION, SYSTEM, check_user
from timeline.messaging.access.access import (
    Access,
    Conversation,
    enter,
    find_conversation,
    is_current,
    member_of,
    no_such_conversation,
    save_member,
)
from timeline.messaging.access.entries import EVERYBODY, check_fields, find_entry, record_event
from timeline.messaging.access.roles import Action
from timeline.messaging.access.visibility import Visibility
from timeline.options import Options

MOST_MENTIONS: Final = 64
_STORE_FIELDS: Final = 8  # that a message may have besides mentions, at most


class Sent(NamedTuple):
    """What became of a send: the message's number and time, `stored` or `duplicate`."""

    seq: int
    time: int
    status: str


def send(
    draft: Draft,
    name: bytes,
    sender: bytes,
    items: Sequence[bytes],
    *,
    keys: Keys,
    options: Options,
    key: bytes | None = None,
    mentions: Sequence[bytes] = (),
    mention_all: bool = False,
    silent: bool = False,
) -> Sent:
    """Store a message and deliver it. Raises `NoPermissionError`, `ConflictError`, `UsageError`."""
    conversation, access = _sender(draft, name, sender)
    if mentions:
        mentions = _check_mentions(mentions)
    check_fields(conversation, items, options.entry_fields - len(mentions) - _STORE_FIELDS)
    sender_id = 0 if access is None or access.inbox is None else access.inbox.id
    digest = b""
    if key is not None:
        if not conversation.row.flags & BINARY:
            check_text(key, "an idempotency key")
        digest = digest_of((items, mentions, (b"%d%d" % (mention_all, silent),)))
        before = keys.find(draft, conversation.id, sender_id, key, digest)
        if before is not None:
            return Sent(before.seq, before.time, "duplicate")
    if access is not None:
        access.require(Action.SEND)
    stamped = [b"@from", sender, b"@time", b"%d" % draft.time]
    if key is not None:
        stamped += (b"@key", key)
    if mentions or mention_all:
        stamped += _mentioning(mentions, mention_all=mention_all)
    if silent:
        stamped += (b"@silent", b"1")
    if conversation.pulled:
        stamped += stamp(draft)
    seq = draft.append(conversation.messages, [*stamped, *items])
    if not conversation.pulled:
        push(draft, conversation.id, conversation.messages, seq, MESSAGE)
    if access is not None and access.inbox is not None and access.member is not None:
        save_member(draft, access.inbox.id, conversation.id, having_read(access.member, seq))
    if key is not None:
        keys.keep(draft, conversation.id, sender_id, key, KeyRow(seq, draft.time, digest))
    if silent:
        _mark(draft, conversation, UNCOUNTED, HAS_UNCOUNTED, seq)
    if mention_all:
        _mark(draft, conversation, CALLED, HAS_CALLED, seq)
    for user in mentions:
        _mention(draft, conversation, user, seq)
    return Sent(seq, draft.time, "stored")


def _sender(draft: Draft, name: bytes, sender: bytes) -> tuple[Conversation, Access | None]:
    """The conversation, and the access of its sender; None for the store's own `@system`. Whether
    they may send is asked later, once it is known that this is not sent again.
    """
    if sender == SYSTEM:
        conversation = find_conversation(draft, name)
        if conversation is None or conversation.row.flags & DYING:
            raise no_such_conversation()
        return conversation, None
    if sender == APPLICATION:
        raise UsageError("the application sends as @system: `-` is nobody to answer")
    access = enter(draft, name, check_user(sender), Action.SEE)
    return access.conversation, access


def _check_mentions(users: Sequence[bytes]) -> list[bytes]:
    found = list(dict.fromkeys(users))
    if len(found) > MOST_MENTIONS:
        raise TooLargeError(f"a message names at most {MOST_MENTIONS} users: use MENTIONALL")
    for user in found:
        check_user(user)
    return found


def _mentioning(users: Sequence[bytes], *, mention_all: bool) -> list[bytes]:
    """The fields for the users that a message mentions."""
    items = [item for user in users for item in (b"@mentions", user)]
    return [*items, b"@mentions", EVERYBODY] if mention_all else items


def _mark(draft: Draft, conversation: Conversation, family: bytes, flag: int, seq: int) -> None:
    first = draft.extent(conversation.messages).first
    bitmaps.add(draft, family, (conversation.id,), (seq,), first)
    conversation.flag(draft, flag)


def _mention(draft: Draft, conversation: Conversation, user: bytes, seq: int) -> None:
    """Remember that a message mentions a user, if they are a member."""
    inbox = draft.find(USERS + user)
    member = None if inbox is None else member_of(draft, inbox.id, conversation.id)
    if inbox is None or member is None or not is_current(member):
        return
    first = draft.extent(conversation.messages).first
    bitmaps.add(draft, MENTIONED, (inbox.id, conversation.id), (seq,), first)
    if not member.flags & HAS_MENTIONS:
        save_member(
            draft, inbox.id, conversation.id, member._replace(flags=member.flags | HAS_MENTIONS)
        )


def _mention_no_more(draft: Draft, conversation: Conversation, user: bytes, seq: int) -> None:
    inbox = draft.find(USERS + user)
    if inbox is None or not bitmaps.discard(draft, MENTIONED, (inbox.id, conversation.id), seq):
        return
    member = member_of(draft, inbox.id, conversation.id)
    if member is not None:
        flags = member.flags & ~HAS_MENTIONS
        save_member(draft, inbox.id, conversation.id, member._replace(flags=flags))


def _message(draft: Draft, conversation: Conversation, seq: int) -> list[bytes]:
    payload = find_entry(draft, conversation.messages, seq)
    if payload is None:
        if has_expired(draft, conversation, seq):
            raise NotFoundError(f"message {seq} has expired: retention removed it")
        raise NotFoundError(f"there is no message {seq}")
    return decode_items(payload)


def has_expired(view: View, conversation: Conversation, seq: int) -> bool:
    """Whether retention has taken message `seq`."""
    return 0 < seq < view.extent(conversation.messages).first


def edit(
    draft: Draft,
    name: bytes,
    seq: int,
    actor: bytes,
    items: Sequence[bytes],
    options: Options,
    *,
    mentions: Sequence[bytes] = (),
    mention_all: bool = False,
) -> None:
    """Replace the fields and the mentions of a message that `actor` sent. Raises `NotFoundError`
    when it is not there or was recalled.
    """
    mentions = _check_mentions(mentions)
    access = enter(draft, name, actor, Action.SEND)
    conversation = access.conversation
    current = _message(draft, conversation, seq)
    _check_author(draft, access, current, options.edit_window_ms)
    if value_of(current, b"@recalled") is not None:
        raise NotFoundError(f"message {seq} was recalled")
    sent: list[bytes] = []  # the fields that say who sent it, when, under which key
    kept: list[bytes] = []
    before: list[bytes] = []
    for field, value in zip(current[::2], current[1::2], strict=True):
        if field == b"@mentions":
            before.append(value)
        elif field in (b"@from", b"@time", b"@key"):
            sent += (field, value)
        elif field[:1] == b"@" and field != b"@edited":
            kept += (field, value)
    stamped = [*sent, *_mentioning(mentions, mention_all=mention_all), *kept]
    check_fields(conversation, items, options.entry_fields - len(stamped) // 2 - 1)
    draft.replace(conversation.messages, seq, [*stamped, b"@edited", b"%d" % draft.time, *items])
    _mention_anew(draft, conversation, seq, before, mentions, mention_all=mention_all)
    record_event(draft, conversation, EDIT, actor, seq)
    if not conversation.pulled:
        push(draft, conversation.id, conversation.messages, seq, EDIT)


def _mention_anew(
    draft: Draft,
    conversation: Conversation,
    seq: int,
    before: Sequence[bytes],
    mentions: Sequence[bytes],
    *,
    mention_all: bool,
) -> None:
    """Mention the users that an edit names, and no longer those that were mentioned `before`."""
    for user in before:
        if user != EVERYBODY and user not in mentions:
            _mention_no_more(draft, conversation, user, seq)
    for user in mentions:
        _mention(draft, conversation, user, seq)
    if mention_all:
        _mark(draft, conversation, CALLED, HAS_CALLED, seq)
    elif EVERYBODY in before and bitmaps.discard(draft, CALLED, (conversation.id,), seq):
        conversation.unflag(draft, HAS_CALLED)


def recall(draft: Draft, name: bytes, seq: int, actor: bytes, options: Options) -> None:
    """Take a message back: the content is gone, its place stays. A message that was recalled, or
    that retention took, is left as it is.
    """
    access = enter(draft, name, actor, Action.RECALL)
    conversation = access.conversation
    if has_expired(draft, conversation, seq):
        return
    current = _message(draft, conversation, seq)
    if not access.may(Action.RECALL_ANY):
        _check_author(draft, access, current, options.recall_window_ms)
    if value_of(current, b"@recalled") is not None:
        return
    kept: list[bytes] = []
    for field in (b"@from", b"@time", ORDINAL):
        value = value_of(current, field)
        if value is not None:
            kept += (field, value)
    draft.replace(conversation.messages, seq, [*kept, b"@recalled", actor])
    _mark(draft, conversation, UNCOUNTED, HAS_UNCOUNTED, seq)
    record_event(draft, conversation, RECALL, actor, seq)
    if not conversation.pulled:
        push(draft, conversation.id, conversation.messages, seq, RECALL)


def _check_author(draft: Draft, access: Access, current: list[bytes], window: int) -> None:
    if access.actor == APPLICATION:
        return
    if value_of(current, b"@from") != access.actor:
        raise NoPermissionError("this message is not this user's")
    sent = draft.clock.past(int(value_of(current, b"@time") or b"0"), draft.time)
    if draft.time - sent > window:
        raise NoPermissionError(
            f"this message is older than the {window} ms in which it may change"
        )


def check_seen(visibility: Visibility, seq: int) -> None:
    """Raise `NotFoundError` for a message that is not this user's to see."""
    if not visibility.reaches(seq):
        raise NotFoundError(f"there is no message {seq}")
