"""Blocking: neither of two users sees the other any more, wherever.

Rule: a block ends what the two have with each other: follows and requests, both ways. It is written
on both sides in the same commit, so it holds at the very next read of either. To unblock brings no
follow back.
"""

from __future__ import annotations

from collections.abc import Sequence

from timeline.commit.draft import Draft
from timeline.errors import UsageError
from timeline.fanout import notify
from timeline.feeds.access import (
    check_known,
    find_feed,
    find_or_create_feed,
    find_or_create_home,
    tie_of,
)
from timeline.feeds.following import MOST_SWITCHES, check_users, leave
from timeline.feeds.ties import bar, be_barred, unbar
from timeline.formats import actions
from timeline.formats.feeds import BLOCKS
from timeline.formats.names import HOMES
from timeline.options import Options


def block(draft: Draft, user: bytes, others: Sequence[bytes], options: Options) -> int:
    """Block users, at most 100; how many were not blocked before. Raises `NotFoundError` for one
    who is nobody.
    """
    wanted = check_users(user, others)
    for other in wanted:
        if other == user:
            raise UsageError("nobody can block themselves")
        check_known(draft, other)
    blocked = switched = 0
    for other in wanted:
        home, feed = find_or_create_home(draft, user), find_or_create_feed(draft, other)
        if tie_of(draft, home.id, feed.id).flags & BLOCKS:
            continue
        others_home, own_feed = find_or_create_home(draft, other), find_or_create_feed(draft, user)
        for reader, author in ((home, feed), (others_home, own_feed)):
            may_switch = switched < MOST_SWITCHES
            switched += leave(draft, reader, author, options, may_switch=may_switch).switched
        bar(draft, home.id, feed.id)
        notify(draft, [home.id], feed.posts, 0, actions.BLOCK)
        # Whoever is blocked drops what they hold, whether they followed or not.
        notify(draft, [others_home.id], own_feed.posts, 0, actions.UNFOLLOW)
        be_barred(draft, others_home.id, own_feed.id, blocked=True)
        blocked += 1
    return blocked


def unblock(draft: Draft, user: bytes, others: Sequence[bytes]) -> int:
    """Block users no longer, at most 100; how many were blocked."""
    wanted = check_users(user, others)
    home = draft.find(HOMES + user)
    unblocked = 0
    for other in wanted:
        feed = find_feed(draft, other)
        if home is None or feed is None or not unbar(draft, home.id, feed.id):
            continue
        notify(draft, [home.id], feed.posts, 0, actions.BLOCK)
        # A block made all four.
        others_home, own_feed = find_or_create_home(draft, other), find_or_create_feed(draft, user)
        be_barred(draft, others_home.id, own_feed.id, blocked=False)
        notify(draft, [others_home.id], own_feed.posts, 0, actions.SET)
        unblocked += 1
    return unblocked
