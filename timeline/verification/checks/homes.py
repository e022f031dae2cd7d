"""Homes: whom their owners follow, and what they have of each feed.

Checked: each follow is of a home and a feed that are there, and is also among the followers of the
feed, and the other way round. It begins at a post that the feed has. How many authors a user
follows is right.

Example: bob follows ann since commit 90, and the feed of ann knows nothing of it.

A repair believes the row of a follow over followers and counts. Where there is none, it makes one
from the follower, which shows at least as much as the one before.
"""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.feeds import (
    BLOCK,
    FOLLOW,
    FOLLOWER,
    HAS_TIES,
    HOME,
    TIE,
    FollowRow,
    HomeRow,
    decode_follow,
    decode_home,
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
    """How many authors users follow."""
    for key, value in snapshot.scan(HOME):
        home = _id(key[2:])
        if len(key) != 10 or not _is_home(snapshot, home):
            yield Finding(STATE, "it is of no home", key, fix=remove(STATE, key))
            continue
        following = _following(snapshot, home)
        name = snapshot.name(home)
        try:
            row = decode_home(value)
        except CorruptError as error:
            better = encode_home(_home_again(snapshot, home))
            yield Finding(STATE, str(error), key, name, fix=put(STATE, key, better))
            continue
        if row.following != following:
            yield Finding(
                STATE,
                f"they follow {following} authors, and {row.following} is noted",
                key,
                name,
                fix=put(STATE, key, encode_home(row._replace(following=following))),
            )
    owner = 0
    for key, _ in snapshot.scan(FOLLOW):
        home = _id(key[2:10])
        if home != owner and _is_home(snapshot, home) and snapshot.get(home_key(home)) is None:
            following = _following(snapshot, home)
            yield Finding(
                STATE,
                f"they follow {following} authors, which is not noted",
                home_key(home),
                snapshot.name(home),
                fix=put(STATE, home_key(home), encode_home(_home_again(snapshot, home))),
            )
        owner = home


def _home_again(snapshot: Snapshot, home: int) -> HomeRow:
    """The row of a home from what else is known."""
    has_ties = snapshot.holds(TIE + keys.number(home))
    blocked = sum(1 for _ in snapshot.scan(BLOCK + keys.number(home)))
    return HomeRow(HAS_TIES if has_ties else 0, _following(snapshot, home), blocked)


def _following(snapshot: Snapshot, home: int) -> int:
    return sum(1 for _ in snapshot.scan(FOLLOW + keys.number(home)))


def check_follows(snapshot: Snapshot) -> Iterator[Finding]:
    """What readers have of feeds."""
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
        if not _may_be_home(snapshot, home) or not _may_be_feed(snapshot, feed):
            yield Finding(
                STATE,
                f"home {home} follows feed {feed}, and one of the two is not there",
                key,
                fix=remove(STATE, key),
            )
            continue
        posts = snapshot.timeline(feed)
        if posts is not None and snapshot.row(home) is not None:
            yield from _check_follow(snapshot, key, home, posts, row)


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
        if not _may_be_home(snapshot, home) or not _may_be_feed(snapshot, feed):
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


def _may_be_home(snapshot: Snapshot, home: int) -> bool:
    """Whether it is a home, or one whose kind is damaged."""
    return snapshot.name(home).startswith(HOMES)


def _may_be_feed(snapshot: Snapshot, feed: int) -> bool:
    """Whether it is a feed, or one that has lost something."""
    return snapshot.name(feed).startswith(FEEDS) or snapshot.feed(feed) is not None


def _id(value: bytes) -> int:
    return int.from_bytes(value, "big")
