"""Watching: whose devices a group of commits concerns.

Responsibility: know the in-boxes that somebody waits for, and tell after each applied group which
of them it reached, by delivery or by a conversation whose messages their users come for.

Rule: a group is looked at once, and only if somebody waits. Of a plain message to settled members
it says exactly who is told what (`Fresh`), so that it need not be read for each of them; of
everything else it says who should look for himself. It may name an in-box for which there turns out
to be nothing; it never leaves one out. Nothing is kept for in-boxes nobody waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from timeline.engine import Engine, Group
from timeline.formats.keys import number, split_number, split_pair
from timeline.formats.messages import (
    CONVERSATION,
    JOIN,
    LEAVE,
    MEMBER,
    MESSAGE,
    PULLED,
    ROLE,
    ROSTER,
    between,
    second_id,
    split_roster_key,
)
from timeline.formats.records import DELIVER, NOTIFY, decode_target
from timeline.messaging.access import is_current, load_conversation, member_of
from timeline.messaging.entries import split_event
from timeline.view import Applied


class Fresh(NamedTuple):
    """A message that all of `inboxes` are told of as the only thing of commit `lsn`."""

    lsn: int
    conversation: bytes  # the name of its timeline
    seq: int
    payload: bytes
    inboxes: list[int]


class News(NamedTuple):
    """What a group brought: who should look for himself, and what others are told."""

    look: set[int]
    fresh: list[Fresh]


# Called with a message, or with None: look for yourself.
Woken = Callable[[Fresh | None], None]


class _Place:
    """A conversation whose messages users come for, as far as somebody waits for them."""

    __slots__ = ("current", "events", "inboxes", "messages", "open")

    def __init__(self, messages: int, events: int) -> None:
        self.messages = messages
        self.events = events
        self.inboxes: set[int] = set()  # of those who come, or came, for its messages
        self.current: set[int] = set()  # those of them who are members
        self.open = False  # whether its messages are come for now


class Watch:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._view = Applied(engine)
        self._watchers: dict[int, dict[Woken, None]] = {}
        self._places: dict[int, _Place] = {}
        self._by_timeline: dict[int, _Place] = {}
        self._told = engine.applied  # the last LSN of the last group told of
        self._followed: dict[int, list[int]] = {}  # in-box → places

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, inbox: int, woken: Woken) -> None:
        """Call `woken` after each group that may concern the in-box."""
        if not self._watchers:
            self._told = self._engine.applied
        watchers = self._watchers.setdefault(inbox, {})
        watchers[woken] = None
        if len(watchers) == 1:
            self._follow(inbox)

    def remove(self, inbox: int, woken: Woken) -> None:
        watchers = self._watchers.get(inbox)
        if watchers is None or woken not in watchers:
            return
        del watchers[woken]
        if not watchers:
            del self._watchers[inbox]
            self._unfollow(inbox)

    def tell(self, group: Group) -> None:
        """Call everybody whom an applied group concerns.

        When groups were applied that nobody told of (the store healed, and what was uncertain
        stands), everybody is to look for himself.
        """
        missed = group.first != self._told + 1
        self._told = group.last
        if missed:
            for inbox in list(self._watchers):
                for woken in list(self._watchers.get(inbox, ())):
                    woken(None)
        look, fresh = self.news(group)
        watchers = self._watchers
        for inbox in look:
            for woken in list(watchers.get(inbox, ())):
                woken(None)
        for each in fresh:
            for inbox in each.inboxes:
                if inbox not in look:
                    for woken in list(watchers.get(inbox, ())):
                        woken(each)

    def news(self, group: Group) -> News:
        look: set[int] = set()
        unsettled = self._note_changes(group, look)
        fresh: list[Fresh] = []
        for operation in group.operations:
            if operation.kind == DELIVER:
                reached = self._engine.inboxes.audience(operation.id).reached(operation.lsn)
                inboxes = [inbox.id for inbox in reached if inbox.id in self._watchers]
                timeline_id, kind, _ = decode_target(operation.body)
                found = None
                if inboxes and kind == MESSAGE and operation.id not in unsettled:
                    found = self._fresh(timeline_id, operation.argument, inboxes)
                if found is None:
                    look.update(inboxes)
                else:
                    fresh.append(found)
            elif operation.kind == NOTIFY:
                _, _, named = decode_target(operation.body)
                look.update(inbox for inbox in named if inbox in self._watchers)
        if self._by_timeline:
            self._come_for(group, unsettled, look, fresh)
        several = Counter(each.lsn for each in fresh)
        for each in fresh:
            if several[each.lsn] > 1:  # which comes first is told by whoever reads them
                look.update(each.inboxes)
        alone = [each for each in fresh if several[each.lsn] == 1]
        return News(look, sorted(alone))  # in the order of commits, whichever way each goes

    def _fresh(self, timeline_id: int, seq: int, inboxes: list[int]) -> Fresh | None:
        timeline = self._view.load(timeline_id)
        row = None if timeline is None else next(self._view.rows(timeline, seq, seq), None)
        if timeline is None or row is None:
            return None
        return Fresh(row[1], timeline.name, seq, row[3], inboxes)

    def _come_for(
        self, group: Group, unsettled: set[int], look: set[int], fresh: list[Fresh]
    ) -> None:
        """What the group appended to conversations whose messages users come for."""
        for conversation in unsettled:
            if conversation in self._places:
                look.update(self._places[conversation].inboxes)
        appended = group.appended
        for timeline, seq in zip(appended.timelines, appended.seqs, strict=True):
            place = self._by_timeline.get(timeline.id)
            if place is None or not place.open or place.messages in unsettled:
                continue
            found = self._fresh(timeline.id, seq, list(place.current))
            if found is None:
                continue
            if timeline.id == place.messages:
                fresh.append(found)
            elif split_event(found.payload)[0] not in (JOIN, LEAVE, ROLE):
                look.update(found.inboxes)

    # --- what users come for ------------------------------------------------------------------

    def _note_changes(self, group: Group, look: set[int]) -> set[int]:
        """Follow changes of memberships; the conversations in which somebody came or went."""
        unsettled: set[int] = set()
        for key in group.state:
            family = key[:2]
            if family == PULLED:
                inbox = split_pair(key[2:])[0]
                if inbox in self._watchers:
                    self._follow(inbox)
                    look.add(inbox)
            elif family == ROSTER:
                unsettled.add(split_roster_key(key)[0])
            elif family == MEMBER and self._places:
                inbox, conversation = split_pair(key[2:])
                place = self._places.get(conversation)
                if place is not None and inbox in place.inboxes:
                    self._settle(place, inbox)
            elif family == CONVERSATION and self._places:
                conversation = split_number(key[2:])
                if conversation in self._places:
                    self._reopen(conversation)
        return unsettled

    def _follow(self, inbox: int) -> None:
        """Find out anew which conversations the user of an in-box comes for."""
        self._unfollow(inbox)
        followed = self._followed[inbox] = []
        for key, _ in self._view.scan(*between(PULLED + number(inbox))):
            conversation = second_id(key)
            place = self._places.get(conversation)
            if place is None:
                found = load_conversation(self._view, conversation)
                if found is None:
                    continue
                place = self._places[conversation] = _Place(found.id, found.row.events)
                place.open = found.pulled
                self._by_timeline[place.messages] = self._by_timeline[place.events] = place
            followed.append(conversation)
            place.inboxes.add(inbox)
            self._settle(place, inbox)

    def _settle(self, place: _Place, inbox: int) -> None:
        if is_current(member_of(self._view, inbox, place.messages)):
            place.current.add(inbox)
        else:
            place.current.discard(inbox)

    def _reopen(self, conversation: int) -> None:
        found = load_conversation(self._view, conversation)
        self._places[conversation].open = found is not None and found.pulled

    def _unfollow(self, inbox: int) -> None:
        for conversation in self._followed.pop(inbox, ()):
            place = self._places[conversation]
            place.inboxes.discard(inbox)
            place.current.discard(inbox)
            if not place.inboxes:
                del self._places[conversation]
                del self._by_timeline[place.messages], self._by_timeline[place.events]
