"""Links: what posts are to one another, as the posts that are named know of it.

Responsibility: when a reply, a quote or a repost is published, write the row of it and count it;
when it is deleted, take both back.

Rule: a row and its count change in one commit, so a count is always the number of rows. What is
named need not be there any more. The target is never a plain repost: naming one names what that
reposts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.fanout import ordinal_of
from timeline.feeds.access import Feed, find_feed
from timeline.feeds.posts import Post
from timeline.feeds.sight import Sight
from timeline.formats.posts import (
    NO_COUNTS,
    QUOTE,
    REPLY,
    Counts,
    Link,
    counts_key,
    decode_counts,
    decode_repost,
    encode_counts,
    encode_repost,
    header_of,
    link_key,
    repost_key,
    split_post_name,
)


class Place(NamedTuple):
    """Where a post is: the id of its feed, and its number."""

    feed: int
    seq: int


class Targets(NamedTuple):
    """What a post names; `plain` when it reposts and says nothing itself."""

    reply: Place | None
    repost: Place | None
    plain: bool


def find_target(sight: Sight, name: bytes) -> Post:
    """What a reply to a post, or a repost of it, is to name. Raises `UsageError`, or
    `NoPermissionError` for what its author may not see.
    """
    post = sight.expect(name)
    header = post.header
    return sight.expect(header.repost) if header.plain else post


def repost_of(view: View, place: Place, by: int) -> int | None:
    """The number of the plain repost of a post in feed `by`, if there is one."""
    value = view.get(repost_key(place.feed, place.seq, by))
    return None if value is None else decode_repost(value)


def link(draft: Draft, targets: Targets, by: Feed, ordinal: int, seq: int) -> None:
    """Post `seq` of feed `by`, thing number `ordinal` of this commit, names these."""
    for place, key, change in _rows(targets, draft.lsn, ordinal, by.id, seq):
        draft.put(key, encode_repost(seq) if targets.plain else b"")
        _count(draft, place, change, 1)


def unlink(draft: Draft, payload: bytes, by: Feed, lsn: int, seq: int) -> None:
    """Post `seq` of feed `by`, made by commit `lsn`, is being deleted."""
    header = header_of(payload)
    reply, repost = _place(draft, header.reply), _place(draft, header.repost)
    targets = Targets(reply, repost, header.plain)
    for place, key, change in _rows(targets, lsn, ordinal_of(payload), by.id, seq):
        if draft.get(key) is not None:
            draft.remove(key)
            _count(draft, place, change, -1)


def _place(draft: Draft, name: bytes) -> Place | None:
    found = split_post_name(name)
    feed = None if found is None else find_feed(draft, found[0])
    return None if found is None or feed is None else Place(feed.id, found[1])


def _rows(
    targets: Targets, lsn: int, ordinal: int, by: int, seq: int
) -> Iterator[tuple[Place, bytes, Counts]]:
    """For each post that is named: where it is, the key of the row, what there is one more of."""
    reply, repost, plain = targets
    if reply is not None:
        yield reply, link_key(REPLY, Link(*reply, lsn, ordinal, by, seq)), Counts(1, 0, 0)
    if repost is not None and plain:
        yield repost, repost_key(*repost, by), Counts(0, 1, 0)
    elif repost is not None:
        yield repost, link_key(QUOTE, Link(*repost, lsn, ordinal, by, seq)), Counts(0, 0, 1)


def _count(draft: Draft, place: Place, change: Counts, sign: int) -> None:
    before = counts_of(draft, place)
    after = before._replace(
        replies=before.replies + sign * change.replies,
        reposts=before.reposts + sign * change.reposts,
        quotes=before.quotes + sign * change.quotes,
    )
    save_counts(draft, place, after)


def counts_of(view: View, place: Place) -> Counts:
    """What others did with a post."""
    value = view.get(counts_key(*place))
    return NO_COUNTS if value is None else decode_counts(value)


def save_counts(draft: Draft, place: Place, counts: Counts) -> None:
    key = counts_key(*place)
    if counts == NO_COUNTS:
        draft.remove(key)
    else:
        draft.put(key, encode_counts(counts))
