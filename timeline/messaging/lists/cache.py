"""The cache of lists: those of the users who asked recently, kept in memory and up to date.

Rule: what a group changes is marked when it is applied, under the lock that readers need. It is
read again when somebody asks, so an answer is exact and costs what changed. If a group was applied
that was not seen here (the store healed), all lists are forgotten. Beyond a number of bytes, those
used longest ago are forgotten. A draft sees what nobody else may, so it gets a list of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.engine.view import View
from timeline.formats.conversations import (
    CALLED,
    CONVERSATION,
    HIDDEN,
    MEMBER,
    MENTIONED,
    SETTINGS,
    UNCOUNTED,
)
from timeline.formats.keys import META, split_number, split_pair
from timeline.formats.records import DROP, PATCH, TRIM
from timeline.messaging.lists.summaries import Summaries
from timeline.messaging.lists.userlist import UserList

_OF_ONE: Final = frozenset((MEMBER, SETTINGS, HIDDEN, MENTIONED))  # keys: in-box, conversation, …
_OF_ALL: Final = frozenset((CONVERSATION, UNCOUNTED, CALLED))  # keys: conversation, …
_CHANGES: Final = frozenset((PATCH, TRIM, DROP))


class ListCache:
    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._lists: OrderedDict[int, UserList] = OrderedDict()
        self._summaries = Summaries()
        self._followed = engine.applied  # the last LSN of the last group seen
        engine.observers.on_apply(self._follow)

    def __len__(self) -> int:
        return len(self._lists)

    @property
    def size(self) -> int:
        """About what they take in memory, in bytes."""
        return self._summaries.size

    def of(self, view: View, inbox: int) -> UserList:
        """The list of the user with this in-box; the caller holds the engine's lock."""
        if view.is_draft:
            return UserList(view, inbox, Summaries())
        if self._followed != self._engine.applied:
            self._clear()
        found = self._lists.get(inbox)
        if found is None:
            found = self._lists[inbox] = UserList(view, inbox, self._summaries)
        else:
            self._lists.move_to_end(inbox)
            found.refresh(view)
        while self._summaries.size > self._limit and len(self._lists) > 1:
            self._lists.popitem(last=False)[1].close()
        return found

    def _clear(self) -> None:
        self._lists.clear()
        self._summaries = Summaries()
        self._followed = self._engine.applied

    def _follow(self, group: Group) -> None:
        """Mark what an applied group changes."""
        if not self._lists or group.first != self._followed + 1:
            self._clear()
            return
        self._followed = group.last
        known = self._summaries.known
        changed = known.keys() & group.appended.ids
        changed.update([each.id for each in group.operations if each.kind in _CHANGES])
        for key in group.state:
            family = key[:2]
            if family in _OF_ONE:
                inbox, conversation = split_pair(key[2:18])
                if inbox in self._lists:
                    self._lists[inbox].change(conversation)
            elif family in _OF_ALL:
                changed.add(split_number(key[2:10]))
            elif key[:1] == META:
                described = known.get(split_number(key[1:9]))
                if described is not None:
                    self._summaries.forget_meta(described)
                    changed.add(described.conversation)
        for conversation in changed:
            if conversation in known:
                known[conversation].version += 1
