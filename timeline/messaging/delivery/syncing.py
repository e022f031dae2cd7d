"""Sync: what happened for a user after a position, a page at a time.

Responsibility: merge the user's in-box with the conversations that they pull. Resolve what the
references mean now. Leave out what is not theirs to see. Say where the next page begins.

Rule: updates come in the order of commits, none missing and none twice, whether each came by write
or by read diffusion, and however often that changed.

A position from which reading cannot go on is answered with `resync`, never with a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.devices.cursors import Cursors, cursors_of
from timeline.devices.devices import begin_of
from timeline.devices.pages import PAGE_BYTES, Resolved, collapse, read_page
from timeline.devices.updates import Update, Updates
from timeline.engine.engine import Engine
from timeline.engine.view import Applied
from timeline.fanout import Arrivals, Outlet, Position, Pull
from timeline.form import interpreted
from timeline.formats.conversations import (
    CLEAR,
    DELETE,
    EDIT,
    MESSAGE,
    PULLED,
    READ,
    RECALL,
    RECEIPT,
    SET,
    MemberRow,
    between,
    second_id,
)
from timeline.formats.entries import encode_entry
from timeline.formats.keys import number
from timeline.formats.names import CONVERSATIONS
from timeline.formats.numbers import Lsn, TimelineId
from timeline.lsm.timeline import Timeline
from timeline.messaging.access.access import (
    Conversation,
    find_user,
    is_current,
    load_conversation,
    member_of,
)
from timeline.messaging.access.entries import OF_MEMBERSHIP, split_event
from timeline.messaging.access.names import user_of
from timeline.messaging.access.visibility import Visibility
from timeline.messaging.conversations import tombstones
from timeline.messaging.conversations.userstate import settings_of
from timeline.messaging.delivery.events import event_update
from timeline.options import Options

_NEAR_NUMBERS: Final = 8  # numbers between two wanted ones that are read along


# The conversations that a user pulls, or did, and what they have of each.
Pulled = list[tuple[Conversation, MemberRow]]


class Page(NamedTuple):
    """`entries` in order, the `cursor` after them, and whether there is `more` now. With `resync`
    the device lists the conversations and starts over.
    """

    entries: Updates
    cursor: bytes
    more: bool
    resync: bool

    @property
    def found(self) -> bool:
        """Whether it brings anything. If it does, one who waits need wait no longer."""
        return len(self.entries) > 0 or self.more or self.resync


@interpreted  # tests replace its methods; the work is done by `Pull` and `_Resolver`
class Reader:
    """Reads of one store's in-boxes. The caller holds the engine's lock."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._view = engine.view

    @property
    def cursors(self) -> Cursors:
        return cursors_of(self._engine.view)

    @property
    def now(self) -> Position:
        """The position after everything that readers see."""
        return Position(Lsn(self._engine.applied), 0)

    def floor(self, inbox: int) -> Position:
        """The lowest position after which an in-box is whole."""
        return Position(self._engine.view.inboxes.floor_of(inbox), 0)

    def begin(self, user: bytes, device: bytes, after: bytes | None) -> tuple[int, Position | None]:
        """(in-box, position from which reading goes on); without a position: `resync`."""
        inbox = find_user(self._view, user).id
        return inbox, self._begin(inbox, self._pulled(inbox), device, after)

    def _begin(
        self, inbox: int, pulled: Pulled, device: bytes, after: bytes | None
    ) -> Position | None:
        position = begin_of(self._view, inbox, device, after, self._options)
        if position is not None and (
            position < self.floor(inbox) or position.lsn < self._forgotten(pulled)
        ):
            return None
        return position

    def sync(self, user: bytes, device: bytes, after: bytes | None, count: int) -> Page:
        """The next page for a device. Raises `NotFoundError`, `UsageError`."""
        inbox = find_user(self._view, user).id
        pulled = self._pulled(inbox)
        position = self._begin(inbox, pulled, device, after)
        if position is None:
            return Page(Updates(), self.cursors.encode(self.now), more=False, resync=True)
        entries, position, more = self._page(inbox, pulled, position, count, PAGE_BYTES)
        return Page(entries, self.cursors.encode(position), more, resync=False)

    def page(
        self, inbox: int, after: Position, count: int, most: int = PAGE_BYTES
    ) -> tuple[Updates, Position, bool]:
        """(entries, position after them, whether there is more). There are at most `count`. The
        page ends with the one that brings it to `most` bytes.
        """
        return self._page(inbox, self._pulled(inbox), after, count, most)

    def _page(
        self, inbox: int, pulled: Pulled, after: Position, count: int, most: int
    ) -> tuple[Updates, Position, bool]:
        outlets = self._outlets(pulled, after)
        pull = Pull(self._view, self._engine.view.inboxes, [inbox], after, outlets, count)
        found = read_page(pull, _Resolver(self._view, inbox), count, most, self.now)
        collapse(found.updates, (EDIT,))
        return found

    # --- read diffusion -----------------------------------------------------------------------

    def _pulled(self, inbox: int) -> Pulled:
        found = []
        for key, _ in self._view.scan(*between(PULLED + number(inbox))):
            conversation = load_conversation(self._view, second_id(key))
            member = None if conversation is None else member_of(self._view, inbox, conversation.id)
            if conversation is not None and member is not None:
                found.append((conversation, member))
        return found

    def _outlets(self, pulled: Pulled, after: Position) -> list[Outlet]:
        """The stretches of conversations that the user pulls and in which anything is new."""
        outlets: list[Outlet] = []
        for conversation, member in pulled:
            for part in conversation.row.pulled:
                for span in member.spans:
                    if part.ended <= after.lsn or span.ended <= after.lsn:
                        continue
                    outlets += self._new_of(
                        conversation.messages, part.first, part.last, span.first, span.last, after
                    )
                    outlets += self._new_of(
                        conversation.events,
                        part.first_event,
                        part.last_event,
                        span.first_event,
                        span.last_event,
                        after,
                    )
        return outlets

    def _new_of(
        self, timeline: Timeline, first: int, last: int, low: int, high: int, after: Position
    ) -> list[Outlet]:
        first, last = max(first, low), min(last, high, self._view.extent(timeline).head)
        if first > last:
            return []
        newest = next(self._view.stored(timeline, first, last, reverse=True), None)
        if newest is None or newest[1] <= after.lsn:
            return []
        return [Outlet(timeline, first, last)]

    def _forgotten(self, pulled: Pulled) -> int:
        """The LSN below which nobody knows any more what happened for the user."""
        found = [tombstones.floor(self._view)]
        for conversation, member in pulled:
            found.append(conversation.row.forgotten)
            if member.spans[0].forgotten:
                found.append(member.spans[0].ended)
        return max(found)


# A conversation, what the user has of it, what they see of it, and its name.
_Seen = tuple[Conversation, MemberRow, Visibility, bytes]


class _Resolver:
    """Turns arrivals into updates. What one page needs of a conversation is read once."""

    def __init__(self, view: Applied, inbox: int) -> None:
        self._view = view
        self._inbox = inbox
        self._known: dict[int, _Seen | None] = {}

    def resolve(self, arrivals: Arrivals) -> Resolved:
        """What they mean, in their order, timeline by timeline. Rows without a payload are of what
        is gone or not shown, and fall out in the end.
        """
        found = Updates()
        found.kinds, found.seqs = list(arrivals.kinds), list(arrivals.seqs)
        found.sources, found.payloads = [b""] * len(found), [b""] * len(found)
        found.reached, found.passed = list(arrivals.reached), list(arrivals.passed)
        places: dict[TimelineId, list[int]] = {}
        for at, timeline_id in enumerate(arrivals.timelines):
            if timeline_id in places:
                places[timeline_id].append(at)
            else:
                places[timeline_id] = [at]
        for timeline_id, rows in places.items():
            seen = self._known.get(timeline_id) or self._look_up(timeline_id)
            if seen is None:
                self._deleted(arrivals, timeline_id, rows, found)
            elif timeline_id == seen[0].id:
                self._messages(seen, rows, found)
            else:
                self._events(seen, timeline_id, rows, found)
        if not all(found.payloads):
            found.select(found.payloads)
        return Resolved(found, len(arrivals.seqs))

    def _look_up(self, timeline_id: int) -> _Seen | None:
        found: _Seen | None = None
        timeline = self._view.load(timeline_id)
        if timeline is not None:
            messages: Timeline | None = timeline
            if not timeline.name.startswith(CONVERSATIONS):
                name = CONVERSATIONS + timeline.name.partition(b":")[2]
                messages = self._view.find(name)
            conversation = None if messages is None else load_conversation(self._view, messages.id)
            if conversation is not None:
                member = member_of(self._view, self._inbox, conversation.id)
                if member is not None:
                    visibility = Visibility(self._view, conversation, self._inbox, member)
                    found = conversation, member, visibility, conversation.name
        self._known[timeline_id] = found
        return found

    def _messages(self, seen: _Seen, rows: Sequence[int], found: Updates) -> None:
        """Rows of the messages of a conversation, and of what is the user's own of it."""
        conversation, member, visibility, name = seen
        kinds, seqs, names, payloads = found.kinds, found.seqs, found.sources, found.payloads
        wanted = [seqs[at] for at in rows if seqs[at] and not _is_own(kinds[at])]
        entries = self._read(conversation.messages, wanted)
        shown = bool(wanted) and visibility.shows_all(min(wanted), max(wanted))
        for at in rows:
            kind, seq = kinds[at], seqs[at]
            names[at] = name
            if _is_own(kind):
                found.put(at, self._own(conversation, member, kind, seq, found.position(at)))
            elif seq == 0:  # joined or left with many others
                payloads[at] = self._plain()
            elif shown or visibility.shows(seq):
                payloads[at] = entries.get(seq, b"")
                kinds[at] = kind or MESSAGE

    def _events(self, seen: _Seen, timeline_id: int, rows: Sequence[int], found: Updates) -> None:
        """Rows of the events of a conversation. Who left hears of none after that, also where they
        came back and left again in one commit, which brought them what they had missed.
        """
        conversation, member, visibility, _ = seen
        last = member.spans[-1].last_event
        timeline = self._view.load(timeline_id)
        entries = {} if timeline is None else self._read(timeline, [found.seqs[at] for at in rows])
        for at in rows:
            payload = entries.get(found.seqs[at])
            if payload and found.seqs[at] <= last:
                position = found.position(at)
                update = self._event(
                    conversation, member, visibility, found.kinds[at], position, payload
                )
                if update is not None:
                    found.put(at, update)

    def _read(self, timeline: Timeline, wanted: list[int]) -> dict[int, bytes]:
        """The entries with the numbers `wanted`, and some between them, in one pass."""
        found: dict[int, bytes] = {}
        if not wanted:
            return found
        wanted.sort()
        start = stop = wanted[0]
        for seq in wanted:
            if seq - stop > _NEAR_NUMBERS:
                found.update(self._view.payloads(timeline, start, stop))
                start = seq
            stop = seq
        found.update(self._view.payloads(timeline, start, stop))
        return found

    def _event(
        self,
        conversation: Conversation,
        member: MemberRow,
        visibility: Visibility,
        pushed: int,
        position: Position,
        payload: bytes,
    ) -> Update | None:
        if not pushed:  # pulled, not delivered: events of membership reached those concerned
            kind, seq, _ = split_event(payload)
            if kind in OF_MEMBERSHIP:
                return None
            if kind in (EDIT, RECALL) and not visibility.shows(seq):
                return None
        update = event_update(self._view, conversation, member, position, payload)
        if update is not None and update.kind_number == CLEAR and is_current(member):
            first = self._view.extent(conversation.messages).first
            if update.seq + 1 < first:  # retention went on, and a later event says so
                return None
        return update

    def _own(
        self,
        conversation: Conversation,
        member: MemberRow,
        kind: int,
        seq: int,
        position: Position,
    ) -> Update:
        fields: list[bytes] = []
        if kind == SET:
            head = self._view.extent(conversation.messages).head
            fields = settings_of(self._view, self._inbox, conversation.id, member, head)
        return Update(kind, conversation.name, seq, encode_entry(seq, fields), position)

    def _plain(self) -> bytes:
        me = self._view.load(self._inbox)
        return encode_entry(0, [] if me is None else [b"@user", user_of(me.name)])

    def _deleted(
        self, arrivals: Arrivals, timeline_id: int, rows: Sequence[int], found: Updates
    ) -> None:
        """Rows of a conversation that is not there, or not the user's."""
        for at in rows:
            if found.kinds[at] == DELETE:
                name = tombstones.name_of(self._view, arrivals.lsns[at], timeline_id)
                if name is not None:
                    entry = encode_entry(0, [])
                    found.put(at, Update(DELETE, name, 0, entry, found.position(at)))


def _is_own(kind: int) -> bool:
    """Whether it is of what is the user's own of a conversation, which has no entry there."""
    return READ <= kind <= RECEIPT  # as are HIDE, CLEAR and SET between
