"""How the names of timelines begin that the store makes for conversations, users and feeds.

Rule: conversation `c` is the timeline `@conv:c` (its messages) and `@event:c` (what happened
besides them), user `u` is the in-box `@user:u`. What user `u` publishes lies in `@feed:u`, and what
happened to it in `@feedevent:u`; their home, where they read others, is the in-box `@home:u`, and
what others did to them or their posts lies in the in-box `@note:u`. No other names begin with `@`.
"""

from __future__ import annotations

from typing import Final

CONVERSATIONS: Final = b"@conv:"
EVENTS: Final = b"@event:"
USERS: Final = b"@user:"
FEEDS: Final = b"@feed:"
FEED_EVENTS: Final = b"@feedevent:"
HOMES: Final = b"@home:"
NOTES: Final = b"@note:"

INBOXES: Final = (USERS, HOMES, NOTES)  # whose timelines hold references
