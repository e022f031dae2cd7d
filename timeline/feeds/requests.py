"""Requests: who asked to follow a protected author, and what the author says to it."""

from __future__ import annotations

from collections.abc import Sequence

from timeline.commit.draft import Draft
from timeline.errors import NotFoundError, shown
from timeline.fanout import notify
from timeline.feeds.access import find_feed, follow_of
from timeline.feeds.following import MOST_SWITCHES, begin, check_users, leave
from timeline.feeds.ties import withdraw
from timeline.formats import actions
from timeline.formats.names import HOMES
from timeline.identity import check_user
from timeline.options import Options


def answer(draft: Draft, author: bytes, user: bytes, options: Options, *, accept: bool) -> None:
    """Answer a request. To accept it again does nothing. Raises `NotFoundError` when there is none,
    `TooLargeError` when the user follows as many as they may.
    """
    feed, home = find_feed(draft, check_user(author)), draft.find(HOMES + check_user(user))
    if feed is not None and home is not None:
        if withdraw(draft, home.id, feed):
            if accept:
                begin(draft, home, feed, options, may_switch=True)
            else:
                notify(draft, [home.id], feed.posts, 0, actions.REQUEST)
            return
        if accept and follow_of(draft, home.id, feed.id) is not None:
            return
    raise NotFoundError(f"{shown(user)} has not asked to follow {shown(author)}")


def remove(draft: Draft, author: bytes, followers: Sequence[bytes], options: Options) -> int:
    """Have users follow an author no longer, at most 100; how many did."""
    wanted = check_users(author, followers)
    feed = find_feed(draft, author)
    removed = switched = 0
    for user in wanted:
        home = draft.find(HOMES + user)
        if feed is None or home is None or follow_of(draft, home.id, feed.id) is None:
            continue
        may_switch = switched < MOST_SWITCHES
        switched += leave(draft, home, feed, options, may_switch=may_switch).switched
        removed += 1
    return removed
