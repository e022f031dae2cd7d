"""The names of all kinds of updates that devices get, by number."""

from __future__ import annotations

from typing import Final

from timeline.formats import actions, conversations, feeds


def _names() -> tuple[str, ...]:
    named = {**feeds.KINDS, **actions.KINDS, actions.NOTE: "note"}
    named.update(enumerate(conversations.KINDS))
    return tuple([named.get(kind, "") for kind in range(max(named) + 1)])


UPDATES: Final = _names()
