"""The conversation list, a page at a time: pinned first, then by the newest message.

Rule: derived from what each conversation holds when somebody asks. A token is a place in that
order, not in a copy of it. So a conversation that moves up while a user pages does not appear on a
later page: it comes by sync. The first page gives the position from which to sync.
"""

from __future__ import annotations

import re
from typing import Final

from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.formats.conversations import MUTED
from timeline.messaging.access.access import enter_as_user, find_user
from timeline.messaging.lists.cache import ListCache
from timeline.messaging.lists.summaries import Summaries
from timeline.messaging.lists.userlist import Overview, SortKey, UserList

_PAGE_BYTES: Final = 4 << 20  # after which a page ends
_TOKEN: Final = re.compile(rb"([01])-([0-9]{1,20})-([0-9]{1,20})")


def conversations(
    view: View, lists: ListCache, user: bytes, after: bytes | None, count: int
) -> tuple[list[Overview], bytes]:
    """A page of a user's list, and the token of the next; empty at the end."""
    own = lists.of(view, find_user(view, user).id)
    items = own.after(_parse(after), count + 1)
    page: list[Overview] = []
    size = 0
    for item in items[:count]:
        overview = own.describe(view, item)
        page.append(overview)
        size += overview.size + item.summary.meta_size
        if size >= _PAGE_BYTES:
            break
    more = len(items) > len(page)
    return page, _token(items[len(page) - 1].sort_key) if more else b""


def conversation(view: View, user: bytes, name: bytes) -> Overview:
    """One conversation as a user's list shows it, also when it is off the list. Raises
    `NoPermissionError`.
    """
    found, inbox, _ = enter_as_user(view, name, user)
    own = UserList(view, inbox.id, Summaries(), only=found.id)
    return own.describe(view, own.items[0])


def _token(key: SortKey | None) -> bytes:
    assert key is not None
    return b"%d-%d-%d" % key


def _parse(after: bytes | None) -> SortKey | None:
    if not after:
        return None
    match = _TOKEN.fullmatch(after)
    if match is None:
        raise UsageError("the token is the cursor of the page before")
    return SortKey(*map(int, match.groups()))


def unread_of(view: View, lists: ListCache, user: bytes) -> int:
    """Unread messages of all conversations on the list, without the muted ones.
    Raises `NotFoundError`.
    """
    own = lists.of(view, find_user(view, user).id)
    counted = [item for item in own.after(None) if not item.member.flags & MUTED]
    return sum([own.unread(view, item).messages for item in counted])
