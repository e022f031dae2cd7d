"""The cache of homes: whom those follow who read theirs recently, kept in memory and up to date.

Responsibility: say for a home which parts of which feeds it pulls, without a look at each feed.

Rule: as for the cache of lists. What a group changes is noted when it is applied, under the lock
that readers need, so an answer is exact. If a group was applied that was not seen here, all is
forgotten. Beyond a number of bytes, the homes used longest ago are forgotten.

    settled   parts that end: what was there before a follow, and stretches that are over. They are
              in order, and made again when the follows change or a feed changes its diffusion.
    live      feeds that are read-diffused now. For each we keep an LSN: none of its posts was made
              by a later commit. Only publishing raises it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import merge
from typing import Final

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.engine.view import View
from timeline.feeds.access import follow_of, newest_commit
from timeline.feeds.following import follows_of
from timeline.feeds.outlets import NextEntries
from timeline.formats.feeds import FEED, FOLLOW, FeedRow, FollowRow, decode_feed, feed_key
from timeline.formats.keys import MAX, split_number, split_pair
from timeline.formats.numbers import TimelineId
from timeline.formats.records import DROP
from timeline.formats.stretches import OPEN
from timeline.pullback import Bounds, Part

# What things take in memory, measured.
_HOME_BYTES: Final = 1_000
_FOLLOW_BYTES: Final = 500  # a feed that is followed
_PART_BYTES: Final = 120  # a part that is pulled, of a feed's row and of a home
_BOUND_BYTES: Final = 300  # a place that is remembered, in `bounds` or `ahead`


class FeedSummary:
    """A feed as far as homes need it. No commit above `newest` made a post of it; `MAX` where
    nobody has asked. `newest_event` is the same of events.
    """

    __slots__ = ("feed", "homes", "newest", "newest_event", "row")

    def __init__(self, view: View, feed: int) -> None:
        self.feed = TimelineId(feed)
        self.homes: set[KeptHome] = set()
        value = view.get(feed_key(feed))
        self.row: FeedRow | None = None if value is None else decode_feed(value)
        self.newest = MAX
        self.newest_event = MAX

    def look(self, view: View) -> None:
        """Find `newest` if it is not known."""
        posts = view.load(self.feed) if self.newest == MAX else None
        if posts is not None:
            self.newest = newest_commit(view, posts)

    def look_at_events(self, view: View) -> None:
        """Find `newest_event` if it is not known."""
        if self.newest_event == MAX and self.row is not None:
            events = view.load(self.row.events)
            if events is not None:
                self.newest_event = newest_commit(view, events)


class KeptHome:
    """Whom the owner of one home follows."""

    __slots__ = (
        "ahead", "bounds", "changed", "counted", "follows", "home", "live", "parts_size", "settled",
        "summaries",
    )  # fmt: skip

    def __init__(self, home: int) -> None:
        self.home = home
        self.follows: dict[int, FollowRow] = {}
        self.summaries: dict[int, FeedSummary] = {}
        self.changed: set[int] = set()  # feeds that were followed or left since
        self.settled: list[Part] | None = None  # None: to be made
        self.live: list[tuple[FeedSummary, int]] = []  # and the first number that is pulled
        self.bounds = Bounds()  # where those who page through old posts are
        self.ahead = NextEntries()  # where devices that catch up go on
        self.parts_size = 0  # bytes, without `bounds` and `ahead`
        self.counted = 0  # of its size in that of the cache

    def row(self, feed: int) -> FeedRow | None:
        summary = self.summaries.get(feed)
        return None if summary is None else summary.row

    @property
    def size(self) -> int:
        """About what it takes in memory, in bytes."""
        return self.parts_size + _BOUND_BYTES * (len(self.bounds) + len(self.ahead))

    def settle(self, view: View) -> None:
        """Make the parts, unless they are made."""
        if self.settled is not None:
            return
        settled: list[Part] = []
        live: list[tuple[FeedSummary, int]] = []
        stretches = 0
        for feed, follow in self.follows.items():
            if follow.first <= follow.head:
                settled.append(Part(TimelineId(feed), follow.first, follow.head, follow.newest))
            summary = self.summaries[feed]
            for each in () if summary.row is None else summary.row.pulled:
                stretches += 1
                first = max(each.first, follow.head + 1)
                if each.ended == OPEN:
                    summary.look(view)
                    live.append((summary, first))
                elif first <= each.last:
                    settled.append(Part(TimelineId(feed), first, each.last, each.ended))
        settled.sort(key=_age)
        self.settled, self.live = settled, live
        self.bounds, self.ahead = Bounds(), NextEntries()
        parts = stretches + len(settled) + len(live)
        self.parts_size = _HOME_BYTES + _FOLLOW_BYTES * len(self.follows) + _PART_BYTES * parts

    def parts(self) -> Iterator[Part]:
        """What is pulled above the floor of the home, the newest first."""
        return merge(self.settled or [], self._live_parts(), key=_age)

    def _live_parts(self) -> Iterator[Part]:
        for summary, first in sorted(self.live, key=_age_of_live):
            yield Part(summary.feed, first, OPEN, summary.newest)

    def parts_above(self, view: View, lsn: int) -> Iterator[Part]:
        """What is pulled of posts and events and may have anything of commits above `lsn`."""
        for part in self.settled or []:
            if part.newest <= lsn:
                break
            yield part
        for summary, first in self.live:
            if summary.newest > lsn:
                yield Part(summary.feed, first, OPEN, summary.newest)
        for summary in self.summaries.values():
            row = summary.row
            if row is None or not row.pulled:
                continue
            for each in row.pulled:
                newest = each.ended
                if newest == OPEN:
                    summary.look_at_events(view)
                    newest = summary.newest_event
                if newest > lsn and each.first_event <= each.last_event:
                    yield Part(TimelineId(row.events), each.first_event, each.last_event, newest)

    def whole(self, view: View) -> Iterator[Part]:
        """All that is shown of each feed, as it is pulled at the floor and below, the newest
        first.
        """
        for summary in self.summaries.values():
            summary.look(view)
        for summary in sorted(self.summaries.values(), key=_age_of_feed):
            yield Part(summary.feed, self.follows[summary.feed].first, MAX, summary.newest)


def _age(part: Part) -> int:
    return -part.newest


def _age_of_feed(summary: FeedSummary) -> int:
    return -summary.newest


def _age_of_live(live: tuple[FeedSummary, int]) -> int:
    return -live[0].newest


class HomeCache:
    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self._homes: OrderedDict[int, KeptHome] = OrderedDict()
        self._feeds: dict[int, FeedSummary] = {}
        self._by_events: dict[int, FeedSummary] = {}
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
        found = self._homes.get(home) or KeptHome(home)
        try:
            if home not in self._homes:
                for feed, row in follows_of(view, home).items():
                    self._set(found, feed, row)
            for feed in found.changed:
                self._set(found, feed, follow_of(view, home, feed))
            found.changed.clear()
            found.settle(view)
        except BaseException:  # damage, say: what is half done must not answer the next time
            self._homes.pop(home, None)
            self._close(found)
            raise
        self._homes[home] = found
        self._homes.move_to_end(home)
        size = found.size
        self._size += size - found.counted
        found.counted = size
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
                if summary.row is not None:
                    self._by_events[summary.row.events] = summary
            summary.homes.add(home)
            home.summaries[feed] = summary
        home.follows[feed] = row

    def _release(self, home: KeptHome, feed: int) -> None:
        summary = home.summaries.pop(feed)
        summary.homes.discard(home)
        if not summary.homes:
            del self._feeds[feed]
            if summary.row is not None:
                self._by_events.pop(summary.row.events, None)

    def _close(self, home: KeptHome) -> None:
        for feed in list(home.summaries):
            self._release(home, feed)
        self._size -= home.counted

    def _clear(self) -> None:
        self._homes.clear()
        self._feeds = {}
        self._by_events = {}
        self._size = 0
        self._followed = self._engine.applied

    def _follow(self, group: Group) -> None:
        """Note what an applied group changes."""
        if not self._homes or group.first != self._followed + 1:
            self._clear()
            return
        appended = group.appended.ids
        kept = (self._feeds.keys(), self._by_events.keys())
        if not (kept[0].isdisjoint(appended) and kept[1].isdisjoint(appended)):
            self._follow_entries(group)
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
        self._followed = group.last  # only now: what raises above is not taken for seen

    def _follow_entries(self, group: Group) -> None:
        """Note the commit of the newest post and event of each feed, and not that of the group: a
        page opens each feed that may have something as new as what it is at.
        """
        offsets = group.offsets
        for index, feed in enumerate(group.appended.ids):
            summary = self._feeds.get(feed)
            if summary is not None:
                summary.newest = group.first + (index if offsets is None else offsets[index])
            elif (summary := self._by_events.get(feed)) is not None:
                summary.newest_event = group.first + (index if offsets is None else offsets[index])

    def _change(self, summary: FeedSummary, value: bytes | None) -> None:
        """The row of a feed is another one."""
        before = summary.row
        summary.row = None if value is None else decode_feed(value)
        if before is not None:
            self._by_events.pop(before.events, None)
        if summary.row is not None:
            self._by_events[summary.row.events] = summary
        if before is None or summary.row is None or before.pulled != summary.row.pulled:
            for home in summary.homes:
                home.settled = None
