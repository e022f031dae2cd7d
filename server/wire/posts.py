"""Posts as they go to a socket.

Rule: as for entries of conversations: a post is its kind, its author and a slice of what the store
holds, then what is counted of it and what the reader did with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timeline.feeds.home import HomePage
from timeline.feeds.notes import Note, NotePage
from timeline.feeds.posts import Post, References, counts_shown
from timeline.feeds.profile import PostPage
from timeline.feeds.syncing import SyncPage
from timeline.formats.posts import NO_COUNTS

from . import replies
from .entries import encode_entries, encode_map, encode_stored

_HEADER: Final = replies.array_header(6)
_NONE: Final = replies.array([])
_KINDS: Final = {kind: replies.bulk(kind.encode()) for kind in ("post", "reply", "repost")}


def encode_post(post: Post) -> bytes:
    """`[kind, author, id, [field, value, …], [count-name, n, …], [own reaction, …]]`"""
    return b"".join(
        (
            _HEADER,
            _KINDS[post.header.kind],
            replies.bulk(post.author),
            encode_stored(post.payload),
            _NONE if post.counts is NO_COUNTS else _counts(post),
            replies.array([replies.bulk(name) for name in post.own]) if post.own else _NONE,
        )
    )


def _counts(post: Post) -> bytes:
    """What there is any of."""
    parts: list[bytes] = []
    for name, number in counts_shown(post.counts).items():
        parts += (replies.bulk(name), replies.integer(number))
    return replies.array(parts)


def encode_found(posts: Sequence[Post | None], resp: int) -> bytes:
    """Posts that were asked for by name; null for what is not there."""
    nothing = replies.nil_array(resp)
    return replies.array([nothing if post is None else encode_post(post) for post in posts])


def encode_page(page: PostPage | HomePage, resp: int, position: bytes = b"") -> bytes:
    """A map of `posts`, `refs` and `cursor`, and `position` if there is one."""
    pairs = [
        (b"posts", replies.array([encode_post(post) for post in page.posts])),
        (b"refs", _references(page.refs, resp)),
        (b"cursor", replies.bulk(page.cursor)),
    ]
    if position:
        pairs.append((b"position", replies.bulk(position)))
    return encode_map(pairs, resp)


def _references(refs: References, resp: int) -> bytes:
    nothing = replies.nil_array(resp)
    pairs = [(name, nothing if post is None else encode_post(post)) for name, post in refs.items()]
    return encode_map(pairs, resp)


def encode_notes(page: NotePage, resp: int) -> bytes:
    """A map of `notes`, `refs`, `cursor` and `position`."""
    pairs = [
        (b"notes", replies.array([_note(note, resp) for note in page.notes])),
        (b"refs", _references(page.refs, resp)),
        (b"cursor", replies.bulk(page.cursor)),
        (b"position", replies.bulk(page.position)),
    ]
    return encode_map(pairs, resp)


def encode_sync(page: SyncPage, resp: int) -> bytes:
    """A map of `entries`, `refs`, `cursor`, `more` and `resync`."""
    pairs = [
        (b"entries", encode_entries(page.entries)),
        (b"refs", _references(page.refs, resp)),
        (b"cursor", replies.bulk(page.cursor)),
        (b"more", replies.integer(int(page.more))),
        (b"resync", replies.integer(int(page.resync))),
    ]
    return encode_map(pairs, resp)


def _note(note: Note, resp: int) -> bytes:
    pairs = [
        (b"kind", replies.bulk(note.kind)),
        (b"post", replies.bulk(note.post)),
        (b"count", replies.integer(note.total)),
        (b"users", replies.array([replies.bulk(user) for user in note.users])),
        (b"posts", replies.array([replies.bulk(name) for name in note.posts])),
        (b"first", replies.integer(note.first)),
        (b"time", replies.integer(note.time)),
        (b"seen", replies.integer(note.seen)),
    ]
    return encode_map(pairs, resp)
