"""Roles: who may do what, in one table.

Rule: every verb asks here and nowhere else. The application itself (`-`) may do anything that the
kind of conversation allows at all. Users who left have role `none`: what they could see stays
readable.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from timeline.formats.conversations import ADMIN, CHANNEL, DIRECT, GROUP, NONE, PLAIN, READER


class Action(Enum):
    SEE = "see"  # its history; and the own positions, settings and hidden messages
    SEE_MEMBERS = "see who is in it, and who has read what"
    SEND = "send to it, and edit what one has sent"
    RECALL = "recall what one has sent"
    RECALL_ANY = "recall what others have sent"
    LEAVE = "leave it"
    ADD = "add others to it"
    REMOVE = "remove others from it"
    SET_ROLES = "give roles in it"
    DESCRIBE = "change what describes it"
    DELETE = "delete it"

    __hash__ = object.__hash__  # an enumeration hashes its name each time


_ANYONE: Final = frozenset((NONE, READER, PLAIN, ADMIN))
_MEMBERS: Final = frozenset((READER, PLAIN, ADMIN))
_WRITERS: Final = frozenset((PLAIN, ADMIN))
_ADMINS: Final = frozenset((ADMIN,))
_NOBODY: Final[frozenset[int]] = frozenset()

# action → roles that may, in a group, a channel and a direct conversation
TABLE: Final = {
    Action.SEE: (_ANYONE, _ANYONE, _ANYONE),
    Action.SEE_MEMBERS: (_MEMBERS, _MEMBERS, _MEMBERS),
    Action.SEND: (_WRITERS, _ADMINS, _WRITERS),
    Action.RECALL: (_MEMBERS, _MEMBERS, _MEMBERS),
    Action.RECALL_ANY: (_ADMINS, _ADMINS, _NOBODY),
    Action.LEAVE: (_MEMBERS, _MEMBERS, _NOBODY),
    Action.ADD: (_WRITERS, _ADMINS, _NOBODY),
    Action.REMOVE: (_ADMINS, _ADMINS, _NOBODY),
    Action.SET_ROLES: (_ADMINS, _ADMINS, _NOBODY),
    Action.DESCRIBE: (_ADMINS, _ADMINS, _WRITERS),
    Action.DELETE: (_ADMINS, _ADMINS, _NOBODY),
}

# What nobody may do to a direct conversation, not even the application: its two members are fixed.
_FIXED: Final = frozenset((Action.LEAVE, Action.ADD, Action.REMOVE, Action.SET_ROLES))


def allows(action: Action, kind: int, role: int) -> bool:
    """Whether a user with `role` in a conversation of `kind` may do `action`."""
    assert kind in (GROUP, CHANNEL, DIRECT)
    return role in TABLE[action][kind]


def application_may(action: Action, kind: int) -> bool:
    return not (kind == DIRECT and action in _FIXED)
