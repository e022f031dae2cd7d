"""Homes: whom their owners follow, what they have of each feed, and what is counted of both.

Checked: each follow is of a home and a feed that are there, and is also among the followers of the
feed, and the other way round. It begins at a post that the feed has. Nobody follows whom a block
keeps from them. How many authors a user follows is right, how many users they block, and whether
they have ties (`ties`).

Example: bob follows ann since commit 90, and the feed of ann knows nothing of it.

A repair believes the row of a follow over followers and counts. Where there is none, it makes one
from the follower, which shows at least as much as the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from heapq import merge
from itertools import groupby

from timeline.errors import CorruptError, shown
from timeline.feeds.ties import BARRED
from timeline.formats import keys
from timeline.formats.feeds import (
    BLOCK,
    FOLLOW,
    FOLLOWER,
    HAS_TIES,
    HOME,
    NO_HOME,
    NO_TIE,
    TIE,
    FollowRow,
    HomeRow,
    decode_follow,
    decode_home,
    decode_tie,
    encode_follow,
    encode_home,
    follow_key,
    follower_key,
    home_key,
    split_follower_key,
)
from timeline.formats.names import FEEDS, HOMES
from timeline.formats.rows import INBOX
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import STATE
from timeline.verification.checks.feeds import newest_lsn
from timeline.verification.snapshot.findings import Finding, put, remove
from timeline.verification.snapshot.snapshot import Snapshot


def check_homes(snapshot: Snapshot) -> Iterator[Finding]:
    """How many authors users follow, how many users they block, and whether they have ties."""
    families = map(snapshot.scan, (HOME, FOLLOW, BLOCK, TIE))
    for place, pairs in groupby(merge(*families, key=_owner), key=_owner):
        found = dict.fromkeys((FOLLOW, BLOCK, TIE), 0)
        noted: bytes | None = None
        for key, value in pairs:
            if key[:2] != HOME:
                found[key[:2]] += 1
            elif len(key) == 10 and _is_home(snapshot, _id(place)):
                noted = value
            else:
                yield Finding(STATE, "it is of no home", key, fix=remove(STATE, key))
        if len(place) == 8 and _is_home(snapshot, _id(place)):
            counts = HomeRow(HAS_TIES if found[TIE] else 0, found[FOLLOW], found[BLOCK])
            yield from _check_home(snapshot, _id(place), counts, noted)


def _owner(pair: tuple[bytes, bytes]) -> bytes:
    """Whose home a row is of."""
    return pair[0][2:10]


def _check_home(
    snapshot: Snapshot, home: int, counts: HomeRow, noted: bytes | None
) -> Iterator[Finding]:
    key, name = home_key(home), snapshot.name(home)
    try:
        row = NO_HOME if noted is None else decode_home(noted)
    except CorruptError as error:
        yield Finding(STATE, str(error), key, name, fix=put(STATE, key, encode_home(counts)))
        return
    better = counts._replace(flags=counts.flags | row.flags)  # they may have had ties
    wrong = []
    if row.following != counts.following:
        wrong.append(f"they follow {counts.following} authors, {_noted(noted, row.following)}")
    if row.blocked != counts.blocked:
        wrong.append(f"they block {counts.blocked} users, {_noted(noted, row.blocked)}")
    if counts.flags & ~row.flags:
        wrong.append("they mute or block somebody, or ask to follow them, which is not noted")
    if wrong:
        yield Finding(STATE, "; ".join(wrong), key, name, fix=put(STATE, key, encode_home(better)))


def _noted(value: bytes | None, number: int) -> str:
    return "which is not noted" if value is None else f"and {number} is noted"


def check_follows(snapshot: Snapshot) -> Iterator[Finding]:
    """What readers have of feeds."""
    owner, barred = 0, set[int]()
    for key, value in snapshot.scan(FOLLOW):
        if len(key) != 18:
            yield Finding(STATE, "this key is of no follow", key, fix=remove(STATE, key))
            continue
        home, feed = keys.split_pair(key[2:])
        try:
            row = decode_follow(value)
        except CorruptError as error:
            name = snapshot.name(feed)
            yield Finding(STATE, str(error), key, name, lost=True, fix=remove(STATE, key))
            continue
        if not may_be_home(snapshot, home) or not may_be_feed(snapshot, feed):
            yield Finding(
                STATE,
                f"home {home} follows feed {feed}, and one of the two is not there",
                key,
                fix=remove(STATE, key),
            )
            continue
        if home != owner:
            owner, barred = home, _barred(snapshot, home)
        if feed in barred:
            yield Finding(
                STATE,
                f"{shown(snapshot.name(home))} follows it, although one of the two blocks the "
                "other",
                key,
                snapshot.name(feed),
                fix=remove(STATE, key, follower_key(feed, row.lsn, home)),
            )
            continue
        posts = snapshot.timeline(feed)
        if posts is not None and snapshot.row(home) is not None:
            yield from _check_follow(snapshot, key, home, posts, row)


def _barred(snapshot: Snapshot, home: int) -> set[int]:
    """The feeds of those whom a block keeps from the owner of a home."""
    found = set()
    for key, value in snapshot.scan(TIE + keys.number(home)):
        with suppress(CorruptError):  # the check of ties tells of it
            if decode_tie(value).flags & BARRED:
                found.add(_id(key[10:]))
    return found


def _check_follow(
    snapshot: Snapshot, key: bytes, home: int, posts: Timeline, row: FollowRow
) -> Iterator[Finding]:
    user = shown(snapshot.name(home))
    better, wrong = _mended(snapshot, home, posts, row)
    if wrong:
        yield Finding(
            STATE, f"{user}: {'; '.join(wrong)}", key, posts.name, row.head,
            fix=put(STATE, key, encode_follow(better)),
        )  # fmt: skip
        return
    expected = follower_key(posts.id, row.lsn, home)
    if snapshot.get(expected) is None:
        yield Finding(
            STATE,
            f"{user} follows it, and is not among its followers",
            expected,
            posts.name,
            fix=put(STATE, expected, b""),
        )


def _mended(
    snapshot: Snapshot, home: int, posts: Timeline, row: FollowRow
) -> tuple[FollowRow, list[str]]:
    """What a reader has of a feed as it should be, and what is wrong with it."""
    wrong = []
    better = row
    head = snapshot.memtable.head(posts)
    if not 0 < row.lsn <= snapshot.applied:
        wrong.append(
            f"they follow since commit {row.lsn}, and the last one is {snapshot.applied}, so that "
            "this is above the last one"
        )
        better = better._replace(lsn=_lsn(snapshot, posts.id, home))
    if row.head > head:
        wrong.append(f"they follow from {row.head} on, which is above the head, {head}")
    if wrong:
        better = _since(snapshot, posts, better)
    if not 0 < better.first <= better.head + 1:
        wrong.append(f"what they see begins at {better.first}, which is not what it may be")
        better = better._replace(first=_first(snapshot, better.head))
    least = newest_lsn(snapshot, posts.id, better.first, better.head)
    if not least <= better.newest <= better.lsn:
        wrong.append(
            f"what was there when they followed it is said to be of commit {better.newest}, and is "
            f"of {least}"
        )
        better = better._replace(newest=least)
    return better, wrong


def _since(snapshot: Snapshot, posts: Timeline, row: FollowRow) -> FollowRow:
    """The same, with the posts that were there at its commit."""
    try:
        head = snapshot.timelines.ranges.first_above(posts, row.lsn) - 1
    except CorruptError:
        head = min(row.head, snapshot.memtable.head(posts))
    return row._replace(head=head)


def _first(snapshot: Snapshot, head: int) -> int:
    return max(1, head - snapshot.options.feed_backfill + 1)


def _lsn(snapshot: Snapshot, feed: int, home: int) -> int:
    """Since which commit they follow, by what the feed knows."""
    for key, _ in snapshot.scan(FOLLOWER + keys.number(feed)):
        if len(key) == 26:
            _, lsn, reader = split_follower_key(key)
            if reader == home and 0 < lsn <= snapshot.applied:
                return lsn
    return snapshot.applied


def check_followers(snapshot: Snapshot) -> Iterator[Finding]:
    """Whom feeds know to follow them."""
    for key, value in snapshot.scan(FOLLOWER):
        try:
            feed, lsn, home = split_follower_key(key)
        except CorruptError as error:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
            continue
        name, user = snapshot.name(feed), shown(snapshot.name(home))
        row = snapshot.follow(home, feed)
        if not may_be_home(snapshot, home) or not may_be_feed(snapshot, feed):
            yield Finding(
                STATE,
                f"home {home} is a follower of feed {feed}, and one of the two is not there",
                key,
                fix=remove(STATE, key),
            )
        elif value:
            yield Finding(
                STATE, f"the row of follower {user} is damaged: it holds nothing else than a key",
                key, name, fix=put(STATE, key, b""),
            )  # fmt: skip
        elif row is None and (snapshot.tie(home, feed) or NO_TIE).flags & BARRED:
            yield Finding(
                STATE,
                f"{user} is among its followers, although one of the two blocks the other",
                key,
                name,
                fix=remove(STATE, key),
            )
        elif row is None:
            yield from _followed_again(snapshot, key, feed, lsn, home)
        elif row.lsn != lsn and 0 < row.lsn <= snapshot.applied:
            yield Finding(
                STATE,
                f"{user} follows by another commit, {row.lsn}, than the feed has it, {lsn}",
                key,
                name,
                fix=remove(STATE, key),
            )


def _followed_again(
    snapshot: Snapshot, key: bytes, feed: int, lsn: int, home: int
) -> Iterator[Finding]:
    """Make the row of a follow, as if they had followed with all that this may show."""
    posts = snapshot.timeline(feed)
    if posts is None or snapshot.row(home) is None:
        return  # other checks give them back
    fix = remove(STATE, key)
    if 0 < lsn <= snapshot.applied:
        row = _since(snapshot, posts, FollowRow(0, 0, 0, 0, lsn, 0))
        first = _first(snapshot, row.head)
        newest = newest_lsn(snapshot, feed, first, row.head)
        since = _time_of(snapshot, posts, row.head)
        row = row._replace(first=first, newest=newest, since=since)
        fix = put(STATE, follow_key(home, feed), encode_follow(row))
    yield Finding(
        STATE,
        f"{shown(snapshot.name(home))} is a follower, but their row of the feed cannot be read",
        key,
        posts.name,
        lost=True,
        fix=fix,
    )


def time_at(snapshot: Snapshot, posts: Timeline, lsn: int) -> int:
    """When commit `lsn` was, about, by the posts of a feed."""
    at = _since(snapshot, posts, FollowRow(0, 0, 0, 0, lsn, 0))
    return _time_of(snapshot, posts, at.head)


def _time_of(snapshot: Snapshot, posts: Timeline, head: int) -> int:
    """When the feed had come to post `head`, about."""
    created = 0 if posts.row is None else posts.row.created
    try:
        found = snapshot.timelines.ranges.stored(posts, 1, head, 1, reverse=True)
    except CorruptError:
        return created
    return found[0][2] if found else created


def _is_home(snapshot: Snapshot, home: int) -> bool:
    row = snapshot.row(home)
    return row is not None and row.kind == INBOX and row.name.startswith(HOMES)


def may_be_home(snapshot: Snapshot, home: int) -> bool:
    """Whether it is a home, or one whose kind is damaged."""
    return snapshot.name(home).startswith(HOMES)


def may_be_feed(snapshot: Snapshot, feed: int) -> bool:
    """Whether it is a feed, or one that has lost something."""
    return snapshot.name(feed).startswith(FEEDS) or snapshot.feed(feed) is not None


def _id(value: bytes) -> int:
    return int.from_bytes(value, "big")
