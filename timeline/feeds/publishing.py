"""Publishing: a post is stored once, and reaches whoever follows its author.

Rule: a post is one commit with everything it means: the entry, one delivery to all followers (none
in a read-diffused feed, where they pull it), the key. Nothing is written for each follower, so a
post costs the same whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.errors import TooLargeError, UsageError
from timeline.fanout import push, stamp
from timeline.feeds.access import find_or_create_feed
from timeline.fields import check_own_fields
from timeline.formats.conversations import KeyRow
from timeline.formats.feeds import POST
from timeline.idempotency import Keys, digest_of
from timeline.identity import check_user
from timeline.options import Options

_STORE_FIELDS: Final = 8  # that a post may have, at most
_ANYBODY: Final = 0  # in place of the sender in a key: a feed has one author


class Published(NamedTuple):
    """What became of a post: its number and time, `stored` or `duplicate`."""

    seq: int
    time: int
    status: str


def publish(
    draft: Draft,
    author: bytes,
    items: Sequence[bytes],
    *,
    keys: Keys,
    options: Options,
    key: bytes | None = None,
) -> Published:
    """Store a post and deliver it. Raises `UsageError`, `TooLargeError`, `ConflictError`."""
    check_user(author)
    _check_fields(items, options.entry_fields - _STORE_FIELDS)
    feed = find_or_create_feed(draft, author)
    digest = b""
    if key is not None:
        digest = digest_of((items,))
        before = keys.find(draft, feed.id, _ANYBODY, key, digest)
        if before is not None:
            return Published(before.seq, before.time, "duplicate")
    stamped = [b"@time", b"%d" % draft.time]
    if key is not None:
        stamped += (b"@key", key)
    # In both ways of diffusion, since who follows later pulls it in any case.
    stamped += stamp(draft)
    seq = draft.append(feed.posts, [*stamped, *items])
    if not feed.pulled:
        push(draft, feed.id, feed.posts, seq, POST)
    if key is not None:
        keys.keep(draft, feed.id, _ANYBODY, key, KeyRow(seq, draft.time, digest))
    return Published(seq, draft.time, "stored")


def _check_fields(items: Sequence[bytes], most: int) -> None:
    if not items or len(items) & 1:
        raise UsageError("a post is one or more pairs of field and value")
    if len(items) > 2 * most:
        raise TooLargeError(f"a post has at most {most} fields of its own")
    check_own_fields(items)
