"""Summaries: what all lists share of each conversation, computed one time for all of them.

Rule: a summary exists as long as a list holds it. What it says is of one version of the
conversation, and is read again only after `version` has moved. What describes the conversation is
read when somebody asks, and its bytes are counted.
"""

from __future__ import annotations

from typing import Final

from timeline.engine.view import View
from timeline.formats.conversations import ConversationRow
from timeline.lsm.ranges import Extent
from timeline.messaging.access.access import open_conversation

_UNKNOWN: Final = Extent(1, 0, 0, 0, 0, 0)


class Summary:
    """A conversation as far as lists need it; `version` moves with every change of it."""

    __slots__ = (
        "conversation", "extent", "holders", "lsn", "meta", "meta_size", "row", "seen", "time",
        "version",
    )  # fmt: skip

    def __init__(self, conversation: int) -> None:
        self.conversation = conversation
        self.holders = 0  # lists that have it
        self.version = 0
        self.seen = -1  # the version that the rest was read from
        self.row: ConversationRow | None = None  # None: it was deleted
        self.extent = _UNKNOWN
        self.lsn = self.time = 0  # of the newest message
        self.meta: dict[bytes, bytes] | None = None  # None: nobody asked
        self.meta_size = 0

    def look(self, view: View) -> None:
        if self.seen == self.version:
            return
        messages = view.load(self.conversation)
        if messages is None:
            self.row = None
        else:
            self.row = open_conversation(view, messages).row
            self.extent = view.extent(messages)
            self.lsn, self.time = newest_of(view, self.conversation, self.extent.head)
        self.seen = self.version


def newest_of(view: View, conversation: int, last: int) -> tuple[int, int]:
    """(LSN, time) of the newest message numbered at most `last`; zeros when there is none."""
    messages = view.load(conversation)
    row = None if messages is None else next(view.stored(messages, 1, last, reverse=True), None)
    return (0, 0) if row is None else (row[1], row[2])


class Summaries:
    """The summaries of all lists that are kept. `size` is about what those lists take in memory."""

    def __init__(self) -> None:
        self.known: dict[int, Summary] = {}
        self.size = 0

    def hold(self, conversation: int) -> Summary:
        summary = self.known.get(conversation)
        if summary is None:
            summary = self.known[conversation] = Summary(conversation)
        summary.holders += 1
        return summary

    def release(self, summary: Summary) -> None:
        summary.holders -= 1
        if not summary.holders:
            self.forget_meta(summary)
            del self.known[summary.conversation]

    def meta(self, view: View, summary: Summary) -> dict[bytes, bytes]:
        """What describes a conversation."""
        if summary.meta is None:
            messages = view.load(summary.conversation)
            summary.meta = {} if messages is None else view.metadata(messages)
            summary.meta_size = sum(len(name) + len(value) for name, value in summary.meta.items())
            self.size += summary.meta_size
        return summary.meta

    def forget_meta(self, summary: Summary) -> None:
        """It has changed, or no list holds it any more."""
        self.size -= summary.meta_size
        summary.meta, summary.meta_size = None, 0
