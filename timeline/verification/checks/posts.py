"""Posts that name others: which rows they must have, and whom they name. What posts are called.

Rule: this finds nothing wrong. `links` compares posts with these rows, and `names` asks what the
author of a feed is called by others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.names import FEEDS
from timeline.formats.posts import (
    QUOTE,
    REPLY,
    REPOST,
    Link,
    decode_repost,
    encode_repost,
    header_of,
    link_key,
    post_name,
    repost_key,
    split_link_key,
    split_post_name,
    split_repost_key,
)
from timeline.formats.segments import StoredEntry
from timeline.verification.snapshot.snapshot import Snapshot
from timeline.verification.snapshot.walk import Pair

LINKS: Final = (REPLY, QUOTE, REPOST)

_MOST_ASKED: Final = 100  # posts that name others, of one family, before a name counts as unknown

Named = tuple[bytes, bytes]  # the family of the row that a post must have, and the name in it


def named(payload: bytes) -> tuple[Named, ...]:
    """What a post names. Raises `CorruptError`, or `ValueError`."""
    header = header_of(payload)
    found = []
    if header.reply:
        found.append((REPLY, header.reply))
    if header.repost:
        found.append((REPOST if header.plain else QUOTE, header.repost))
    return tuple(found)


def row_of(family: bytes, link: Link) -> Pair:
    if family == REPOST:
        return repost_key(link.feed, link.seq, link.by), encode_repost(link.by_seq)
    return link_key(family, link), b""


def link_of(key: bytes, value: bytes) -> Link:
    """The link of a row; that of a repost does not say its commit. Raises `CorruptError`."""
    if key[:2] == REPOST:
        feed, seq, by = split_repost_key(key)
        return Link(feed, seq, 0, 0, by, decode_repost(value))
    if value:
        raise CorruptError("the row of a reply or a quote is damaged: it holds more than a key")
    return split_link_key(key)


def entry_of(snapshot: Snapshot, link: Link) -> StoredEntry | None:
    """The post that names another; None where it is not there. Raises `CorruptError`."""
    posts = snapshot.timeline(link.by)
    if posts is None:
        return None
    ranges = snapshot.timelines.ranges
    found = ranges.stored(posts, link.by_seq, link.by_seq, 1, reverse=False)
    return found[0] if found else None


def post_called(snapshot: Snapshot, feed: int, seq: int) -> str:
    """A post as people call it."""
    name = snapshot.name(feed)
    if not name.startswith(FEEDS):
        return f"post {seq} of feed {feed}"
    return shown(post_name(name.removeprefix(FEEDS), seq))


def where(snapshot: Snapshot, key: bytes) -> tuple[bytes, int]:
    """Timeline and number of the post that a row is of; nothing where it is of none."""
    name = snapshot.name(int.from_bytes(key[2:10], "big"))
    return (name, int.from_bytes(key[10:18], "big")) if name.startswith(FEEDS) else (b"", 0)


def called_by_others(snapshot: Snapshot, feed: int) -> bytes:
    """Whose feed it is, by the posts that name one of its posts; nothing where none says so."""
    for family in LINKS:
        for key, value in islice(snapshot.scan(family + keys.number(feed)), _MOST_ASKED):
            with suppress(CorruptError, ValueError):
                for name in _names(snapshot, link_of(key, value), family):
                    return name
    return b""


def _names(snapshot: Snapshot, link: Link, family: bytes) -> Iterator[bytes]:
    entry = entry_of(snapshot, link)
    for each, name in () if entry is None else named(entry[3]):
        split = split_post_name(name)
        if each == family and split is not None and split[1] == link.seq:
            yield split[0]
