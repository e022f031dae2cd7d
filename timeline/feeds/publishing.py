"""Publishing, and changing what was published: publish, edit, delete.

Rule: one commit stores a post and everything that belongs to it: the entry, one delivery to all
followers (none in a read-diffused feed, where they pull it), the key. Nothing is written for each
follower, so a post costs the same whatever their number.

A post may reply to another, quote it, or repost it as it is. It keeps the name of that post, and
`links` tells that post of it, in the same commit.

An edit is a patch of the one entry that there is, and so is a deletion, which leaves nothing but
the number. So no home can hold a stale copy. Devices learn of both in the same way as of a post.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.errors import NoPermissionError, NotFoundError, TooLargeError, UsageError, shown
from timeline.fanout import notify, push, stamp
from timeline.feeds.access import (
    Feed,
    author_of,
    find_feed,
    find_or_create_feed,
    find_post,
)
from timeline.feeds.frame import Frame, checked, parts_of, stored
from timeline.feeds.groups import Act, tell, tell_mentioned
from timeline.feeds.links import Place, Targets, find_target, link, repost_of, unlink
from timeline.feeds.posts import Post
from timeline.feeds.sight import Sight
from timeline.fields import check_own_fields, check_text, event_fields
from timeline.formats.conversations import KeyRow
from timeline.formats.entries import decode_items
from timeline.formats.feeds import DELETE, EDIT, KINDS, POST
from timeline.formats.names import HOMES
from timeline.formats.notes import QUOTED, REPLIED, REPOSTED, Doer
from timeline.formats.posts import NAMED, header_of, post_name
from timeline.idempotency import Keys, digest_of
from timeline.identity import APPLICATION, check_actor, check_user
from timeline.options import Options

_STORE_FIELDS: Final = 8  # that a post may have besides mentions and tags, at most
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
    frame: Frame | None = None,
) -> Published:
    """Store a post and deliver it. Without `items` it reposts another as it is, and if its author
    has done so before it is a duplicate. Raises `UsageError`, `TooLargeError`, `ConflictError`,
    `NotFoundError` for somebody mentioned who is nobody, `NoPermissionError` when the author may
    not see what it replies to or reposts.
    """
    check_user(author)
    if key is not None:
        check_text(key, "an idempotency key")
    if frame is not None:
        frame = checked(frame)
    _check_items(items, frame, options)
    feed = find_or_create_feed(draft, author)
    digest = b""
    if key is not None:
        digest = digest_of((items, *(parts_of(frame) if frame is not None else ())))
        before = keys.find(draft, feed.id, _ANYBODY, key, digest, "post")
        if before is not None:
            return Published(before.seq, before.time, "duplicate")
    reply: Post | None = None
    repost: Post | None = None
    if frame is not None:
        sight = Sight(draft, author)
        reply = find_target(sight, frame.reply) if frame.reply else None
        repost = find_target(sight, frame.repost) if frame.repost else None
        if repost is not None and not items:
            again = _reposted(draft, feed, repost)
            if again is not None:
                if key is not None:
                    row = KeyRow(again.seq, again.time, digest)
                    keys.keep(draft, feed.id, _ANYBODY, key, row)
                return again
        for user in frame.mentions:
            sight.meet(user)
        frame = frame._replace(reply=_name(reply), repost=_name(repost))
    fields = [b"@time", b"%d" % draft.time]
    if key is not None:
        fields += (b"@key", key)
    if frame is not None:
        fields += stored(frame)
    # In both ways of diffusion, since who follows later pulls it in any case.
    ordinal = draft.made
    fields += stamp(draft)
    fields += items
    seq = draft.append(feed.posts, fields)
    if not feed.pulled:  # right behind its entry, see `pullback.Place`
        push(draft, feed.id, feed.posts, seq, POST)
    if frame is not None:
        link(draft, Targets(_place(reply), _place(repost), not items), feed, ordinal, seq)
        if not frame.silent:
            named = (reply, REPLIED), (repost, QUOTED if items else REPOSTED)
            _tell_others(draft, feed, seq, named, frame.mentions, options)
    if key is not None:
        keys.keep(draft, feed.id, _ANYBODY, key, KeyRow(seq, draft.time, digest))
    return Published(seq, draft.time, "stored")


def _tell_others(
    draft: Draft,
    feed: Feed,
    seq: int,
    named: Sequence[tuple[Post | None, int]],
    mentions: Sequence[bytes],
    options: Options,
) -> None:
    """Tell those whose posts a post names of it, and those whom it mentions besides."""
    author = author_of(feed.posts.name)
    told = {author}
    others = [(post, kind) for post, kind in named if post is not None and post.author != author]
    payload = find_post(draft, feed, seq) if others else None
    if payload is not None:
        act = Act(author, Doer(feed.id, seq), Post(author, feed.id, seq, payload))
        for post, kind in others:
            posts = None if post.author in told else draft.load(post.feed)
            if posts is not None and tell(draft, posts, post.seq, kind, act, options):
                told.add(post.author)
    mentioned = [user for user in mentions if user not in told]
    if mentioned:
        tell_mentioned(draft, feed.posts, seq, mentioned)


def _check_items(items: Sequence[bytes], frame: Frame | None, options: Options) -> None:
    others = _STORE_FIELDS
    if frame is not None:
        if frame.repost and not items:
            if frame.reply or frame.mentions or frame.tags:
                raise UsageError(
                    "a repost without fields is the other post as it is: it has neither a reply "
                    "nor mentions nor tags. With fields it is a quote, which may have them"
                )
            return
        others += len(frame.mentions) + len(frame.tags)
    _check_fields(items, options.entry_fields - others)


def _place(post: Post | None) -> Place | None:
    return None if post is None else Place(post.feed, post.seq)


def _name(post: Post | None) -> bytes:
    return b"" if post is None else post.name


def _reposted(draft: Draft, feed: Feed, post: Post) -> Published | None:
    """The repost of a post that a feed has already."""
    seq = repost_of(draft, Place(post.feed, post.seq), feed.id)
    row = None if seq is None else draft.entry(feed.posts, seq)
    return None if row is None else Published(row[0], row[2], "duplicate")


# --- changing a post ------------------------------------------------------------------------------


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
    if header_of(payload).plain:
        raise UsageError(
            "a repost has no fields of its own to edit: delete it, and quote the post instead"
        )
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
    row = draft.entry(feed.posts, seq)
    if row is not None:
        draft.delete(feed.posts, [seq])
        unlink(draft, row[3], feed, row[1], seq)
        if feed.row.pinned == seq:
            feed.row = feed.row._replace(pinned=0)
            feed.save(draft)
        header = header_of(row[3])
        _tell(
            draft, feed, DELETE, actor, seq, header.mentions if header.audience == NAMED else None
        )


def _feed_of(draft: Draft, author: bytes, actor: bytes) -> Feed | None:
    if check_actor(actor) not in (check_user(author), APPLICATION):
        raise NoPermissionError("only its author, or the application as `-`, may change a post")
    return find_feed(draft, author)


def _no_post(author: bytes, seq: int) -> NotFoundError:
    return NotFoundError(f"there is no post {shown(post_name(author, seq))}")


def _tell(
    draft: Draft,
    feed: Feed,
    kind: int,
    actor: bytes,
    seq: int,
    named: Sequence[bytes] | None = None,
) -> None:
    """Record what happened to a post, for the devices of those who may hold it: followers, or those
    who are `named` alone.
    """
    fields = event_fields(KINDS[kind], seq, actor, draft.time)
    if named is not None:
        fields += (b"@for", NAMED)
        for user in named:
            fields += (b"@mentions", user)
    draft.append(feed.events, [*fields, *stamp(draft)])
    if feed.pulled:
        return
    if named is not None:
        homes = [draft.find(HOMES + user) for user in named]
        notify(draft, [home.id for home in homes if home is not None], feed.posts, seq, kind)
    else:
        push(draft, feed.id, feed.posts, seq, kind)


def _check_fields(items: Sequence[bytes], most: int) -> None:
    if not items or len(items) & 1:
        raise UsageError("a post is one or more pairs of field and value")
    if len(items) > 2 * most:
        raise TooLargeError(f"a post has at most {most} fields of its own")
    check_own_fields(items)
