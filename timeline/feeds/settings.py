"""Settings: what an author says of themselves, and what a reader wants to see of an author.

    about oneself     `@protected` (0 or 1), `@pin` (the number of a post, 0 for none), own fields
    about an author   `@mute`; of one who is followed `@reposts`, `@replies` and `@notify` (each 0
                      or 1)

Rule: settings take effect at the next read. An empty value is as if it was never set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import NotFoundError, TooLargeError, UsageError, shown
from timeline.fanout import notify
from timeline.feeds.access import (
    Feed,
    find_or_create_feed,
    find_or_create_home,
    find_post,
    follow_of,
)
from timeline.feeds.sight import Sight
from timeline.feeds.ties import mute
from timeline.fields import check_own_fields, merge_fields
from timeline.formats import actions
from timeline.formats.conversations import decode_settings, encode_settings
from timeline.formats.feeds import (
    NO_REPLIES,
    NO_REPOSTS,
    NOTIFY,
    PROTECTED,
    encode_follow,
    fields_key,
    follow_key,
)
from timeline.identity import check_user

_MOST_BYTES: Final = 64 * 1024  # of the fields of an author
_SWITCHES: Final = {b"": None, b"0": False, b"1": True}
# Settings about who is followed: the flag that each is kept as, and the value that sets it.
_FOLLOWED: Final = {
    b"@reposts": (NO_REPOSTS, False),
    b"@replies": (NO_REPLIES, False),
    b"@notify": (NOTIFY, True),
}


def set_fields(draft: Draft, user: bytes, author: bytes, items: Sequence[bytes]) -> None:
    """Change settings of `user` about `author`. Raises `UsageError`, `TooLargeError`,
    `NotFoundError` for an author who is nobody or a post that is not there.
    """
    if not items or len(items) & 1:
        raise UsageError("settings are one or more pairs of field and value")
    pairs = list(zip(items[::2], items[1::2], strict=True))
    if check_user(user) == check_user(author):
        _set_own(draft, user, pairs)
    else:
        _set_about(draft, user, author, pairs)


def fields_of(view: View, feed: Feed) -> dict[bytes, bytes]:
    """What an author says of themselves."""
    return decode_settings(view.get(fields_key(feed.id)))


def _set_own(draft: Draft, user: bytes, pairs: Sequence[tuple[bytes, bytes]]) -> None:
    feed = find_or_create_feed(draft, user)
    row = feed.row
    own: list[bytes] = []
    for field, value in pairs:
        if field == b"@protected":
            flags = row.flags & ~PROTECTED
            row = row._replace(flags=flags | PROTECTED if _switch(field, value) else flags)
        elif field == b"@pin":
            row = row._replace(pinned=_pinned(draft, feed, value))
        elif field[:1] == b"@":
            raise UsageError("the store's settings about oneself are @protected and @pin")
        else:
            own += (field, value)
    if row != feed.row:
        feed.row = row
        feed.save(draft)
    if own:
        _keep(draft, feed, own)
    notify(draft, [find_or_create_home(draft, user).id], feed.posts, 0, actions.SET)


def _pinned(draft: Draft, feed: Feed, value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        if value:
            raise UsageError(f"@pin is the number of a post, or 0, not {shown(value)}")
        return 0
    seq = int(value)
    if seq and find_post(draft, feed, seq) is None:
        raise NotFoundError(f"there is no post {seq} to pin")
    return seq


def _keep(draft: Draft, feed: Feed, own: Sequence[bytes]) -> None:
    check_own_fields(own)
    key = fields_key(feed.id)
    items = merge_fields(fields_of(draft, feed), own)
    if sum(map(len, items)) > _MOST_BYTES:
        raise TooLargeError(f"the fields of an author take at most {_MOST_BYTES} bytes")
    if items:
        draft.put(key, encode_settings(items))
    else:
        draft.remove(key)


def _set_about(
    draft: Draft, user: bytes, author: bytes, pairs: Sequence[tuple[bytes, bytes]]
) -> None:
    Sight(draft, user).meet(author)
    for field, value in pairs:
        if field != b"@mute" and field not in _FOLLOWED:
            raise UsageError(
                "settings about another author are @mute, @reposts, @replies and @notify; fields "
                "of one's own are set about oneself"
            )
        _switch(field, value)
    home, feed = find_or_create_home(draft, user), find_or_create_feed(draft, author)
    for field, value in pairs:
        wanted = _switch(field, value)
        if field == b"@mute":
            mute(draft, home.id, feed.id, muted=bool(wanted))
            continue
        follow = follow_of(draft, home.id, feed.id)
        if follow is None:
            raise UsageError(f"{field.decode()} is about an author who is followed")
        flag, when = _FOLLOWED[field]
        flags = follow.flags & ~flag
        if wanted is when:
            flags |= flag
        draft.put(follow_key(home.id, feed.id), encode_follow(follow._replace(flags=flags)))
    mutes = any(field == b"@mute" for field, _ in pairs)
    notify(draft, [home.id], feed.posts, 0, actions.MUTE if mutes else actions.SET)


def _switch(field: bytes, value: bytes) -> bool | None:
    """None: as if it was never set."""
    if value not in _SWITCHES:
        raise UsageError(f"{field.decode()} is 0 or 1, not {shown(value)}")
    return _SWITCHES[value]
