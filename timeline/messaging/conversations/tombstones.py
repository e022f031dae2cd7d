"""Tombstones: the names of deleted conversations, for devices that have yet to hear of it.

Rule: a commit that tells somebody of a deletion keeps the name under its own LSN, for as long as a
device may be away (`device_idle_ms`). Later the name is removed, which moves the floor of the
in-boxes: a cursor below that floor is answered with `resync`, not with a gap.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.formats.conversations import (
    FLOOR,
    GRAVE,
    GraveRow,
    between,
    decode_grave,
    encode_grave,
    grave_key,
    split_grave_key,
)
from timeline.formats.keys import number, split_number
from timeline.messaging.access.access import Conversation

_SWEPT_TOMBSTONES: Final = 256  # that one commit removes


def bury(draft: Draft, conversation: Conversation) -> None:
    """Keep the name of a conversation: this commit tells somebody that it is deleted."""
    draft.put(
        grave_key(draft.lsn, conversation.id), encode_grave(GraveRow(draft.time, conversation.name))
    )


def name_of(view: View, lsn: int, conversation: int) -> bytes | None:
    """The name of a conversation, where commit `lsn` told somebody that it is deleted."""
    value = view.get(grave_key(lsn, conversation))
    return None if value is None else decode_grave(value).name


def floor(view: View) -> int:
    """The LSN below which cursors are answered with `resync`."""
    value = view.get(FLOOR)
    return 0 if value is None else split_number(value)


def sweep(draft: Draft, kept_ms: int) -> bool:
    """Remove some tombstones older than `kept_ms`; whether there were any."""
    swept = 0
    for key, value in list(islice(draft.scan(*between(GRAVE)), _SWEPT_TOMBSTONES)):
        lsn = split_grave_key(key)[0]
        if draft.time - draft.clock.by_order(lsn, decode_grave(value).time) <= kept_ms:
            break
        draft.remove(key)
        swept = lsn
    if swept:
        draft.put(FLOOR, number(swept))
    return bool(swept)
