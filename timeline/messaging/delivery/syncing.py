"""Sync: what happened for a user after a position, a page at a time.

Responsibility: merge the user's in-box with the conversations that they pull. Resolve what the
references mean now. Leave out what is not theirs to see. Say where the next page begins.

Rule: updates come in the order of commits, none missing and none twice, whether each came by write
or by read diffusion, and however often that changed.

A page looks at a bounded number of references and holds a bounded number of bytes. When many
references lead to nothing any more it comes back short, with `more` set. A position from which
reading cannot go on is answered with `resync`, never with a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.engine.engine import Engine
from timeline.engine.view import Applied
from timeline.fanout import Arrival, Outlet, Position, Pull
from timeline.formats.conversations import (
    CLEAR,
    DELETE,
    EDIT,
    HIDE,
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
from timeline.formats.numbers import Lsn
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
from timeline.messaging.delivery.devices import Cursors, find_device
from timeline.messaging.delivery.updates import Update, event_update
from timeline.options import Options

_LOOKS_PER_ENTRY: Final = 4  # references looked at for each entry asked for, and
_LEAST_LOOKS: Final = 512  # references looked at for any page
_FIRST_LOOKS: Final = 64  # references resolved before it is known how large they are
_PAGE_BYTES: Final = 4 << 20  # after which a page ends
_NEAR_NUMBERS: Final = 8  # numbers between two wanted ones that are read along
_OWN: Final = frozenset((READ, HIDE, CLEAR, SET, RECEIPT))
_WITHOUT_ENTRY: Final = _OWN - {CLEAR}  # retention records an event for that


class Page(NamedTuple):
    """`entries` in order, the `cursor` after them, and whether there is `more` now. With `resync`
    the device lists the conversations and starts over.
    """

    entries: list[Update]
    cursor: bytes
    more: bool
    resync: bool

    @property
    def found(self) -> bool:
        """Whether it brings anything. If it does, one who waits need wait no longer."""
        return bool(self.entries) or self.more or self.resync


class Reader:
    """Reads of one store's in-boxes. The caller holds the engine's lock."""

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._options = options
        self._view = engine.view

    @property
    def cursors(self) -> Cursors:
        view = self._engine.view
        return Cursors(view.epoch, view.openings)

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
        applied = self._engine.applied
        if after is not None:
            position = self.cursors.decode(after, applied)
            find_device(self._view, inbox, device, self._now_ms(), self._options)
        else:
            row = find_device(self._view, inbox, device, self._now_ms(), self._options)
            known = row is not None and row.known
            position = Position(Lsn(row.lsn), row.ordinal) if row is not None and known else None
            if position is not None and position.lsn > applied:
                position = None
        if position is not None and (
            position < self.floor(inbox) or position.lsn < self._forgotten(inbox)
        ):
            position = None
        return inbox, position

    def _now_ms(self) -> int:
        return self._engine.view.now()

    def sync(self, user: bytes, device: bytes, after: bytes | None, count: int) -> Page:
        """The next page for a device. Raises `NotFoundError`, `UsageError`."""
        inbox, position = self.begin(user, device, after)
        if position is None:
            return Page([], self.cursors.encode(self.now), more=False, resync=True)
        entries, position, more = self.page(inbox, position, count)
        return Page(entries, self.cursors.encode(position), more, resync=False)

    def page(
        self, inbox: int, after: Position, count: int, most: int = _PAGE_BYTES
    ) -> tuple[list[Update], Position, bool]:
        """(entries, position after them, whether there is more). There are at most `count`. The
        page ends with the one that brings it to `most` bytes.
        """
        outlets = self._outlets(inbox, after)
        pull = Pull(self._view, self._engine.view.inboxes, inbox, after, outlets, count)
        resolver = _Resolver(self._view, inbox)
        found: list[Update] = []
        budget = max(_LEAST_LOOKS, _LOOKS_PER_ENTRY * count)
        size = looked = 0
        room = _FIRST_LOOKS
        while pull.more and len(found) < count and budget > 0 and size < most:
            arrivals = pull.take(min(count - len(found), budget, room))
            budget -= len(arrivals)
            looked += len(arrivals)
            updates = resolver.resolve(arrivals)
            for at, each in enumerate(updates, 1):
                size += len(each.payload)
                if size >= most and at < len(updates):  # the rest does not fit
                    return collapse(found + updates[:at]), each.position, True
            found += updates
            room = max(_FIRST_LOOKS, (most - size) * looked // (size or 1))
        position = pull.position if pull.more else self.now
        return collapse(found), position, pull.more

    # --- read diffusion -----------------------------------------------------------------------

    def _pulled(self, inbox: int) -> list[tuple[Conversation, MemberRow]]:
        found = []
        for key, _ in self._view.scan(*between(PULLED + number(inbox))):
            conversation = load_conversation(self._view, second_id(key))
            member = None if conversation is None else member_of(self._view, inbox, conversation.id)
            if conversation is not None and member is not None:
                found.append((conversation, member))
        return found

    def _outlets(self, inbox: int, after: Position) -> list[Outlet]:
        """The stretches of conversations that the user pulls and in which anything is new."""
        outlets: list[Outlet] = []
        for conversation, member in self._pulled(inbox):
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

    def _forgotten(self, inbox: int) -> int:
        """The LSN below which nobody knows any more what happened for the user."""
        found = [tombstones.floor(self._view)]
        for conversation, member in self._pulled(inbox):
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

    def resolve(self, arrivals: Sequence[tuple[Arrival, Position]]) -> list[Update]:
        payloads = self._read([arrival for arrival, _ in arrivals])
        found: list[Update] = []
        add = found.append
        known = self._known
        for arrival, position in arrivals:
            timeline_id = arrival.timeline_id
            seen = known[timeline_id] if timeline_id in known else self._look_up(timeline_id)
            if seen is None:
                if arrival.kind == DELETE:
                    self._deleted(arrival, position, found)
                continue
            conversation, member, visibility, name = seen
            if arrival.timeline_id != conversation.id:
                payload = arrival.payload or payloads.get((arrival.timeline_id, arrival.seq))
                if payload:
                    update = self._event(
                        conversation, member, visibility, arrival, position, payload
                    )
                    if update is not None:
                        add(update)
            elif arrival.kind in _OWN:
                add(self._own(conversation, member, arrival, position))
            elif arrival.seq == 0:  # joined or left with many others
                add(Update(arrival.kind, name, 0, self._plain(), position))
            elif visibility.shows(arrival.seq):
                payload = arrival.payload or payloads.get((arrival.timeline_id, arrival.seq))
                if payload:
                    add(Update(arrival.kind or MESSAGE, name, arrival.seq, payload, position))
        return found

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

    def _read(self, arrivals: Sequence[Arrival]) -> dict[tuple[int, int], bytes]:
        """The entries referred to, read in one pass over each timeline."""
        wanted: dict[int, list[int]] = {}
        for arrival in arrivals:
            if not arrival.payload and arrival.seq and arrival.kind not in _WITHOUT_ENTRY:
                wanted.setdefault(arrival.timeline_id, []).append(arrival.seq)
        found: dict[tuple[int, int], bytes] = {}
        for timeline_id, seqs in wanted.items():
            timeline = self._view.load(timeline_id)
            if timeline is None:
                continue
            seqs.sort()
            start = stop = seqs[0]
            for seq in (*seqs[1:], 0):
                if seq and seq - stop <= _NEAR_NUMBERS:
                    stop = seq
                    continue
                for row in self._view.stored(timeline, start, stop):
                    found[timeline_id, row[0]] = row[3]
                start = stop = seq
        return found

    def _event(
        self,
        conversation: Conversation,
        member: MemberRow,
        visibility: Visibility,
        arrival: Arrival,
        position: Position,
        payload: bytes,
    ) -> Update | None:
        if not arrival.kind:  # pulled, not delivered: events of membership reached those concerned
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
        self, conversation: Conversation, member: MemberRow, arrival: Arrival, position: Position
    ) -> Update:
        fields: list[bytes] = []
        if arrival.kind == SET:
            head = self._view.extent(conversation.messages).head
            fields = settings_of(self._view, self._inbox, conversation.id, member, head)
        return Update(
            arrival.kind,
            conversation.name,
            arrival.seq,
            encode_entry(arrival.seq, fields),
            position,
        )

    def _plain(self) -> bytes:
        me = self._view.load(self._inbox)
        return encode_entry(0, [] if me is None else [b"@user", user_of(me.name)])

    def _deleted(self, arrival: Arrival, position: Position, found: list[Update]) -> None:
        name = tombstones.name_of(self._view, arrival.lsn, arrival.timeline_id)
        if name is not None:
            found.append(Update(DELETE, name, 0, encode_entry(0, []), position))


def collapse(entries: list[Update]) -> list[Update]:
    """Of several edits of one message in a page, keep the last: all show the same state."""
    last: dict[tuple[bytes, int], int] = {}
    edits = 0
    for at, update in enumerate(entries):
        if update.kind_number == EDIT:
            edits += 1
            last[update.conversation, update.seq] = at
    if edits == len(last):
        return entries
    return [
        update
        for at, update in enumerate(entries)
        if update.kind_number != EDIT or last[update.conversation, update.seq] == at
    ]
