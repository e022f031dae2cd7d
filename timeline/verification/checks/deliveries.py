"""Deliveries: whether in-boxes hold what members were sent, and homes what readers follow.

Checked: the in-box of a member has a reference to every message that was sent while they were a
member and the conversation was write-diffused. The home of a reader has one to every post that was
published since they followed its author, while the feed was write-diffused. Messages and posts that
are gone, or that lie below the floor of the in-box, do not count.

Example: bob was in `team` when message 7 was sent, and his in-box has no reference to it.

A repair raises the floor of that in-box, so that its devices start over instead of missing a
message. Below its floor a home pulls everything, so nothing is missing there either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.conversations import MEMBER, MESSAGE, ConversationRow, MemberRow
from timeline.formats.feeds import FOLLOW, POST
from timeline.formats.references import encode_floor
from timeline.formats.stretches import Stretch
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import INBOXES
from timeline.verification.snapshot.findings import Finding, put
from timeline.verification.snapshot.snapshot import Snapshot

Range = tuple[int, int]  # of sequence numbers, both ends inclusive

_MOST_LOOKED_FOR = 1_000  # without a reference, of one reader of one conversation or feed


def check_deliveries(snapshot: Snapshot) -> Iterator[Finding]:
    """Of messages."""
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
                delivered, floor = _delivered(snapshot, inbox, MESSAGE)
                owner = inbox
            ranges = _of_member(snapshot, timeline, member, place, floor)
            missing = list(_missing(snapshot, timeline, ranges, delivered))
        except CorruptError:
            continue
        if missing:
            what = f"message {missing[0]}{_and_more(missing)} of {shown(timeline.name)}"
            text = f"{what} was not delivered: the user's devices would never be told of it"
            yield _raised(snapshot, inbox, text)


def check_posts(snapshot: Snapshot) -> Iterator[Finding]:
    """Deliveries of posts."""
    owner = -1
    floor = 0
    delivered: dict[int, set[int]] = {}
    for key, _ in snapshot.scan(FOLLOW):
        home, feed = int.from_bytes(key[2:10], "big"), int.from_bytes(key[10:18], "big")
        follow, row, timeline = (
            snapshot.follow(home, feed), snapshot.feed(feed), snapshot.timeline(feed),
        )  # fmt: skip
        if follow is None or row is None or timeline is None:
            continue  # other checks tell of it
        try:
            if home != owner:
                delivered, floor = _delivered(snapshot, home, POST)
                owner = home
            low = max(follow.head + 1, _lowest(snapshot, timeline, floor))
            ranges = _pushed(low, snapshot.memtable.head(timeline), row.pulled)
            missing = list(_missing(snapshot, timeline, ranges, delivered))
        except CorruptError:
            continue
        if missing:
            what = f"post {missing[0]}{_and_more(missing)} of {shown(timeline.name)}"
            yield _raised(snapshot, home, f"{what} was not delivered: this home would not show it")


def _and_more(missing: list[int]) -> str:
    return f" (one of {len(missing)})" if len(missing) > 1 else ""


def _raised(snapshot: Snapshot, inbox: int, text: str) -> Finding:
    key = keys.pair(inbox, 0)
    fix = put(INBOXES, key, encode_floor(key, snapshot.progress.sealed))
    return Finding(INBOXES, text, b"", snapshot.name(inbox), fix=fix)


def _delivered(snapshot: Snapshot, inbox: int, wanted: int) -> tuple[dict[int, set[int]], int]:
    """What the in-box refers to above its floor by references of one kind, by timeline; and that
    floor.
    """
    floor = snapshot.inboxes.floor_of(inbox)
    found: dict[int, set[int]] = {}
    for _, timeline_id, seq, kind, _ in snapshot.inboxes.above(inbox, floor, keys.MAX):
        if kind == wanted:
            found.setdefault(timeline_id, set()).add(seq)
    return found, floor


def _missing(
    snapshot: Snapshot,
    timeline: Timeline,
    ranges: Iterator[Range],
    delivered: dict[int, set[int]],
) -> Iterator[int]:
    """The numbers in `ranges` that are there and were not delivered."""
    there = delivered.get(timeline.id, set())
    looked_at = 0
    for first, last in ranges:
        present = sum(1 for seq in there if first <= seq <= last)
        if present == last - first + 1:
            continue
        for seq in range(first, last + 1):
            if seq not in there:
                looked_at += 1
                if looked_at > _MOST_LOOKED_FOR:
                    return
                if snapshot.timelines.ranges.entry(timeline, seq) is not None:
                    yield seq


def _lowest(snapshot: Snapshot, timeline: Timeline, floor: int) -> int:
    """The first number above the floor of an in-box that the timeline still has."""
    row = timeline.row
    low = 1 if row is None else row.first
    return max(low, snapshot.timelines.ranges.first_above(timeline, floor)) if floor else low


def _of_member(
    snapshot: Snapshot, timeline: Timeline, member: MemberRow, place: ConversationRow, floor: int
) -> Iterator[Range]:
    """The numbers that a member should have got into their in-box."""
    head = snapshot.memtable.head(timeline)
    low = _lowest(snapshot, timeline, floor)
    if place.forgotten and place.pulled:  # what was diffused before is no longer known
        low = max(low, place.pulled[0].first)
    for span in member.spans:
        if not span.forgotten:
            yield from _pushed(max(span.first, low), min(span.last, head), place.pulled)


def _pushed(first: int, last: int, pulled: Sequence[Stretch]) -> Iterator[Range]:
    """The numbers from `first` to `last` that are not pulled."""
    for each in pulled:
        if each.last < first or each.first > last:
            continue
        if first < each.first:
            yield first, each.first - 1
        first = each.last + 1
    if first <= last:
        yield first, last
