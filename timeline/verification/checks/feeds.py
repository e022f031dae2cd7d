"""Feeds: their rows, their two timelines, how they are diffused, and their audiences (`audiences`).

Checked: each feed has a timeline of posts and one of events, and each such timeline has a feed. Its
numbers of followers and of requests are right, and the post that is pinned is there. The stretches
in which it was read-diffused follow one another, and none is said to have ended before its posts
were made. While it is write-diffused, its audience is the homes of its followers; else it is empty.

Example: 5 users follow ann, and the row of her feed says 4.

A repair believes the rows of followers over audiences and counts, and the rows of follows over both
(`homes`). It makes a lost row again from the rest: what it cannot know to have been delivered it
has pulled, so no home loses a post.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.feeds import (
    FEED,
    FIELDS,
    FOLLOWER,
    PROTECTED,
    REQUEST,
    FeedRow,
    decode_feed,
    encode_feed,
    feed_key,
    split_follower_key,
)
from timeline.formats.names import CONVERSATIONS, EVENTS, FEED_EVENTS, FEEDS, INBOXES
from timeline.formats.rows import RAW, TimelineRow, encode_row
from timeline.formats.stretches import OPEN, Stretch, is_open
from timeline.storage.rocks import SEGMENTS, STATE
from timeline.verification.checks.audiences import Wording, check_audience
from timeline.verification.checks.names import is_called, lost_name, renamed, with_events
from timeline.verification.snapshot.findings import Finding, Put, put, remove, within
from timeline.verification.snapshot.snapshot import Snapshot

_OTHERS: Final = (CONVERSATIONS, EVENTS, FEED_EVENTS, *INBOXES)
_WORDING: Final = Wording("posts", "follower", "they do not follow it")


def check_feeds(snapshot: Snapshot) -> Iterator[Finding]:
    for key, value in snapshot.scan(keys.NAME + FEEDS):
        feed = _id(value)
        if snapshot.row(feed) is not None and snapshot.feed(feed) is None:
            there = snapshot.get(feed_key(feed)) is not None
            yield Finding(
                STATE,
                f"the row of this feed is {'damaged' if there else 'missing'}: whether it was "
                "protected, and what was pinned, is lost",
                feed_key(feed),
                key[1:],
                lost=True,
                fix=put(STATE, feed_key(feed), encode_feed(_made_again(snapshot, feed, key[1:]))),
            )
    for key, value in snapshot.scan(keys.NAME + FEED_EVENTS):
        posts = snapshot.get(keys.NAME + FEEDS + key[1:].removeprefix(FEED_EVENTS))
        row = None if posts is None else snapshot.feed(_id(posts))
        if posts is None or (row is not None and row.events != _id(value)):
            yield Finding(
                STATE,
                "these are the events of no feed",
                key,
                key[1:],
                fix=remove(STATE, key, keys.ROW + value),
            )
    for key, value in snapshot.scan(FEED):
        yield from _check_feed(snapshot, key, value)


def _check_feed(snapshot: Snapshot, key: bytes, value: bytes) -> Iterator[Finding]:
    try:
        feed = keys.split_number(key[2:])
        row = decode_feed(value)
    except CorruptError as error:
        if len(key) != 10 or snapshot.row(_id(key[2:])) is None:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
        return  # else its name tells of it
    posts = snapshot.row(feed)
    if posts is None:
        yield Finding(
            STATE, f"feed {feed} has no posts: it cannot be opened", key,
            fix=_with_posts(snapshot, feed, row),
        )  # fmt: skip
        return
    name = posts.name
    if not name.startswith(FEEDS) and is_called(snapshot, feed, _OTHERS):
        text = "this is no feed, and has the row of one"
        yield Finding(STATE, text, key, name, fix=remove(STATE, key))
        return
    if not name.startswith(FEEDS):
        yield Finding(
            STATE,
            "this is a feed, and is not called like one",
            key,
            name,
            feed,
            fix=renamed(snapshot, feed, posts),
        )
        return
    events = snapshot.row(row.events)
    expected = FEED_EVENTS + name.removeprefix(FEEDS)
    if events is None or events.name != expected:
        yield Finding(
            STATE,
            f"its events, timeline {row.events}, are not there",
            key,
            name,
            lost=True,
            fix=_with_events(snapshot, feed, row, expected),
        )
    followers = _followers(snapshot, feed)
    pulled = is_open(row.pulled)
    yield from check_audience(snapshot, feed, name, followers, _WORDING, pulled=pulled)
    better, wrong = _mended(snapshot, feed, row, len(followers))
    if wrong:
        yield Finding(STATE, "; ".join(wrong), key, name, fix=put(STATE, key, encode_feed(better)))


def _followers(snapshot: Snapshot, feed: int) -> set[int]:
    """The homes of those who follow a feed, by what it knows. `homes` tells of damaged keys."""
    rows = snapshot.scan(FOLLOWER + keys.number(feed))
    return {split_follower_key(key)[2] for key, _ in rows if len(key) == 26}


def _mended(
    snapshot: Snapshot, feed: int, row: FeedRow, followers: int
) -> tuple[FeedRow, list[str]]:
    """The row of a feed as it should be, and what is wrong with it."""
    wrong = []
    if followers != row.followers:
        wrong.append(f"it has {followers} followers, not {row.followers}")
    requests = _requests(snapshot, feed)
    if requests != row.requests:
        wrong.append(f"{requests} ask to follow it, not {row.requests}")
    pinned = row.pinned
    if pinned and not _is_there(snapshot, feed, pinned):
        wrong.append(f"post {pinned} is pinned, and is not there")
        pinned = 0
    pulled = _within(row.pulled, snapshot.head(feed) or 0, snapshot.head(row.events) or 0)
    if pulled != row.pulled:
        wrong.append("posts or events beyond the head are read-diffused")
    if _disordered(pulled):
        wrong.append("what is read-diffused of it is out of order")
        pulled = _ordered(pulled)
    ended = tuple(_ended(snapshot, feed, each) for each in pulled)
    if ended != pulled:
        wrong.append("what was read-diffused of it ended before its posts, or after all commits")
    better = row._replace(followers=followers, requests=requests, pinned=pinned, pulled=ended)
    return better, wrong


def _requests(snapshot: Snapshot, feed: int) -> int:
    return sum(1 for _ in snapshot.scan(REQUEST + keys.number(feed)))


def _is_there(snapshot: Snapshot, feed: int, seq: int) -> bool:
    """Whether a feed has a post, or one that cannot be read."""
    timeline = snapshot.timeline(feed)
    if timeline is None or seq > snapshot.memtable.head(timeline):
        return False
    try:
        return snapshot.timelines.ranges.entry(timeline, seq) is not None
    except CorruptError:
        return True  # the check of entries tells of it


def _within(stretches: Sequence[Stretch], head: int, events: int) -> tuple[Stretch, ...]:
    """The stretches of a feed, cut off at its newest post and event."""
    return tuple(
        each._replace(
            first_event=min(each.first_event, events + 1),
            last_event=OPEN if each.ended == OPEN else min(each.last_event, events),
        )
        for each in within(stretches, head)
    )


def _disordered(stretches: Sequence[Stretch]) -> bool:
    below = below_event = 0  # how far those before reach
    for at, (first, last, first_event, last_event, ended) in enumerate(stretches, 1):
        if first <= below or last + 1 < first:
            return True
        if first_event <= below_event or last_event + 1 < first_event:
            return True
        if ended == OPEN and at < len(stretches):
            return True
        below, below_event = max(below, last), max(below_event, last_event)
    return False


def _ordered(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """The same without what makes no sense, each from where the one before ends. It may hold more
    or less than it should: who pulls what was delivered sees it once, and the check of deliveries
    finds what is neither.
    """
    found: list[Stretch] = []
    below = below_event = 0
    opened = [each for each in stretches if each.ended == OPEN][-1:]
    for each in (*sorted(each for each in stretches if each.ended != OPEN), *opened):
        first = max(each.first, below + 1)
        first_event = max(each.first_event, below_event + 1)
        last = max(each.last, first - 1)
        last_event = max(each.last_event, first_event - 1)
        if last >= first or last_event >= first_event:
            found.append(Stretch(first, last, first_event, last_event, each.ended))
            below, below_event = last, last_event
    return tuple(found)


def _ended(snapshot: Snapshot, feed: int, stretch: Stretch) -> Stretch:
    """The same, with a commit at which it can have ended."""
    if stretch.ended == OPEN:
        return stretch
    least = newest_lsn(snapshot, feed, stretch.first, stretch.last)
    return stretch._replace(ended=max(least, min(stretch.ended, snapshot.applied)))


def newest_lsn(snapshot: Snapshot, feed: int, first: int, last: int) -> int:
    """The LSN of the newest post from number `first` to `last` that is there; 0 for none."""
    timeline = snapshot.timeline(feed)
    if timeline is None or first > last:
        return 0
    try:
        found = snapshot.timelines.ranges.stored(timeline, first, last, 1, reverse=True)
    except CorruptError:
        return 0  # the check of entries tells of it
    return found[0][1] if found else 0


# --- what is made again ---------------------------------------------------------------------------


def _made_again(snapshot: Snapshot, feed: int, name: bytes) -> FeedRow:
    """The row of a feed from what else is known. Everything that there is, is pulled."""
    posts = snapshot.row(feed)
    events = _id(snapshot.get(keys.NAME + FEED_EVENTS + name.removeprefix(FEEDS)) or b"")
    events = events or feed + 1  # they were made one after the other
    followers = len(_followers(snapshot, feed))
    head, last_event = snapshot.head(feed) or 0, snapshot.head(events) or 0
    pulled: tuple[Stretch, ...] = ()
    if followers and not snapshot.holds(keys.AUDIENCE + keys.number(feed)):
        pulled = (Stretch(1, OPEN, 1, OPEN, OPEN),)
    elif head:
        pulled = (Stretch(1, head, 1, last_event, snapshot.applied),)
    created = 0 if posts is None else posts.created
    requests = _requests(snapshot, feed)
    flags = PROTECTED if requests else 0  # nobody need ask another
    return FeedRow(flags, followers, requests, 0, created, events, pulled)


def _with_posts(snapshot: Snapshot, feed: int, row: FeedRow) -> tuple[Put, ...]:
    """Give a feed its timeline of posts again, unless nothing else knows of it. Its events may say
    whose it is.
    """
    start, stop = keys.pair(feed, 0), keys.pair(feed, keys.MAX)
    known = (
        snapshot.name(row.events).startswith(FEED_EVENTS)
        or any(snapshot.holds(each + keys.number(feed)) for each in (FOLLOWER, REQUEST, FIELDS))
        or snapshot.storage.at_or_after(SEGMENTS, start, stop) is not None
    )
    if not 0 < feed < snapshot.next_id or not known:
        return remove(STATE, feed_key(feed))
    name = lost_name(snapshot, feed)
    posts = encode_row(TimelineRow(RAW, 0, 1, 0, 0, 0, name))
    return (
        Put(STATE, keys.ROW + keys.number(feed), posts),
        Put(STATE, keys.NAME + name, keys.number(feed)),
    )


def _with_events(snapshot: Snapshot, feed: int, row: FeedRow, name: bytes) -> tuple[Put, ...]:
    def save(events: int) -> Put:
        return Put(STATE, feed_key(feed), encode_feed(row._replace(events=events)))

    return with_events(snapshot, row.events, name, save)


def _id(value: bytes) -> int:
    return int.from_bytes(value, "big")
