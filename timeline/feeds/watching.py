"""Watching: which readers of feeds a group of commits concerns.

Responsibility: know the readers for whom somebody waits. Say of each applied group for which of
them it may have brought something: by a reference in their home or their notes, or by a post or an
event in a feed that they follow, or in their own.

Rule: as for conversations. A group is looked at one time, and only if somebody waits or did so
lately. It may name a reader for whom there turns out to be nothing, and never leaves one out.

Who waits in calls that follow each other would have all follows read at each. So those of readers
for whom nobody waits any more are kept for a while, up to a number of follows.

A reader is waited for by the id of a timeline of theirs (`waited_by`): their home, or if they have
none yet their feed or in-box. It stays the same although a home is made meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.engine.view import View
from timeline.errors import NotFoundError
from timeline.feeds.access import nobody, owner_of
from timeline.formats.conversations import between, second_id
from timeline.formats.feeds import FOLLOW, POST
from timeline.formats.keys import number, split_pair
from timeline.formats.names import FEED_EVENTS, FEEDS, HOMES, NOTES, USERS
from timeline.formats.records import NOTIFY, decode_target
from timeline.identity import check_user

_LATELY: Final = 100_000  # follows that are kept of readers for whom nobody waits, some 10 MB
_UNKNOWN: Final = -2  # the LSN of no group, nor of the one before


def waited_by(view: View, user: bytes) -> int:
    """The id by which somebody waits for a reader. Raises `NotFoundError`, `UsageError`."""
    check_user(user)
    for prefix in (HOMES, FEEDS, USERS):
        timeline = view.find(prefix + user)
        if timeline is not None:
            return timeline.id
    raise NotFoundError(nobody(user))


class FeedWatch:
    """The readers for whom somebody waits, and whom they follow."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._view = engine.view
        self._waiting: dict[int, int] = {}  # id → how many wait by it
        self._reader_of: dict[int, bytes] = {}  # id → reader
        self._ids: dict[bytes, set[int]] = {}  # reader → by which ids somebody waits
        self._followed: dict[bytes, list[int]] = {}  # reader → feeds
        # Of these, readers for whom nobody waits, those that were waited for longest ago first.
        self._lately: OrderedDict[bytes, int] = OrderedDict()  # → follows, about
        self._kept = 0  # the sum of these
        self._readers: dict[int, set[bytes]] = {}  # feed → readers
        self._seen = _UNKNOWN  # LSN up to which groups were told

    def __len__(self) -> int:
        """How many readers groups are looked at for."""
        return len(self._followed)

    def add(self, name: int) -> None:
        """Somebody waits for a reader, by an id."""
        timeline = self._view.load(name)
        if timeline is None:
            raise NotFoundError("who is waited for is not there any more")
        if not self._followed:
            self._seen = self._engine.applied
        self._waiting[name] = self._waiting.get(name, 0) + 1
        if self._waiting[name] == 1:
            reader = self._reader_of[name] = owner_of(timeline.name)
            self._ids.setdefault(reader, set()).add(name)
            if self._lately.pop(reader, None) is None:
                if reader not in self._followed:
                    self._follow(reader)
            else:
                self._kept -= self._weight(reader)

    def remove(self, name: int) -> None:
        """One of those who wait by an id waits no longer."""
        self._waiting[name] -= 1
        if self._waiting[name]:
            return
        del self._waiting[name]
        reader = self._reader_of.pop(name)
        self._ids[reader].discard(name)
        if not self._ids[reader]:
            del self._ids[reader]
            self._lately[reader] = self._weight(reader)
            self._kept += self._lately[reader]
            while self._kept > _LATELY:
                self._forget(next(iter(self._lately)))

    def concerned(self, group: Group) -> set[int]:
        """The ids for which an applied group may have brought something. If groups before it were
        not given here (the store healed, and what was uncertain stands), that is all. Raises
        `CorruptError` when rows are damaged: then it is all for the next group.
        """
        missed = group.first != self._seen + 1
        self._seen = _UNKNOWN  # if this fails, all are concerned the next time
        if missed:
            for reader in list(self._lately):
                self._forget(reader)
            for reader in self._ids:
                self._follow(reader)
            readers = set(self._ids)
        else:
            readers = self._look(group)
        self._seen = group.last
        return set().union(*[self._ids.get(reader, ()) for reader in readers])

    def _look(self, group: Group) -> set[bytes]:
        found: set[bytes] = set()
        for key in group.state:
            if key[:2] == FOLLOW:
                home = self._view.load(split_pair(key[2:])[0])
                reader = b"" if home is None else owner_of(home.name)
                if reader in self._ids:
                    found.add(reader)
                elif reader in self._lately:
                    self._forget(reader)
        for reader in found:
            self._follow(reader)
        for timeline_id, timeline in {each.id: each for each in group.appended.timelines}.items():
            name = timeline.name
            if name.startswith((FEEDS, FEED_EVENTS)):
                author = owner_of(name)
                feed = self._view.find(FEEDS + author) if name.startswith(FEED_EVENTS) else timeline
                found.update(self._readers.get(timeline_id if feed is None else feed.id, ()))
                if author in self._ids:
                    found.add(author)
        for operation in group.operations:
            if operation.kind == NOTIFY:
                target = decode_target(operation.body)
                if target.kind >= POST:  # others are of conversations
                    found |= self._reached(target.inboxes)
        return found

    def _reached(self, inboxes: Sequence[int]) -> set[bytes]:
        found: set[bytes] = set()
        for inbox in inboxes:
            timeline = self._view.load(inbox)
            if timeline is not None and timeline.name.startswith((HOMES, NOTES)):
                reader = owner_of(timeline.name)
                if reader in self._ids:
                    found.add(reader)
        return found

    def _weight(self, reader: bytes) -> int:
        return 1 + len(self._followed[reader])

    def _forget(self, reader: bytes) -> None:
        """Keep nothing of a reader for whom nobody waits."""
        self._kept -= self._lately.pop(reader)
        self._unfollow(reader)

    def _follow(self, reader: bytes) -> None:
        """Find out again whom a reader follows."""
        self._unfollow(reader)
        home = self._view.find(HOMES + reader)
        feeds: list[int] = []
        if home is not None:
            rows = self._view.scan(*between(FOLLOW + number(home.id)))
            feeds = [second_id(key) for key, _ in rows]
        self._followed[reader] = feeds
        for feed in feeds:
            self._readers.setdefault(feed, set()).add(reader)

    def _unfollow(self, reader: bytes) -> None:
        for feed in self._followed.pop(reader, ()):
            readers = self._readers[feed]
            readers.discard(reader)
            if not readers:
                del self._readers[feed]
