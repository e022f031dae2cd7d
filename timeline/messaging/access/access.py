"""Access: from names to a conversation and a member, and to what that member may do.

Rule: every verb begins here. An unknown conversation and one that the caller is not in give the
same `NoPermissionError`, so that nobody learns from a refusal what exists. A conversation that is
opened from a draft may be changed, and is then saved into that draft.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import CorruptError, NoPermissionError, NotFoundError, shown
from timeline.formats.conversations import (
    DYING,
    NONE,
    ROLES,
    ConversationRow,
    MemberRow,
    conversation_key,
    decode_conversation,
    decode_member,
    encode_conversation,
    encode_member,
    member_key,
)
from timeline.formats.names import CONVERSATIONS, USERS
from timeline.formats.numbers import TimelineId
from timeline.formats.rows import INBOX
from timeline.formats.stretches import OPEN, Stretch, is_open
from timeline.identity import APPLICATION, check_actor, check_user
from timeline.lsm.timeline import Timeline
from timeline.messaging.access.names import conversation_of
from timeline.messaging.access.roles import Action, allows, application_may

_EVERYTHING: Final = Stretch(1, OPEN, 1, OPEN, OPEN)


@dataclass(slots=True)
class Conversation:
    """A conversation as one view shows it."""

    view: View
    messages: Timeline
    row: ConversationRow

    @property
    def id(self) -> TimelineId:
        return self.messages.id

    @property
    def events(self) -> Timeline:
        """What happened besides messages."""
        events = self.view.load(self.row.events)
        if events is None:
            raise CorruptError(f"conversation {shown(self.messages.name)} has lost its events")
        return events

    @property
    def name(self) -> bytes:
        return conversation_of(self.messages.name)

    @property
    def pulled(self) -> bool:
        """Whether it is read-diffused now."""
        return is_open(self.row.pulled)

    def save(self, draft: Draft) -> None:
        draft.put(conversation_key(self.id), encode_conversation(self.row))

    def flag(self, draft: Draft, flag: int) -> None:
        """Set a flag, if it is not set."""
        if not self.row.flags & flag:
            self.row = self.row._replace(flags=self.row.flags | flag)
            self.save(draft)

    def unflag(self, draft: Draft, flag: int) -> None:
        """Take a flag away, if it is set."""
        if self.row.flags & flag:
            self.row = self.row._replace(flags=self.row.flags & ~flag)
            self.save(draft)


def no_such_conversation() -> NoPermissionError:
    return NoPermissionError("there is no such conversation, or it is not one of this user's")


def load_conversation(view: View, conversation_id: int) -> Conversation | None:
    """The conversation with this id; None when it is deleted."""
    messages = view.load(conversation_id)
    return None if messages is None else open_conversation(view, messages)


def find_conversation(view: View, conversation: bytes) -> Conversation | None:
    """The conversation of this name, without a look at roles, also while it is being deleted."""
    messages = view.find(CONVERSATIONS + conversation)
    return None if messages is None else open_conversation(view, messages)


def open_conversation(view: View, messages: Timeline) -> Conversation:
    """The conversation whose messages these are."""
    value = view.get(conversation_key(messages.id))
    if value is None:
        raise CorruptError(f"conversation {shown(messages.name)} has lost its row")
    return Conversation(view, messages, decode_conversation(value))


def find_user(view: View, user: bytes) -> Timeline:
    """The in-box of a user. Raises `NotFoundError`."""
    inbox = view.find(USERS + check_user(user))
    if inbox is None:
        raise NotFoundError(
            "there is no such user: joining a conversation or setting metadata makes one"
        )
    return inbox


def find_or_create_user(draft: Draft, user: bytes) -> Timeline:
    name = USERS + check_user(user)
    return draft.find(name) or draft.create(name, INBOX)


def member_of(view: View, inbox: int, conversation: int) -> MemberRow | None:
    """What a user has of a conversation; None for one they were never in."""
    value = view.get(member_key(inbox, conversation))
    return None if value is None else decode_member(value)


def save_member(draft: Draft, inbox: int, conversation: int, row: MemberRow) -> None:
    draft.put(member_key(inbox, conversation), encode_member(row))


@dataclass(slots=True)
class Access:
    """An actor at a conversation. `inbox` and `member` are None for the application itself."""

    conversation: Conversation
    actor: bytes
    inbox: Timeline | None
    member: MemberRow | None

    def may(self, action: Action) -> bool:
        kind = self.conversation.row.kind
        if self.member is None:
            return application_may(action, kind)
        return allows(action, kind, self.member.role)

    def require(self, action: Action) -> None:
        if not self.may(action):
            role = "-" if self.member is None else ROLES[self.member.role]
            raise NoPermissionError(f"role {role} may not, in this conversation: {action.value}")

    @property
    def spans(self) -> tuple[Stretch, ...]:
        """When the actor was a member; always, for the application."""
        return (_EVERYTHING,) if self.member is None else self.member.spans


def enter(view: View, conversation: bytes, actor: bytes, action: Action) -> Access:
    """The access of `actor`, who is about to do `action`. Raises `NoPermissionError`."""
    check_actor(actor)
    found = find_conversation(view, conversation)
    if found is None or found.row.flags & DYING:
        raise no_such_conversation()
    if actor == APPLICATION:
        access = Access(found, actor, None, None)
    else:
        inbox = view.find(USERS + actor)
        member = None if inbox is None else member_of(view, inbox.id, found.id)
        if inbox is None or member is None:
            raise no_such_conversation()
        access = Access(found, actor, inbox, member)
    access.require(action)
    return access


def enter_as_user(
    view: View, conversation: bytes, user: bytes, action: Action = Action.SEE
) -> tuple[Conversation, Timeline, MemberRow]:
    """As `enter`, for what only a user has: positions, settings, hidden messages."""
    access = enter(view, conversation, check_user(user), action)
    assert access.inbox is not None
    assert access.member is not None
    return access.conversation, access.inbox, access.member


def is_current(member: MemberRow | None) -> bool:
    return member is not None and member.role != NONE
