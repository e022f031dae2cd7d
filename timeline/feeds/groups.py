"""Groups: what others do to a post, or to an author, is told to them as one note each kind.

Responsibility: put references into the in-boxes of notes, in the commit of what is told.

Rule: a group is one row, and the references to it. While it grows, another reference is put on top
at most once in `note_window_ms`; those before it are passed over by whoever reads. So a million
likes are some references. Whoever does something to their own post is not told of it. What somebody
does whom the author does not hear is kept in the row and puts nothing on top, so a row may have no
reference yet.

A mention is no group: it is one reference to the post that mentions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.fanout import notify
from timeline.feeds.access import author_of
from timeline.feeds.posts import Post
from timeline.feeds.sight import Sight
from timeline.formats.names import NOTES
from timeline.formats.notes import (
    MENTIONED,
    Doer,
    GroupRow,
    decode_group,
    encode_group,
    group_key,
    with_doer,
)
from timeline.formats.rows import INBOX
from timeline.lsm.timeline import Timeline
from timeline.options import Options


class Act(NamedTuple):
    """Who did something: their name, and as the group keeps them; `post` if they did it by one."""

    user: bytes
    doer: Doer
    post: Post | None = None


_NEW: Final = GroupRow(0, 0, 0, b"", b"")


def tell(
    draft: Draft,
    posts: Timeline,
    seq: int,
    kind: int,
    by: Act,
    options: Options,
    reaction: bytes = b"",
) -> bool:
    """Somebody else did something of a kind to post `seq` of a feed, whose posts are `posts`; 0: to
    its author. Returns whether that put a reference on top.
    """
    key = group_key(posts.id, seq, kind)
    value = draft.get(key)
    first, time, lsn, named, newest = _NEW if value is None else decode_group(value)
    if value is None or named != reaction:  # nobody has that reaction any more
        first, newest = time or draft.time, b""
    author = author_of(posts.name)
    # A clock that goes back does not keep a note down.
    waits = lsn > 0 and 0 <= draft.time - time < options.note_window_ms
    is_told = lsn != draft.lsn and not waits and _hears(draft, author, by)
    if is_told:
        time, lsn = draft.time, draft.lsn
        inbox = find_or_create_notes(draft, author)
        notify(draft, [inbox.id], posts, seq, kind)
    newest = with_doer(newest, by.doer)
    draft.put(key, encode_group(GroupRow(first, time, lsn, reaction, newest)))
    return is_told


def _hears(draft: Draft, author: bytes, by: Act) -> bool:
    sight = Sight(draft, author)
    return sight.hears(by.user) and (by.post is None or sight.sees(by.post))


def tell_mentioned(draft: Draft, posts: Timeline, seq: int, users: Sequence[bytes]) -> None:
    """Post `seq` of a feed mentions users."""
    inboxes = [find_or_create_notes(draft, user).id for user in users]
    notify(draft, inboxes, posts, seq, MENTIONED)


def find_or_create_notes(draft: Draft, user: bytes) -> Timeline:
    name = NOTES + user
    return draft.find(name) or draft.create(name, INBOX)
