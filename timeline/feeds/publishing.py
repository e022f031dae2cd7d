"""Publishing, and changing what was published: publish, edit, delete.

Rule: one commit stores a post and everything that belongs to it: the entry, one delivery to all
followers (none in a read-diffused feed, where they pull it), the key. Nothing is written for each
follower, so a post costs the same whatever their number.

An edit is a patch of the one entry that there is, and so is a deletion, which leaves nothing but
the number. So no home can hold a stale copy. Devices learn of both in the same way as of a post.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.errors import NoPermissionError, NotFoundError, TooLargeError, UsageError, shown
from timeline.fanout import push, stamp
from timeline.feeds.access import Feed, find_feed, find_or_create_feed, find_post
from timeline.fields import check_own_fields, event_fields
from timeline.formats.conversations import KeyRow
from timeline.formats.entries import decode_items
from timeline.formats.feeds import DELETE, EDIT, KINDS, POST
from timeline.idempotency import Keys, digest_of
from timeline.identity import APPLICATION, check_actor, check_user
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
        before = keys.find(draft, feed.id, _ANYBODY, key, digest, "post")
        if before is not None:
            return Published(before.seq, before.time, "duplicate")
    stamped = [b"@time", b"%d" % draft.time]
    if key is not None:
        stamped += (b"@key", key)
    # In both ways of diffusion, since who follows later pulls it in any case.
    stamped += stamp(draft)
    seq = draft.append(feed.posts, [*stamped, *items])
    if not feed.pulled:  # right behind its entry, see `pullback.Place`
        push(draft, feed.id, feed.posts, seq, POST)
    if key is not None:
        keys.keep(draft, feed.id, _ANYBODY, key, KeyRow(seq, draft.time, digest))
    return Published(seq, draft.time, "stored")


def edit(
    draft: Draft, author: bytes, seq: int, actor: bytes, items: Sequence[bytes], options: Options
) -> None:
    """Replace the fields of a post. Raises `NotFoundError` when it is not there or was deleted,
    `NoPermissionError` unless `actor` is its author or the application.
    """
    feed = _feed_of(draft, author, actor)
    _check_fields(items, options.entry_fields - _STORE_FIELDS)
    payload = None if feed is None else find_post(draft, feed, seq)
    if feed is None or payload is None:
        raise _no_post(author, seq)
    current = decode_items(payload)
    kept: list[bytes] = []
    for field, value in zip(current[::2], current[1::2], strict=True):
        if field[:1] == b"@" and field != b"@edited":
            kept += (field, value)
    draft.replace(feed.posts, seq, [*kept, b"@edited", b"%d" % draft.time, *items])
    _tell(draft, feed, EDIT, actor, seq)


def delete(draft: Draft, author: bytes, seq: int, actor: bytes) -> None:
    """Delete a post; one that was deleted stays so. Raises `NotFoundError` for one that never was,
    `NoPermissionError` unless `actor` is its author or the application.
    """
    feed = _feed_of(draft, author, actor)
    if feed is None or not 0 < seq <= feed.head:
        raise _no_post(author, seq)
    if draft.delete(feed.posts, [seq]):
        _tell(draft, feed, DELETE, actor, seq)


def _feed_of(draft: Draft, author: bytes, actor: bytes) -> Feed | None:
    if check_actor(actor) not in (check_user(author), APPLICATION):
        raise NoPermissionError("only its author, or the application as `-`, may change a post")
    return find_feed(draft, author)


def _no_post(author: bytes, seq: int) -> NotFoundError:
    return NotFoundError(f"there is no post {shown(b'%b/%d' % (author, seq))}")


def _tell(draft: Draft, feed: Feed, kind: int, actor: bytes, seq: int) -> None:
    """Record what happened to a post, for the devices of those who may hold it."""
    fields = event_fields(KINDS[kind], seq, actor, draft.time)
    draft.append(feed.events, [*fields, *stamp(draft)])
    if not feed.pulled:
        push(draft, feed.id, feed.posts, seq, kind)


def _check_fields(items: Sequence[bytes], most: int) -> None:
    if not items or len(items) & 1:
        raise UsageError("a post is one or more pairs of field and value")
    if len(items) > 2 * most:
        raise TooLargeError(f"a post has at most {most} fields of its own")
    check_own_fields(items)
