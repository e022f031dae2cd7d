"""Members: who is in which conversation, in which role, and the row that they have of it.

Checked: the roster and the rows of members agree. Positions lie within the conversation. Flags
agree with the settings and sets of numbers that are there. Each member of a read-diffused
conversation pulls it, and the number of conversations that a user pulls is right.

Example: the roster has ann as admin, and her own row has her as member.

A repair believes the row of a member over the roster.
"""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.conversations import (
    HAS_HIDDEN,
    HAS_MENTIONS,
    HAS_SETTINGS,
    HIDDEN,
    MEMBER,
    MENTIONED,
    NONE,
    PULLED,
    PULLED_COUNT,
    ROLES,
    ROSTER,
    SETTINGS,
    ConversationRow,
    MemberRow,
    RosterRow,
    decode_member,
    decode_roster,
    decode_settings,
    encode_member,
    encode_roster,
    member_key,
    pulled_key,
    roster_key,
    settings_key,
    split_roster_key,
)
from timeline.formats.rows import INBOX
from timeline.formats.stretches import OPEN, Stretch, is_open
from timeline.storage.rocks import STATE
from timeline.verification.snapshot.findings import Finding, Put, put, remove, within
from timeline.verification.snapshot.snapshot import Snapshot

_OWN_FLAGS = ((HAS_SETTINGS, SETTINGS), (HAS_HIDDEN, HIDDEN), (HAS_MENTIONS, MENTIONED))


def check_roster(snapshot: Snapshot) -> Iterator[Finding]:
    """Everyone in a roster has a row of the conversation, with that role."""
    for key, value in snapshot.scan(ROSTER):
        try:
            conversation, rank, inbox = split_roster_key(key)
            row = decode_roster(value)
        except CorruptError as error:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
            continue
        name = snapshot.name(conversation)
        if snapshot.conversation(conversation) is None:
            if snapshot.row(conversation) is None:
                yield Finding(
                    STATE, f"it is of conversation {conversation}, which is not there", key,
                    fix=remove(STATE, key),
                )  # fmt: skip
            continue
        member = snapshot.member(inbox, conversation)
        if member is None:
            yield Finding(
                STATE,
                f"user {shown(snapshot.name(inbox))} is in the roster, but their row of the "
                "conversation cannot be read",
                key,
                name,
                lost=True,
                fix=_joined_again(snapshot, conversation, inbox, key, row),
            )
        elif key != roster_key(conversation, member.role, inbox) or row != RosterRow(
            member.role, member.joined
        ):
            yield Finding(
                STATE,
                f"user {shown(snapshot.name(inbox))} is {ROLES[min(row.role, 3)]} at rank {rank} "
                f"in the roster, and {ROLES[member.role]} by their own row",
                key,
                name,
                fix=(
                    Put(STATE, key),
                    Put(
                        STATE,
                        roster_key(conversation, member.role, inbox),
                        encode_roster(RosterRow(member.role, member.joined)),
                    ),
                ),
            )


def _joined_again(
    snapshot: Snapshot, conversation: int, inbox: int, key: bytes, row: RosterRow
) -> tuple[Put, ...]:
    """Make the row of a member from the roster, as if they had read everything since they
    joined.
    """
    timeline = snapshot.timeline(conversation)
    owner = snapshot.row(inbox)
    place = snapshot.conversation(conversation)
    if timeline is None or owner is None or owner.kind != INBOX or place is None or row.role > 3:
        return remove(STATE, key)
    head = snapshot.memtable.head(timeline)
    try:
        first = snapshot.timelines.ranges.first_since(timeline, row.joined)
        events = snapshot.timeline(place.events)
        begin = 1 if events is None else snapshot.timelines.ranges.first_since(events, row.joined)
    except CorruptError:
        first = begin = 1
    here = row.role != NONE
    last_event = (snapshot.head(place.events) or 0) if not here else OPEN
    span = Stretch(
        first, OPEN if here else head, begin, last_event, OPEN if here else snapshot.applied
    )
    member = MemberRow(row.role, 0, row.joined, head, 0, 0, (span,))
    return put(STATE, member_key(inbox, conversation), encode_member(member))


def check_members(snapshot: Snapshot) -> Iterator[Finding]:
    """The rows that users have of conversations."""
    for key, value in snapshot.scan(MEMBER):
        try:
            inbox, conversation = keys.split_pair(key[2:])
            member = decode_member(value)
        except CorruptError as error:
            inbox, conversation = int.from_bytes(key[2:10], "big"), int.from_bytes(key[10:], "big")
            yield Finding(
                STATE, str(error), key, snapshot.name(conversation), lost=True,
                fix=remove(STATE, key),
            )  # fmt: skip
            continue
        owner, place = snapshot.row(inbox), snapshot.conversation(conversation)
        if owner is None or owner.kind != INBOX or place is None:
            if owner is None or snapshot.row(conversation) is None:
                yield Finding(
                    STATE,
                    f"user {inbox} has a row of conversation {conversation}, and one of the two is "
                    "not there",
                    key,
                    fix=_forgotten(snapshot, inbox, conversation, key),
                )
            continue
        yield from _check_member(snapshot, key, inbox, conversation, member, place)


def _forgotten(snapshot: Snapshot, inbox: int, conversation: int, key: bytes) -> tuple[Put, ...]:
    rows = [roster_key(conversation, role, inbox) for role in range(4)]
    rows += [keys.AUDIENCE + keys.pair(conversation, inbox)]
    rows += [settings_key(inbox, conversation), pulled_key(inbox, conversation)]
    for family in (HIDDEN, MENTIONED):
        rows += [each for each, _ in snapshot.scan(family + keys.pair(inbox, conversation))]
    return remove(STATE, key, *[each for each in rows if snapshot.get(each) is not None])


def _check_member(
    snapshot: Snapshot,
    key: bytes,
    inbox: int,
    conversation: int,
    member: MemberRow,
    place: ConversationRow,
) -> Iterator[Finding]:
    name, user = snapshot.name(conversation), snapshot.name(inbox)
    better, wrong = _mended(snapshot, inbox, conversation, member)
    if wrong:
        yield Finding(
            STATE, f"user {shown(user)}: {'; '.join(wrong)}", key, name, member.read,
            fix=put(STATE, key, encode_member(better)),
        )  # fmt: skip
        return
    expected = roster_key(conversation, member.role, inbox)
    if snapshot.get(expected) is None:
        yield Finding(
            STATE,
            f"user {shown(user)} is {ROLES[member.role]} here, and not in the roster",
            expected,
            name,
            fix=put(STATE, expected, encode_roster(RosterRow(member.role, member.joined))),
        )
    pulled = is_open(place.pulled)
    here = member.role != NONE
    if pulled and here and snapshot.get(pulled_key(inbox, conversation)) is None:
        yield Finding(
            STATE,
            f"user {shown(user)} would not pull messages of this read-diffused conversation",
            pulled_key(inbox, conversation),
            name,
            fix=put(STATE, pulled_key(inbox, conversation), b""),
        )


def _mended(
    snapshot: Snapshot, inbox: int, conversation: int, member: MemberRow
) -> tuple[MemberRow, list[str]]:
    """The row of a member as it should be, and what is wrong with it."""
    head = snapshot.head(conversation) or 0
    wrong = []
    better = member
    if max(member.read, member.cleared, member.unlisted - 1) > head:
        wrong.append(f"their positions are above the head, {head}")
        better = better._replace(
            read=min(member.read, head),
            cleared=min(member.cleared, head),
            unlisted=min(member.unlisted, head + 1),
        )
    if member.role > 3:
        wrong.append("there is no such role")
        better = better._replace(role=2)
    here = better.role != NONE
    spans = within(member.spans, head)
    if spans != member.spans:
        wrong.append(f"they were a member for messages beyond the head, {head}")
        better = better._replace(spans=spans)
    if not spans or (spans[-1].ended == OPEN) != here or any(s.ended == OPEN for s in spans[:-1]):
        wrong.append("their role does not agree with the time of their membership")
        closed = [each for each in spans if each.ended != OPEN]
        opened = [each for each in spans if each.ended == OPEN][-1:]
        if here:
            closed += opened or [Stretch(head + 1, OPEN, 1, OPEN, OPEN)]
        else:
            closed += [each._replace(last=head, ended=snapshot.applied) for each in opened]
        better = better._replace(spans=tuple(closed) or (Stretch(head + 1, head, 1, 0, 1),))
    flags = member.flags
    present = [(flag, family + keys.pair(inbox, conversation)) for flag, family in _OWN_FLAGS]
    for flag, prefix in present:
        flags = flags | flag if snapshot.holds(prefix) else flags & ~flag
    if flags != member.flags:
        wrong.append("their flags do not agree with their settings and sets of numbers")
        better = better._replace(flags=flags)
    return better, wrong


def check_pulled(snapshot: Snapshot) -> Iterator[Finding]:
    """Which conversations users pull, how many that is, and the settings of users."""
    counts: dict[int, int] = {}
    for key, value in snapshot.scan(PULLED):
        if len(key) != 18 or value:
            yield Finding(STATE, "no such row marks a conversation", key, fix=remove(STATE, key))
            continue
        inbox, conversation = keys.split_pair(key[2:])
        if _gone(snapshot, inbox, conversation):
            yield Finding(
                STATE, f"user {inbox} never was in conversation {conversation}", key,
                fix=remove(STATE, key),
            )  # fmt: skip
        else:
            counts[inbox] = counts.get(inbox, 0) + 1
    for key, value in snapshot.scan(PULLED_COUNT):
        inbox = int.from_bytes(key[2:], "big")
        count = counts.pop(inbox, 0)
        if value != keys.number(count):
            yield Finding(
                STATE,
                f"user {shown(snapshot.name(inbox))} pulls {count} conversations, and another "
                "number is noted",
                key,
                fix=put(STATE, key, keys.number(count)),
            )
    for inbox, count in counts.items():
        key = PULLED_COUNT + keys.number(inbox)
        yield Finding(
            STATE,
            f"user {shown(snapshot.name(inbox))} pulls {count} conversations, which is not noted",
            key, fix=put(STATE, key, keys.number(count)),
        )  # fmt: skip
    for key, value in snapshot.scan(SETTINGS):
        try:
            inbox, conversation = keys.split_pair(key[2:])
            if not decode_settings(value):
                raise CorruptError("these settings are empty")
            if _gone(snapshot, inbox, conversation):
                raise CorruptError("these settings are of a conversation without this user")
        except (CorruptError, ValueError) as error:
            yield Finding(STATE, str(error), key, lost=True, fix=remove(STATE, key))


def _gone(snapshot: Snapshot, inbox: int, conversation: int) -> bool:
    return snapshot.get(member_key(inbox, conversation)) is None
