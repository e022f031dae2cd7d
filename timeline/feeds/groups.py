"""Groups: what others do to a post, or to an author, is told to them as one note each kind.

Responsibility: put references into the in-boxes of notes, in the commit of what is told.

Rule: a group is one row, and at least one reference to it. While it grows, another reference is put
on top at most once in `note_window_ms`; those before it are passed over by whoever reads. So a
million likes are some references. Whoever does something to their own post is not told of it.

A mention is no group: it is one reference to the post that mentions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timeline.commit.draft import Draft
from timeline.fanout import notify
from timeline.feeds.access import author_of
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

_NEWEST: Final = 20  # of those who did something, who are kept


def tell(
    draft: Draft,
    posts: Timeline,
    seq: int,
    kind: int,
    doer: Doer,
    options: Options,
    reaction: bytes = b"",
) -> None:
    """Somebody else did something of a kind to post `seq` of a feed, whose posts are `posts`; 0: to
    its author.
    """
    key = group_key(posts.id, seq, kind)
    value = draft.get(key)
    row = None if value is None else decode_group(value)
    if row is not None and row.reaction != reaction:  # nobody has that one any more
        row = None
    first, time, lsn = (draft.time, 0, 0) if row is None else row[:3]
    newest = with_doer(b"" if row is None else row.newest, doer, _NEWEST)
    if row is None or (lsn != draft.lsn and draft.time - time >= options.note_window_ms):
        time, lsn = draft.time, draft.lsn
        inbox = find_or_create_notes(draft, author_of(posts.name))
        notify(draft, [inbox.id], posts, seq, kind)
    draft.put(key, encode_group(GroupRow(first, time, lsn, reaction, newest)))


def tell_mentioned(draft: Draft, posts: Timeline, seq: int, users: Sequence[bytes]) -> None:
    """Post `seq` of a feed mentions users."""
    inboxes = [find_or_create_notes(draft, user).id for user in users]
    notify(draft, inboxes, posts, seq, MENTIONED)


def find_or_create_notes(draft: Draft, user: bytes) -> Timeline:
    name = NOTES + user
    return draft.find(name) or draft.create(name, INBOX)
