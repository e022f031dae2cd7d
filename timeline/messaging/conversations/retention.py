"""Retention in conversations: devices are told what it removed.

Rule: the commit that removes messages also tells the devices. One event for everybody, `clear` up
to the last message that went, is enough however many members there are. A device treats it as when
its user clears. Only the newest such event says anything, so it replaces the one before.
"""

from __future__ import annotations

from timeline.commit.draft import Draft
from timeline.fanout import push
from timeline.formats.conversations import CLEAR, DYING
from timeline.formats.names import CONVERSATIONS
from timeline.identity import APPLICATION
from timeline.lsm.timeline import Timeline
from timeline.messaging.access.access import Conversation, open_conversation
from timeline.messaging.access.entries import record_event, split_event


def tell_trimmed(draft: Draft, timeline: Timeline) -> None:
    """Tell members what this commit trims of a timeline, if it holds messages of a conversation."""
    if not timeline.name.startswith(CONVERSATIONS):
        return
    conversation = open_conversation(draft, timeline)
    if conversation.row.flags & DYING:
        return
    _replace_last(draft, conversation)
    event = record_event(draft, conversation, CLEAR, APPLICATION, draft.extent(timeline).first - 1)
    if not conversation.pulled:
        push(draft, conversation.id, conversation.events, event, CLEAR)


def _replace_last(draft: Draft, conversation: Conversation) -> None:
    """Delete the newest event if it tells of retention too. So however often retention trims, such
    events are not more than all others.
    """
    events = conversation.events
    newest = next(draft.stored(events, 1, draft.extent(events).head, reverse=True), None)
    if newest is not None and split_event(newest[3])[0] == CLEAR:
        draft.delete(events, [newest[0]])
