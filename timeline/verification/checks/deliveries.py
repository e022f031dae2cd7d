"""Deliveries: whether in-boxes hold what members were sent.

Checked: the in-box of a member has a reference to every message that was sent while they were a
member and the conversation was write-diffused. Messages that are gone, or that lie below the floor
of the in-box, do not count.

Example: bob was in `team` when message 7 was sent, and his in-box has no reference to it.

A repair raises the floor of that in-box, so that its devices start over instead of missing a
message.
"""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.conversations import MEMBER, MESSAGE, ConversationRow, MemberRow
from timeline.formats.references import encode_floor
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import INBOXES
from timeline.verification.snapshot.findings import Finding, put
from timeline.verification.snapshot.snapshot import Snapshot

Range = tuple[int, int]  # of sequence numbers, both ends inclusive

_MOST_LOOKED_FOR = 1_000  # messages without a reference, of one member in one conversation


def check_deliveries(snapshot: Snapshot) -> Iterator[Finding]:
    owner = -1
    floor = 0
    delivered: dict[int, set[int]] = {}
    for key, _ in snapshot.scan(MEMBER):
        inbox, conversation = int.from_bytes(key[2:10], "big"), int.from_bytes(key[10:18], "big")
        member, place = snapshot.member(inbox, conversation), snapshot.conversation(conversation)
        timeline = snapshot.timeline(conversation)
        if member is None or place is None or timeline is None:
            continue  # other checks tell of it
        try:
            if inbox != owner:
                delivered, floor = _delivered(snapshot, inbox)
                owner = inbox
            there = delivered.get(conversation, set())
            missing = list(_missing(snapshot, timeline, member, place, floor, there))
        except CorruptError:
            continue
        if missing:
            more = f" (one of {len(missing)})" if len(missing) > 1 else ""
            place_key = keys.pair(inbox, 0)
            yield Finding(
                INBOXES,
                f"message {missing[0]}{more} of {shown(timeline.name)} was not delivered: the "
                "user's devices would never be told of it",
                b"",
                snapshot.name(inbox),
                fix=put(INBOXES, place_key, encode_floor(place_key, snapshot.progress.sealed)),
            )


def _delivered(snapshot: Snapshot, inbox: int) -> tuple[dict[int, set[int]], int]:
    """The messages that the in-box refers to above its floor, by conversation; and that floor."""
    floor = snapshot.inboxes.floor_of(inbox)
    found: dict[int, set[int]] = {}
    for _, timeline_id, seq, kind, _ in snapshot.inboxes.above(inbox, floor, keys.MAX):
        if kind == MESSAGE:
            found.setdefault(timeline_id, set()).add(seq)
    return found, floor


def _missing(
    snapshot: Snapshot,
    timeline: Timeline,
    member: MemberRow,
    place: ConversationRow,
    floor: int,
    there: set[int],
) -> Iterator[int]:
    head = snapshot.memtable.head(timeline)
    row = timeline.row
    low = 1 if row is None else row.first
    if place.forgotten and place.pulled:  # what was diffused before is no longer known
        low = max(low, place.pulled[0].first)
    if floor:
        low = max(low, snapshot.timelines.ranges.first_above(timeline, floor))
    looked_at = 0
    for first, last in _write_diffused(member, place, low, head):
        present = sum(1 for seq in there if first <= seq <= last)
        if present == last - first + 1:
            continue
        for seq in range(first, last + 1):
            if seq not in there:
                looked_at += 1
                if looked_at > _MOST_LOOKED_FOR:
                    return
                if snapshot.timelines.ranges.stored(timeline, seq, seq, 1, reverse=False):
                    yield seq


def _write_diffused(
    member: MemberRow, place: ConversationRow, low: int, head: int
) -> Iterator[Range]:
    """The numbers from `low` to `head` that a member should have got into their in-box."""
    for span in member.spans:
        first, last = max(span.first, low), min(span.last, head)
        if span.forgotten:
            continue
        for pulled in place.pulled:
            if pulled.last < first or pulled.first > last:
                continue
            if first < pulled.first:
                yield first, pulled.first - 1
            first = pulled.last + 1
        if first <= last:
            yield first, last
