"""Unseen: how much is new to a user, in their home and among their notes.

Responsibility: remember up to where a user has seen each, and count what is above.

Rule: a user says what they have seen by a position in the order of commits, as a page has it. It
never goes back. What is counted is what a page would show: nothing that is hidden, gone or their
own. Counting ends at `unseen_limit`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.devices.cursors import cursors_of
from timeline.errors import UsageError
from timeline.fanout import notify
from timeline.feeds.access import check_known, find_or_create_home
from timeline.feeds.home import COST_OF_POST, open_home
from timeline.feeds.notes import Notes, seen_by
from timeline.feeds.service import Feeds
from timeline.feeds.sight import Sight
from timeline.formats.actions import SEEN
from timeline.formats.notes import encode_seen, seen_key
from timeline.pullback import Place

_LOOKS: Final = 4  # at what may not be shown, for each that is counted, and
_LEAST_LOOKS: Final = 512  # at least


class Unseen(NamedTuple):
    """How many posts and notes a user has not seen: as many, or more if it is `unseen_limit`."""

    posts: int
    notes: int


def count_unseen(feeds: Feeds, user: bytes) -> Unseen:
    """Raises `NotFoundError`, `UsageError`."""
    view, most = feeds.view, feeds.options.unseen_limit
    notes = Notes(view, Sight(view, user), names=1)
    seen = notes.seen
    top = Place(view.log.applied + 1, 0)
    budget = COST_OF_POST * (_LEAST_LOOKS + _LOOKS * most)
    posts = found = 0
    ahead = open_home(feeds, user, top)
    while posts < most and budget > 0:
        look = ahead.take()
        if look is None or look.thing.lsn <= seen.posts:
            break
        budget -= look.cost
        post = look.post
        if post is not None and post.author != user:
            posts += not ahead.repeats(look, feeds.options.repost_window)
    for thing, note in notes.below(top):
        looked = notes.looked > _LEAST_LOOKS + _LOOKS * most
        if found == most or looked or thing.lsn <= seen.notes:
            break
        found += note is not None
    return Unseen(posts, found)


def see(draft: Draft, feeds: Feeds, user: bytes, position: bytes, *, notes: bool) -> None:
    """A user has seen their home up to a position, or their notes. Raises `NotFoundError`,
    `UsageError`.
    """
    check_known(draft, user)
    reached = cursors_of(feeds.view).decode(position, feeds.view.log.applied)
    if reached is None:
        raise UsageError(
            "what was seen is a position: that of a page of the home or of the notes of this store"
        )
    lsn = reached.lsn
    home = find_or_create_home(draft, user)
    before = seen_by(draft, user)
    if notes:
        after = before._replace(notes=max(lsn, before.notes))
    else:
        after = before._replace(posts=max(lsn, before.posts))
    if after != before:
        draft.put(seen_key(home.id), encode_seen(after))
        notify(draft, [home.id], home, 0, SEEN)
