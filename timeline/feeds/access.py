"""Access: from the name of a user to their feed and to their home.

Rule: a user is known here as soon as they publish or follow, or are a user of conversations. Their
feed is made when they first publish or are followed, their home when they first follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import CorruptError, NotFoundError, shown
from timeline.formats.feeds import (
    NO_HOME,
    NO_TIE,
    PROTECTED,
    FeedRow,
    FollowRow,
    HomeRow,
    TieRow,
    decode_feed,
    decode_follow,
    decode_home,
    decode_tie,
    encode_feed,
    encode_home,
    feed_key,
    follow_key,
    home_key,
    tie_key,
)
from timeline.formats.names import FEED_EVENTS, FEEDS, HOMES, USERS
from timeline.formats.numbers import TimelineId
from timeline.formats.rows import INBOX
from timeline.formats.stretches import is_open
from timeline.identity import check_user
from timeline.lsm.timeline import Timeline


@dataclass(slots=True)
class Feed:
    """The feed of an author as one view shows it."""

    view: View
    posts: Timeline
    row: FeedRow

    @property
    def id(self) -> TimelineId:
        return self.posts.id

    @property
    def events(self) -> Timeline:
        """What happened besides posts."""
        events = self.view.load(self.row.events)
        if events is None:
            raise CorruptError(
                f"feed {shown(self.posts.name)} has lost its events: run `timeline verify`"
            )
        return events

    @property
    def heads(self) -> tuple[int, int]:
        """The numbers of the newest post and of the newest event, 0 for none."""
        return self.head, self.view.extent(self.events).head

    @property
    def head(self) -> int:
        """The number of the newest post, 0 for none."""
        return self.view.extent(self.posts).head

    @property
    def pulled(self) -> bool:
        """Whether it is read-diffused now."""
        return is_open(self.row.pulled)

    @property
    def protected(self) -> bool:
        """Whether only followers see its posts."""
        return bool(self.row.flags & PROTECTED)

    def save(self, draft: Draft) -> None:
        draft.put(feed_key(self.id), encode_feed(self.row))


def author_of(timeline_name: bytes) -> bytes:
    return timeline_name[len(FEEDS) :]


def owner_of(timeline_name: bytes) -> bytes:
    """Whose home, notes, feed or events have this name."""
    return timeline_name.partition(b":")[2]


def is_known(view: View, user: bytes) -> bool:
    return any(view.find(prefix + user) is not None for prefix in (FEEDS, HOMES, USERS))


def check_known(view: View, user: bytes) -> bytes:
    """Raises `UsageError`, or `NotFoundError` for a user nobody has heard of."""
    if not is_known(view, check_user(user)):
        raise NotFoundError(nobody(user))
    return user


def nobody(user: bytes) -> str:
    """What is said of a user who does not exist, and of one who is blocked."""
    return f"there is no user {shown(user)}: who publishes or follows becomes one"


def find_feed(view: View, author: bytes) -> Feed | None:
    """The feed of an author; None when they have neither posts nor followers."""
    posts = view.find(FEEDS + author)
    return None if posts is None else open_feed(view, posts)


def open_feed(view: View, posts: Timeline) -> Feed:
    """The feed whose posts these are."""
    value = view.get(feed_key(posts.id))
    if value is None:
        raise CorruptError(f"feed {shown(posts.name)} has lost its row: run `timeline verify`")
    return Feed(view, posts, decode_feed(value))


def find_post(view: View, feed: Feed, seq: int) -> bytes | None:
    """The present stored form of post `seq`; None when there is none."""
    row = view.entry(feed.posts, seq)
    return None if row is None else row[3]


def newest_commit(view: View, posts: Timeline) -> int:
    """The LSN of the newest post that there is; 0 for none."""
    extent = view.extent(posts)
    # Most often the last number is there, and found for a fraction of what a walk costs.
    found = view.entry(posts, extent.head) or next(
        view.stored(posts, extent.first, extent.head, reverse=True), None
    )
    return 0 if found is None else found[1]


def find_or_create_feed(draft: Draft, author: bytes) -> Feed:
    found = find_feed(draft, author)
    if found is None:
        posts = draft.create(FEEDS + author)
        events = draft.create(FEED_EVENTS + author)
        found = Feed(draft, posts, FeedRow(0, 0, 0, 0, draft.time, events.id, ()))
        found.save(draft)
    return found


def find_or_create_home(draft: Draft, user: bytes) -> Timeline:
    name = HOMES + user
    return draft.find(name) or draft.create(name, INBOX)


def home_row(view: View, home: int) -> HomeRow:
    value = view.get(home_key(home))
    return NO_HOME if value is None else decode_home(value)


def change_home(draft: Draft, home: int, *, following: int = 0, blocked: int = 0) -> None:
    """The owner of a home follows or blocks so many more."""
    row = home_row(draft, home)
    row = row._replace(following=row.following + following, blocked=row.blocked + blocked)
    draft.put(home_key(home), encode_home(row))


def follow_of(view: View, home: int, feed: int) -> FollowRow | None:
    """What a reader has of a feed; None when they do not follow it."""
    value = view.get(follow_key(home, feed))
    return None if value is None else decode_follow(value)


def tie_of(view: View, home: int, feed: int) -> TieRow:
    """What else a reader has with an author."""
    value = view.get(tie_key(home, feed))
    return NO_TIE if value is None else decode_tie(value)
