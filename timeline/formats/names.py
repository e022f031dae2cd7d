"""How the names of timelines begin that the store makes for conversations and users.

Rule: conversation `c` is the timeline `@conv:c` (its messages) and `@event:c` (what happened
besides them), user `u` is the in-box `@user:u`. No other names begin with `@`.
"""

from __future__ import annotations

from typing import Final

CONVERSATIONS: Final = b"@conv:"
EVENTS: Final = b"@event:"
USERS: Final = b"@user:"
