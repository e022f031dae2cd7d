"""Joining and leaving, of any number of users in one command.

Responsibility: cut a command that names many users into commits, notify those concerned, and record
one event for all of them.

Rule: a commit admits or dismisses at most `_COMMIT_MEMBERS`. With no more users than that, the
command and its event are one commit. With more, each of them is notified in the commit that admits
or dismisses them, and everybody else by the event in the last commit. A command that failed half
way is simply repeated: it passes over users who are members already.

    1,000 users join: four commits of 250, and in the fourth one event for the whole conversation

A user may pull a limited number of conversations. If the conversation will be read-diffused, all
users are checked before the first commit. One who may not join is named, and then nobody joins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.fanout import notify
from timeline.formats.conversations import JOIN, LEAVE
from timeline.identity import check_user
from timeline.messaging.access.access import Conversation, enter, find_or_create_user
from timeline.messaging.access.entries import record_event
from timeline.messaging.access.names import user_of
from timeline.messaging.access.roles import Action
from timeline.messaging.conversations.membership import admit, announce, dismiss, no_room, room_of
from timeline.options import Options

_COMMIT_MEMBERS: Final = 250  # admitted or dismissed by one commit, in some ten milliseconds
_NAMED_USERS: Final = 20  # that an event names, at most
_CHECKED_USERS: Final = 1_000  # in one step, before anybody joins


class Bulk:
    """The multi-commit command. `changed` is how many members it added or removed so far."""

    def __init__(
        self,
        open_: Callable[[Draft], Conversation],
        kind: int,
        actor: bytes,
        users: Sequence[bytes],
        options: Options,
        look: Callable[[View], Conversation | None],
        end: Callable[[Draft, Conversation], None] = lambda _draft, _conversation: None,
    ) -> None:
        """`open_` gives the conversation, and makes it when there is none; `look` only looks.
        `end` is called with the last commit.
        """
        self._open = open_
        self._look = look
        self._kind = kind
        self._actor = actor
        self._users = list(dict.fromkeys(check_user(user) for user in users))
        self._options = options
        self._end = end
        self._at = 0
        self._checked = 0
        self._outside = 0  # users checked who are no members
        self._full = b""  # one of them who may pull no more conversations
        self._names: list[bytes] = []
        self._notified: set[int] = set()
        self.changed = 0

    def finish(self) -> None:
        """Nothing is left to do: all of it was done before."""
        self._at = len(self._users)

    def note(self, draft: Draft, user: bytes) -> None:
        """Count a member whom `open_` admitted."""
        self.changed += 1
        self._names.append(user)
        if len(self._users) > _COMMIT_MEMBERS:
            inbox = find_or_create_user(draft, user)
            notify(draft, [inbox.id], self._open(draft).messages, 0, self._kind)
            self._notified.add(inbox.id)

    def step(self, draft: Draft) -> bool:
        """Do the next part in `draft`; whether there is more."""
        if self._kind == JOIN and self._checked < len(self._users) and self._check(draft):
            return True
        conversation = self._open(draft)
        users = self._users[self._at : self._at + _COMMIT_MEMBERS]
        single = len(self._users) <= _COMMIT_MEMBERS
        if self._kind == JOIN:
            inboxes = admit(draft, conversation, users, self._options)
        else:
            inboxes = dismiss(draft, conversation, users, self._options, seeing=int(single))
        at = self._at + len(users)
        self.changed += len(inboxes)
        if len(self._names) < _NAMED_USERS and inboxes:
            self._names += _names(draft, inboxes[: _NAMED_USERS - len(self._names)])
        if not single and inboxes:
            notify(draft, inboxes, conversation.messages, 0, self._kind)
            self._notified.update(inboxes)
        more = at < len(self._users)
        if not more:
            if self.changed:
                self._announce(draft, conversation, inboxes if single else [])
            self._end(draft, conversation)
        self._at = at
        return more

    def _check(self, view: View) -> bool:
        """Check whether the next users may join; whether there are more to be checked. Raises
        `TooLargeError` when one may not.
        """
        conversation = self._look(view)
        conversation_id, members = (
            (0, 0) if conversation is None else (conversation.id, conversation.row.members)
        )
        pulled, limit = (
            conversation is not None and conversation.pulled,
            self._options.diffusion_limit,
        )
        start, stop = self._checked, self._checked + _CHECKED_USERS
        if not pulled and members + len(self._users) <= limit:
            start = stop = len(self._users)
        most = self._options.pulled_limit
        for user in self._users[start:stop]:
            room = room_of(view, conversation_id, user, most)
            self._outside += room is not None
            if room is not None and room <= 0:
                self._full = self._full or user
        self._checked = stop
        if stop < len(self._users):
            return True
        if self._full and (pulled or members + self._outside > limit):
            raise no_room(self._full, most)
        return False

    def _announce(self, draft: Draft, conversation: Conversation, concerned: Sequence[int]) -> None:
        items = [item for name in self._names for item in (b"@user", name)]
        items += [b"@count", b"%d" % self.changed]
        event = record_event(draft, conversation, self._kind, self._actor, 0, items)
        announce(draft, conversation, self._kind, event, concerned, frozenset(self._notified))


def _names(view: View, inboxes: Sequence[int]) -> list[bytes]:
    loaded = (view.load(inbox) for inbox in inboxes)
    return [user_of(timeline.name) for timeline in loaded if timeline is not None]


def join(conversation: bytes, actor: bytes, users: Sequence[bytes], options: Options) -> Bulk:
    def open_(view: View) -> Conversation:
        return enter(view, conversation, actor, Action.ADD).conversation

    return Bulk(open_, JOIN, actor, users, options, open_)


def leave(conversation: bytes, actor: bytes, users: Sequence[bytes], options: Options) -> Bulk:
    """Users may take themselves out; to take out others needs the right to remove."""
    action = Action.LEAVE if set(users) == {actor} else Action.REMOVE

    def open_(view: View) -> Conversation:
        return enter(view, conversation, actor, action).conversation

    return Bulk(open_, LEAVE, actor, users, options, open_)
