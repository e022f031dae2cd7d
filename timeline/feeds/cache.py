"""The cache of homes: whom those follow who read theirs recently, kept in memory and up to date.

Responsibility: say for a home which parts of which feeds it pulls, without a look at each feed.

Rule: as for the cache of lists. What a group changes is noted when it is applied, under the lock
that readers need, so an answer is exact. If a group was applied that was not seen here, all is
forgotten. Beyond a number of bytes, the homes used longest ago are.

    settled   parts that end: what was there before a follow, and stretches that are over. They are
              in order, and made again when the follows change or a feed changes its diffusion.
    live      feeds that are read-diffused now. Of each it is known by which commit it got its
              newest post, or one above; publishing moves that, and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import merge
from typing import Final

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.engine.view import View
from timeline.feeds.access import follow_of
from timeline.feeds.following import follows_of
from timeline.formats.feeds import FEED, FOLLOW, FeedRow, FollowRow, decode_feed, feed_key
from timeline.formats.keys import MAX, split_number, split_pair
from timeline.formats.numbers import TimelineId
from timeline.formats.records import DROP
from timeline.formats.stretches import OPEN
from timeline.pullback import Part

_HOME_BYTES: Final = 1_000  # that a home takes in memory, measured; and
_FOLLOW_BYTES: Final = 600  # each feed that is followed


class FeedSummary:
    """A feed as far as homes need it. No commit above `newest` made a post of it."""

    __slots__ = ("feed", "homes", "newest", "row")

    def __init__(self, view: View, feed: int) -> None:
        self.feed = TimelineId(feed)
        self.homes: set[KeptHome] = set()
        value = view.get(feed_key(feed))
        self.row: FeedRow | None = None if value is None else decode_feed(value)
        self.newest = MAX if self.pulled else 0  # of one that is delivered nobody asks
        posts = view.load(feed) if self.pulled else None
        if posts is not None:
            newest = next(view.stored(posts, 1, view.extent(posts).head, reverse=True), None)
            self.newest = newest[1] if newest else 0

    @property
    def pulled(self) -> bool:
        """Whether it is read-diffused now."""
        return self.row is not None and bool(self.row.pulled) and self.row.pulled[-1].ended == OPEN


class KeptHome:
    """Whom the owner of one home follows."""

    __slots__ = ("changed", "follows", "home", "live", "settled", "summaries")

    def __init__(self, home: int) -> None:
        self.home = home
        self.follows: dict[int, FollowRow] = {}
        self.summaries: dict[int, FeedSummary] = {}
        self.changed: set[int] = set()  # feeds that were followed or left since
        self.settled: list[Part] | None = None  # None: to be made
        self.live: list[tuple[FeedSummary, int]] = []  # and the first number that is pulled

    def row(self, feed: int) -> FeedRow | None:
        summary = self.summaries.get(feed)
        return None if summary is None else summary.row

    def _settle(self) -> list[Part]:
        settled: list[Part] = []
        live: list[tuple[FeedSummary, int]] = []
        for feed, follow in self.follows.items():
            if follow.first <= follow.head:
                settled.append(Part(TimelineId(feed), follow.first, follow.head, follow.newest))
            summary = self.summaries[feed]
            for each in () if summary.row is None else summary.row.pulled:
                first = max(each.first, follow.head + 1)
                if each.ended == OPEN:
                    live.append((summary, first))
                elif first <= each.last:
                    settled.append(Part(TimelineId(feed), first, each.last, each.ended))
        settled.sort(key=_age)
        self.settled, self.live = settled, live
        return settled

    def parts(self) -> Iterator[Part]:
        """What is pulled, the newest first."""
        settled = self._settle() if self.settled is None else self.settled
        return merge(settled, self._live_parts(), key=_age)

    def _live_parts(self) -> Iterator[Part]:
        for summary, first in sorted(self.live, key=_age_of_live):
            yield Part(summary.feed, first, OPEN, summary.newest)


def _age(part: Part) -> int:
    return -part.newest


def _age_of_live(live: tuple[FeedSummary, int]) -> int:
    return -live[0].newest


class HomeCache:
    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._homes: OrderedDict[int, KeptHome] = OrderedDict()
        self._feeds: dict[int, FeedSummary] = {}
        self._size = 0
        self._followed = engine.applied  # the last LSN of the last group seen
        engine.observers.on_apply(self._follow)

    def __len__(self) -> int:
        return len(self._homes)

    @property
    def size(self) -> int:
        """About what they take in memory, in bytes."""
        return self._size

    def of(self, home: int) -> KeptHome:
        """The home with this in-box; the caller holds the engine's lock."""
        if self._followed != self._engine.applied:
            self._clear()
        view = self._engine.view
        found = self._homes.get(home)
        if found is None:
            found = self._homes[home] = KeptHome(home)
            self._size += _HOME_BYTES
            for feed, row in follows_of(view, home).items():
                self._set(found, feed, row)
        else:
            self._homes.move_to_end(home)
            for feed in found.changed:
                self._set(found, feed, follow_of(view, home, feed))
            found.changed.clear()
        while self._size > self._limit and len(self._homes) > 1:
            self._close(self._homes.popitem(last=False)[1])
        return found

    def _set(self, home: KeptHome, feed: int, row: FollowRow | None) -> None:
        home.settled = None
        if row is None:
            if home.follows.pop(feed, None) is not None:
                self._release(home, feed)
            return
        if feed not in home.follows:
            summary = self._feeds.get(feed)
            if summary is None:
                summary = self._feeds[feed] = FeedSummary(self._engine.view, feed)
            summary.homes.add(home)
            home.summaries[feed] = summary
            self._size += _FOLLOW_BYTES
        home.follows[feed] = row

    def _release(self, home: KeptHome, feed: int) -> None:
        summary = home.summaries.pop(feed)
        summary.homes.discard(home)
        self._size -= _FOLLOW_BYTES
        if not summary.homes:
            del self._feeds[feed]

    def _close(self, home: KeptHome) -> None:
        for feed in list(home.summaries):
            self._release(home, feed)
        self._size -= _HOME_BYTES

    def _clear(self) -> None:
        self._homes.clear()
        self._feeds = {}
        self._size = 0
        self._followed = self._engine.applied

    def _follow(self, group: Group) -> None:
        """Note what an applied group changes."""
        if not self._homes or group.first != self._followed + 1:
            self._clear()
            return
        self._followed = group.last
        for feed in self._feeds.keys() & group.appended.ids:
            self._feeds[feed].newest = group.last
        for key, value in group.state.items():
            family = key[:2]
            if family == FOLLOW:
                home, feed = split_pair(key[2:])
                if home in self._homes:
                    self._homes[home].changed.add(feed)
            elif family == FEED and (feed := split_number(key[2:])) in self._feeds:
                self._change(self._feeds[feed], value)
        for each in group.operations:
            if each.kind == DROP and each.id in self._feeds:
                self._change(self._feeds[each.id], None)

    def _change(self, summary: FeedSummary, value: bytes | None) -> None:
        """The row of a feed is another one."""
        before = summary.row
        summary.row = None if value is None else decode_feed(value)
        if before is None or summary.row is None or before.pulled != summary.row.pulled:
            summary.newest = self._followed if summary.pulled else 0
            for home in summary.homes:
                home.settled = None
