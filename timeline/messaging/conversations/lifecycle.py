"""Lifecycle of conversations: create, describe, delete.

Rule: creating is idempotent. The same call again answers the same; another call for a name that is
taken raises `ExistsError`. The direct conversation of two users has the same id for both. What
describes a conversation is the metadata of its timeline. Deleting takes several commits when there
are many members; from the first one on, the conversation belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from timeline import bitmaps
from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import ExistsError, UsageError
from timeline.fanout import notify, push
from timeline.fields import check_own_fields
from timeline.formats.conversations import (
    BINARY,
    CALLED,
    CONVERSATION_KINDS,
    DELETE,
    DIRECT,
    DYING,
    FILLING,
    HAS_HIDDEN,
    HAS_MENTIONS,
    HAS_SETTINGS,
    HIDDEN,
    HISTORIES,
    JOIN,
    MENTIONED,
    META,
    NONE,
    ROLES,
    ROSTER,
    UNCOUNTED,
    WHILE_MEMBER,
    ConversationRow,
    between,
    conversation_key,
    decode_roster,
    member_key,
    pulled_key,
    settings_key,
    split_roster_key,
)
from timeline.formats.keys import number
from timeline.formats.names import CONVERSATIONS, EVENTS
from timeline.idempotency import digest_of
from timeline.identity import APPLICATION, check_actor, check_user
from timeline.messaging.access.access import (
    Conversation,
    enter,
    find_conversation,
    find_or_create_user,
    is_current,
    member_of,
)
from timeline.messaging.access.entries import record_event
from timeline.messaging.access.names import check_new_conversation, direct_id
from timeline.messaging.access.roles import Action
from timeline.messaging.access.visibility import head_seen
from timeline.messaging.conversations.bulk import Bulk
from timeline.messaging.conversations.membership import admit, forget_pulled, make_admin
from timeline.messaging.conversations.tombstones import bury
from timeline.options import Options

_COMMIT_MEMBERS: Final = 250  # that one commit of a deletion forgets


def create(
    conversation: bytes,
    actor: bytes,
    *,
    kind: int,
    history: int,
    binary: bool,
    members: Sequence[bytes],
    fields: Sequence[bytes],
    options: Options,
) -> Bulk:
    """Make a conversation of `actor`, its first admin, and `members`. Raises `ExistsError`."""
    check_new_conversation(conversation)
    check_actor(actor)
    check_own_fields(fields)
    users = list(dict.fromkeys(check_user(user) for user in members))
    if actor != APPLICATION:
        users = [actor, *(user for user in users if user != actor)]
    made = (
        [CONVERSATION_KINDS[kind].encode(), HISTORIES[history].encode(), b"%d" % binary, actor],
        sorted(users),
        list(fields),
    )
    digest = digest_of(made)[:8]

    def look(view: View) -> Conversation | None:
        found = find_conversation(view, conversation)
        if found is not None and (found.row.digest != digest or found.row.flags & DYING):
            raise ExistsError("there is a conversation of this name, made with other settings")
        return found

    def open_(draft: Draft) -> Conversation:
        found = look(draft)
        if found is not None:
            if not found.row.flags & FILLING:
                bulk.finish()
            return found
        made = _make(draft, conversation, kind, history, BINARY if binary else 0, digest)
        made.row = made.row._replace(flags=made.row.flags | FILLING)
        made.save(draft)
        if fields:
            draft.merge_metadata(made.messages, zip(fields[::2], fields[1::2], strict=True))
        if actor != APPLICATION:
            admit(draft, made, [actor], options)
            make_admin(draft, made, actor)
            bulk.note(draft, actor)
        return made

    def end(draft: Draft, found: Conversation) -> None:
        if found.row.flags & FILLING:
            found.row = found.row._replace(flags=found.row.flags & ~FILLING)
            found.save(draft)

    bulk = Bulk(open_, JOIN, actor, users, options, look, end)
    return bulk


def _make(
    draft: Draft, name: bytes, kind: int, history: int, flags: int, digest: bytes
) -> Conversation:
    messages = draft.create(CONVERSATIONS + name)
    events = draft.create(EVENTS + name)
    row = ConversationRow(kind, history, flags, 0, draft.time, events.id, 0, digest, ())
    made = Conversation(draft, messages, row)
    made.save(draft)
    return made


def direct(draft: Draft, one: bytes, other: bytes, options: Options) -> bytes:
    """The id of two users' conversation, which is made when there is none."""
    check_user(one)
    check_user(other)
    if one == other:
        raise UsageError("a direct conversation has two users")
    name = direct_id(one, other)
    found = find_conversation(draft, name)
    if found is None:
        found = _make(draft, name, DIRECT, WHILE_MEMBER, 0, digest_of([[name]])[:8])
        inboxes = admit(draft, found, [one, other], options)
        event = record_event(
            draft, found, JOIN, one, 0, [b"@user", one, b"@user", other, b"@count", b"2"]
        )
        assert len(inboxes) == 2
        push(draft, found.id, found.events, event, JOIN)
    elif found.row.flags & DYING:
        raise ExistsError("this conversation is being deleted: try again")
    return name


class Description(NamedTuple):
    """What an actor may know of a conversation. For a user who left, it ends where they left it.
    What it is now they do not learn: no members, no metadata, no diffusion.
    """

    conversation: Conversation
    role: str
    head: int
    members: int
    diffusion: str
    metadata: dict[bytes, bytes]


def describe(view: View, name: bytes, actor: bytes) -> Description:
    """What `actor` may know of a conversation."""
    access = enter(view, name, actor, Action.SEE)
    conversation, member = access.conversation, access.member
    role = "-" if member is None else ROLES[member.role]
    head = head_seen(member, view.extent(conversation.messages).head)
    if member is not None and not is_current(member):
        return Description(conversation, role, head, 0, "", {})
    diffusion = "read" if conversation.pulled else "write"
    metadata = view.metadata(conversation.messages)
    return Description(conversation, role, head, conversation.row.members, diffusion, metadata)


def set_metadata(
    draft: Draft, name: bytes, actor: bytes, changes: Sequence[bytes]
) -> dict[bytes, bytes]:
    """Merge fields into what describes a conversation; an empty value removes. All of it then."""
    conversation = enter(draft, name, actor, Action.DESCRIBE).conversation
    check_own_fields(changes)
    if not changes or len(changes) & 1:
        raise UsageError("metadata is one or more pairs of field and value")
    before = draft.metadata(conversation.messages)
    pairs = dict(zip(changes[::2], changes[1::2], strict=True))
    if all(before.get(field, b"") == value for field, value in pairs.items()):
        return before
    merged = draft.merge_metadata(conversation.messages, pairs.items())
    event = record_event(draft, conversation, META, actor)
    if not conversation.pulled:
        push(draft, conversation.id, conversation.events, event, META)
    return merged


class Deletion:
    """The multi-commit command that deletes a conversation."""

    def __init__(self, conversation: bytes, actor: bytes) -> None:
        self._name = conversation
        self._actor = actor
        self._begun = False
        self._after = b""  # the last key of the roster that was removed: none is left before it

    def step(self, draft: Draft) -> bool:
        if self._begun and find_conversation(draft, self._name) is None:
            return False  # the same command was sent twice, and the other has done the rest
        conversation = self._open(draft)
        start, stop = between(ROSTER + number(conversation.id))
        start = max(start, self._after)
        found = list(islice(draft.scan(start, stop), _COMMIT_MEMBERS))
        notified, members = [], []
        for key, value in found:
            _, _, inbox = split_roster_key(key)
            draft.remove(key)
            self._forget(draft, conversation.id, inbox)
            notified.append(inbox)  # a user who left still has it on the list and on their devices
            if decode_roster(value).role != NONE:
                members.append(inbox)
        if not conversation.pulled:
            draft.leave(conversation.id, members)
        if notified:
            notify(draft, notified, conversation.messages, 0, DELETE)
            bury(draft, conversation)
        if len(found) == _COMMIT_MEMBERS:
            conversation.row = conversation.row._replace(flags=conversation.row.flags | DYING)
            conversation.save(draft)
            self._begun = True
            self._after = found[-1][0]
            return True
        for family in (UNCOUNTED, CALLED):
            bitmaps.drop(draft, family, conversation.id)
        draft.remove(conversation_key(conversation.id))
        draft.drop(conversation.messages)
        draft.drop(conversation.events)
        return False

    def _open(self, draft: Draft) -> Conversation:
        dying = find_conversation(draft, self._name)
        goes_on = self._begun or self._actor == APPLICATION
        if dying is not None and dying.row.flags & DYING and goes_on:
            return dying
        return enter(draft, self._name, self._actor, Action.DELETE).conversation

    @staticmethod
    def _forget(draft: Draft, conversation: int, inbox: int) -> None:
        member = member_of(draft, inbox, conversation)
        draft.remove(member_key(inbox, conversation))
        if member is None:
            return
        if member.flags & HAS_SETTINGS:
            draft.remove(settings_key(inbox, conversation))
        if draft.get(pulled_key(inbox, conversation)) is not None:
            forget_pulled(draft, inbox, conversation)
        for flag, family in ((HAS_HIDDEN, HIDDEN), (HAS_MENTIONS, MENTIONED)):
            if member.flags & flag:
                bitmaps.drop(draft, family, inbox, conversation)


def set_user_metadata(
    draft: Draft, user: bytes, changes: Iterable[tuple[bytes, bytes]]
) -> dict[bytes, bytes]:
    """Merge fields into what describes a user; an empty value removes. All of it then."""
    pairs = list(changes)
    if not pairs:
        raise UsageError("metadata is one or more pairs of field and value")
    check_own_fields([item for pair in pairs for item in pair])
    return draft.merge_metadata(find_or_create_user(draft, user), pairs)
