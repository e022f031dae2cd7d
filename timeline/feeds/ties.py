"""Ties: what a reader has with an author besides a follow: a mute, a block, a request to follow.

Rule: one row for a reader and an author. It holds both sides of a block, so one look at it says
whether either blocks the other. Requests and blocks are listed beside it, the newest first, in the
same commit. When nothing is left, the row goes.
"""

from __future__ import annotations

from typing import Final

from timeline.commit.draft import Draft
from timeline.errors import NoPermissionError, shown
from timeline.feeds.access import Feed, change_home, home_row, nobody, tie_of
from timeline.formats.feeds import (
    BLOCK,
    BLOCKED,
    BLOCKS,
    HAS_TIES,
    MUTED,
    REQUEST,
    REQUESTED,
    TieRow,
    encode_home,
    encode_tie,
    home_key,
    listed_key,
    tie_key,
)

BARRED: Final = BLOCKS | BLOCKED  # one of the two blocks the other


def save(draft: Draft, home: int, feed: int, tie: TieRow) -> None:
    key = tie_key(home, feed)
    if not tie.flags:
        draft.remove(key)
        return
    draft.put(key, encode_tie(tie))
    row = home_row(draft, home)
    if not row.flags & HAS_TIES:
        draft.put(home_key(home), encode_home(row._replace(flags=row.flags | HAS_TIES)))


def mute(draft: Draft, home: int, feed: int, *, muted: bool) -> None:
    """Show the reader nothing of an author in their home, or all again."""
    tie = tie_of(draft, home, feed)
    kept = tie.flags & ~MUTED
    save(draft, home, feed, tie._replace(flags=kept | MUTED if muted else kept))


def check_unblocked(tie: TieRow, author: bytes) -> None:
    """Raises `NoPermissionError` when one of the two blocks the other, in the words for a user who
    does not exist if it is the author.
    """
    if tie.flags & BLOCKED:
        raise NoPermissionError(nobody(author))
    if tie.flags & BLOCKS:
        raise NoPermissionError(f"{shown(author)} is blocked: unblock them first")


# --- requests -------------------------------------------------------------------------------------


def ask(draft: Draft, home: int, feed: Feed) -> bool:
    """Ask to follow a protected feed; whether they had not yet."""
    tie = tie_of(draft, home, feed.id)
    if tie.flags & REQUESTED:
        return False
    save(draft, home, feed.id, TieRow(tie.flags | REQUESTED, draft.lsn, draft.time))
    draft.put(listed_key(REQUEST, feed.id, draft.lsn, home), b"")
    feed.row = feed.row._replace(requests=feed.row.requests + 1)
    feed.save(draft)
    return True


def withdraw(draft: Draft, home: int, feed: Feed) -> bool:
    """A request is over, whatever became of it; whether there was one."""
    tie = tie_of(draft, home, feed.id)
    if not tie.flags & REQUESTED:
        return False
    save(draft, home, feed.id, TieRow(tie.flags & ~REQUESTED, 0, 0))
    draft.remove(listed_key(REQUEST, feed.id, tie.lsn, home))
    feed.row = feed.row._replace(requests=feed.row.requests - 1)
    feed.save(draft)
    return True


# --- blocks ---------------------------------------------------------------------------------------


def bar(draft: Draft, home: int, feed: int) -> None:
    """The reader blocks the author from now on. They have no request with each other."""
    tie = tie_of(draft, home, feed)
    save(draft, home, feed, TieRow(tie.flags | BLOCKS, draft.lsn, draft.time))
    draft.put(listed_key(BLOCK, home, draft.lsn, feed), b"")
    change_home(draft, home, blocked=1)


def unbar(draft: Draft, home: int, feed: int) -> bool:
    """The reader blocks the author no longer; whether they did."""
    tie = tie_of(draft, home, feed)
    if not tie.flags & BLOCKS:
        return False
    save(draft, home, feed, TieRow(tie.flags & ~BLOCKS, 0, 0))
    draft.remove(listed_key(BLOCK, home, tie.lsn, feed))
    change_home(draft, home, blocked=-1)
    return True


def be_barred(draft: Draft, home: int, feed: int, *, blocked: bool) -> None:
    """The author blocks the reader from now on, or no longer."""
    tie = tie_of(draft, home, feed)
    kept = tie.flags & ~BLOCKED
    save(draft, home, feed, tie._replace(flags=kept | BLOCKED if blocked else kept))
