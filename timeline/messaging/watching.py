"""Watching: whose devices a group of commits concerns.

Responsibility: know the in-boxes that somebody waits for, and tell after each applied group which
of them it reached, by delivery or by a conversation whose messages their users come for.

Rule: a group is looked at once, and only if somebody waits. It may name an in-box for which there
turns out to be nothing; it never leaves one out. Nothing is kept for in-boxes nobody waits for.
"""

from __future__ import annotations

from collections.abc import Callable

from timeline.engine import Engine, Group
from timeline.formats.keys import number, split_pair
from timeline.formats.messages import PULLED, between, second_id
from timeline.formats.records import DELIVER, NOTIFY, decode_target
from timeline.messaging.access import load_conversation
from timeline.view import Applied

Woken = Callable[[], None]


class Watch:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watchers: dict[int, dict[Woken, None]] = {}
        self._by_timeline: dict[int, set[int]] = {}  # pulled timeline → in-boxes waited for
        self._pulled: dict[int, list[int]] = {}  # and back

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, inbox: int, woken: Woken) -> None:
        """Call `woken()` after each group that may concern the in-box."""
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

    def watched(self, inbox: int) -> list[Woken]:
        return list(self._watchers.get(inbox, ()))

    def reached(self, group: Group) -> set[int]:
        """The in-boxes waited for that an applied group may concern."""
        if not self._watchers:
            return set()
        found: set[int] = set()
        for key in group.state:
            if key.startswith(PULLED):
                inbox = split_pair(key[2:])[0]
                if inbox in self._watchers:
                    self._follow(inbox)
                    found.add(inbox)
        if self._by_timeline:
            for timeline in group.timelines:
                found.update(self._by_timeline.get(timeline.id, ()))
        for operation in group.operations:
            if operation.kind == DELIVER:
                audience = self._engine.inboxes.audience(operation.id)
                reached = audience.reached(operation.lsn)
                found.update(inbox.id for inbox in reached if inbox.id in self._watchers)
            elif operation.kind == NOTIFY:
                _, _, inboxes = decode_target(operation.body)
                found.update(inbox for inbox in inboxes if inbox in self._watchers)
        return found

    def _follow(self, inbox: int) -> None:
        """Find out anew which timelines the user of an in-box comes for."""
        self._unfollow(inbox)
        view = Applied(self._engine)
        timelines = []
        for key, _ in view.scan(*between(PULLED + number(inbox))):
            place = load_conversation(view, second_id(key))
            if place is not None:
                timelines += [place.messages.id, place.events.id]
        self._pulled[inbox] = timelines
        for timeline_id in timelines:
            self._by_timeline.setdefault(timeline_id, set()).add(inbox)

    def _unfollow(self, inbox: int) -> None:
        for timeline_id in self._pulled.pop(inbox, ()):
            inboxes = self._by_timeline[timeline_id]
            inboxes.discard(inbox)
            if not inboxes:
                del self._by_timeline[timeline_id]
