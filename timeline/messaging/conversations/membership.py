"""Membership: who is in a conversation, since when, in which role.

Responsibility: admit and dismiss members, give roles, list them, and switch a conversation between
write and read diffusion as it grows and shrinks.

Rule: a member's stretches are told by numbers: from the message after the head when they join to
the head when they leave. The newest stretches are kept. What lies in older ones is no longer theirs
to see, and a device that has not passed them is told to begin anew. A member who comes back is told
what happened in between: the events are replayed from where they left, since these may change what
their devices hold, and with history `all` the messages too.

Above `diffusion_limit` members a conversation is read-diffused, and write-diffused again at four
fifths of it, so that one member who comes and goes does not switch it to and fro. Everything here
is part of one commit; commands that need several are in `bulk`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import NotFoundError, TooLargeError, UsageError
from timeline.fanout import notify, push, replay
from timeline.formats.conversations import (
    ADMIN,
    DEVICE,
    EVERYTHING,
    LEAVE,
    NONE,
    OPEN,
    PLAIN,
    PULLED,
    PULLED_COUNT,
    ROLE,
    ROLES,
    MemberRow,
    RosterRow,
    Stretch,
    between,
    decode_device,
    decode_roster,
    encode_roster,
    pulled_key,
    roster_between,
    roster_key,
    second_id,
    split_roster_key,
)
from timeline.formats.keys import MAX, number, split_number
from timeline.formats.names import USERS
from timeline.formats.numbers import TimelineId
from timeline.messaging.access.access import (
    Conversation,
    enter,
    find_or_create_user,
    is_current,
    load_conversation,
    member_of,
    save_member,
)
from timeline.messaging.access.entries import record_event
from timeline.messaging.access.names import check_user, user_of
from timeline.messaging.access.roles import Action
from timeline.options import Options

_STRETCHES: Final = 128  # read-diffused stretches that a conversation lists
_MEMBERSHIPS: Final = 256  # stretches that are kept of one member
_TOKEN: Final = re.compile(rb"([01])-([0-9]{1,19})")


class Member(NamedTuple):
    user: bytes
    role: int
    joined: int


# --- admitting and dismissing, within one commit --------------------------------------------------


def admit(
    draft: Draft, conversation: Conversation, users: Sequence[bytes], options: Options
) -> list[int]:
    """Make users members; the in-boxes of those who were not. Switches the diffusion if need be."""
    fresh: dict[TimelineId, MemberRow | None] = {}
    for user in users:
        inbox = find_or_create_user(draft, user).id
        member = member_of(draft, inbox, conversation.id)
        if not is_current(member):
            fresh[inbox] = member
    if not fresh:
        return []
    count = conversation.row.members + len(fresh)
    _switch(draft, conversation, count, options)
    head, events = _heads(draft, conversation)
    missed: dict[tuple[int, int], list[int]] = {}  # first message and event not told → to whom
    for inbox, before in fresh.items():
        span = Stretch(head + 1, OPEN, events + 1, OPEN, OPEN)
        if before is None:
            row = MemberRow(PLAIN, 0, draft.time, head, 0, 0, (span,))
        else:
            left = before.spans[-1]
            missed.setdefault((left.last + 1, left.last_event + 1), []).append(inbox)
            row = before._replace(
                role=PLAIN,
                joined=draft.time,
                read=max(before.read, head),
                unlisted=0,
                spans=_newest([*_worth_keeping(before.spans), span]),
            )
            draft.remove(roster_key(conversation.id, NONE, inbox))
        save_member(draft, inbox, conversation.id, row)
        _enrol(draft, conversation.id, inbox, PLAIN, draft.time)
        if conversation.pulled:
            _pull(draft, inbox, conversation.id, options.pulled_limit)
    if not conversation.pulled:
        draft.join(conversation.id, list(fresh))
    for (message, event), inboxes in missed.items():
        if message <= head and conversation.row.history == EVERYTHING:
            replay(draft, inboxes, conversation.messages, message)
        if event <= events:
            replay(draft, inboxes, conversation.events, event)
    conversation.row = conversation.row._replace(members=count)
    conversation.save(draft)
    return list(fresh)


def dismiss(
    draft: Draft,
    conversation: Conversation,
    users: Sequence[bytes],
    options: Options,
    *,
    seeing: int = 1,
) -> list[int]:
    """End memberships; the in-boxes of those who were members. The `seeing` events that are
    recorded next are the last they see.
    """
    head, events = _heads(draft, conversation)
    gone: list[int] = []
    for user in users:
        inbox = draft.find(USERS + check_user(user))
        member = None if inbox is None else member_of(draft, inbox.id, conversation.id)
        if inbox is None or member is None or member.role == NONE:
            continue
        span = member.spans[-1]._replace(last=head, last_event=events + seeing, ended=draft.lsn)
        save_member(
            draft,
            inbox.id,
            conversation.id,
            member._replace(role=NONE, spans=(*member.spans[:-1], span)),
        )
        draft.remove(roster_key(conversation.id, member.role, inbox.id))
        _enrol(draft, conversation.id, inbox.id, NONE, member.joined)  # found when it is deleted
        gone.append(inbox.id)
    if not gone:
        return []
    if not conversation.pulled:
        draft.leave(conversation.id, gone)
    count = conversation.row.members - len(gone)
    conversation.row = conversation.row._replace(members=count)
    _switch(draft, conversation, count, options)
    conversation.save(draft)
    return gone


def _heads(view: View, conversation: Conversation) -> tuple[int, int]:
    return view.extent(conversation.messages).head, view.extent(conversation.events).head


def _enrol(draft: Draft, conversation: int, inbox: int, role: int, joined: int) -> None:
    draft.put(roster_key(conversation, role, inbox), encode_roster(RosterRow(role, joined)))


def _worth_keeping(spans: Sequence[Stretch]) -> list[Stretch]:
    """The stretches in which something was sent, or happened beside joining and leaving."""
    return [
        span for span in spans if span.last >= span.first or span.last_event - span.first_event >= 2
    ]


def _newest(spans: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """At most so many stretches as are kept, the first then standing for those that are not."""
    if len(spans) <= _MEMBERSHIPS:
        return tuple(spans)
    kept = spans[1 - _MEMBERSHIPS :]
    return Stretch(0, 0, 0, 0, spans[-_MEMBERSHIPS].ended), *kept


def _pull(draft: Draft, inbox: int, conversation: int, most: int) -> None:
    """Note that a user comes for the messages of a conversation himself."""
    key = pulled_key(inbox, conversation)
    if draft.get(key) is not None:
        return
    count_key = PULLED_COUNT + number(inbox)
    value = draft.get(count_key)
    count = 0 if value is None else split_number(value)
    if count >= most:  # forget what he has no use for any more
        passed = _passed(draft, inbox)
        for each in passed:
            draft.remove(each)
        count -= len(passed)
    if count >= most:
        timeline = draft.load(inbox)
        raise no_room(b"" if timeline is None else user_of(timeline.name), most)
    draft.put(key, b"")
    draft.put(count_key, number(count + 1))


def no_room(user: bytes, most: int) -> TooLargeError:
    return TooLargeError(
        f"user {user.decode()} is in {most} read-diffused conversations, as many as a user may be "
        "(option pulled_limit): nobody can join with him; leave him out, or let him leave one"
    )


def room_of(view: View, conversation: int, user: bytes, most: int) -> int | None:
    """How many more conversations a user may come for; None when he is in this one already."""
    inbox = view.find(USERS + user)
    if inbox is None:
        return most
    if is_current(member_of(view, inbox.id, conversation)):
        return None
    value = view.get(PULLED_COUNT + number(inbox.id))
    room = most - (0 if value is None else split_number(value))
    if room > 0 or view.get(pulled_key(inbox.id, conversation)) is not None:
        return max(1, room)
    return room + len(_passed(view, inbox.id))


def _passed(view: View, inbox: int) -> list[bytes]:
    """The keys of what a user no longer comes for and all his devices have passed."""
    devices = view.scan(*between(DEVICE + number(inbox)))
    known = [row.lsn for row in (decode_device(value) for _, value in devices) if row.known]
    passed = min(known, default=OPEN)
    found: list[bytes] = []
    for key, _ in view.scan(*between(PULLED + number(inbox))):
        conversation = second_id(key)
        place = load_conversation(view, conversation)
        member = member_of(view, inbox, conversation)
        if place is None or member is None:
            ended = 0
        else:
            ended = min(member.spans[-1].ended, place.row.pulled[-1].ended)
        if ended <= passed and ended != OPEN:
            found.append(key)
    return found


def forget_pulled(draft: Draft, inbox: int, conversation: int) -> None:
    """He no longer comes for the messages of this conversation."""
    draft.remove(pulled_key(inbox, conversation))
    count_key = PULLED_COUNT + number(inbox)
    value = draft.get(count_key)
    draft.put(count_key, number(max(0, (0 if value is None else split_number(value)) - 1)))


def roster(view: View, conversation: int, *, admins: bool = False) -> list[tuple[int, RosterRow]]:
    """(in-box, row) of every member, or of every admin, admins first."""
    return [
        (split_roster_key(key)[2], decode_roster(value))
        for key, value in view.scan(*roster_between(conversation, admins=admins))
    ]


def _switch(draft: Draft, conversation: Conversation, count: int, options: Options) -> None:
    """Change the diffusion if `count` members ask for it, also since the option is another now."""
    if conversation.pulled and count <= options.diffusion_limit * 4 // 5:
        _end_pulling(draft, conversation)
    elif not conversation.pulled and count > options.diffusion_limit:
        _begin_pulling(draft, conversation)


def _begin_pulling(draft: Draft, conversation: Conversation) -> None:
    """From the next message on, members come for messages themselves."""
    head, events = _heads(draft, conversation)
    members = [inbox for inbox, _ in roster(draft, conversation.id)]
    draft.leave(conversation.id, members)
    for inbox in members:
        _pull(draft, inbox, conversation.id, MAX)  # the group has grown; that is not refused
    stretches = (*conversation.row.pulled, Stretch(head + 1, OPEN, events + 1, OPEN, OPEN))
    forgotten = conversation.row.forgotten
    if len(stretches) > _STRETCHES:
        forgotten = stretches[0].ended
        stretches = stretches[1:]
    conversation.row = conversation.row._replace(pulled=stretches, forgotten=forgotten)


def _end_pulling(draft: Draft, conversation: Conversation) -> None:
    """From the next message on, messages are delivered to members."""
    head, events = _heads(draft, conversation)
    *before, last = conversation.row.pulled
    ended = last._replace(last=head, last_event=events, ended=draft.lsn)
    conversation.row = conversation.row._replace(pulled=(*before, ended))
    draft.join(conversation.id, [inbox for inbox, _ in roster(draft, conversation.id)])


def announce(
    draft: Draft,
    conversation: Conversation,
    kind: int,
    event: int,
    concerned: Sequence[int],
    told: frozenset[int] = frozenset(),
) -> None:
    """Deliver an event of membership: to everybody in a small conversation, in a large one to those
    concerned and the admins. Those already `told` are left out.
    """
    if not conversation.pulled and not told:
        push(draft, conversation.id, conversation.events, event, kind)
        if kind == LEAVE:  # the audience has lost them
            notify(draft, concerned, conversation.events, event, kind)
        return
    others = [inbox for inbox, _ in roster(draft, conversation.id, admins=conversation.pulled)]
    unique = dict.fromkeys((*concerned, *others))
    notify(
        draft,
        [inbox for inbox in unique if inbox not in told],
        conversation.events,
        event,
        kind,
    )


# --- roles and lists ------------------------------------------------------------------------------


def set_role(draft: Draft, conversation: bytes, actor: bytes, user: bytes, role: bytes) -> None:
    """Give a member another role. Raises `NotFoundError` when he is none."""
    names = [name.encode() for name in ROLES[1:]]
    if role.lower() not in names:
        raise UsageError("a role is admin, member or reader")
    given = names.index(role.lower()) + 1
    place = enter(draft, conversation, actor, Action.SET_ROLES).conversation
    inbox = draft.find(USERS + check_user(user))
    member = None if inbox is None else member_of(draft, inbox.id, place.id)
    if inbox is None or member is None or member.role == NONE:
        raise NotFoundError("this user is no member of the conversation")
    if member.role == given:
        return
    draft.remove(roster_key(place.id, member.role, inbox.id))
    _enrol(draft, place.id, inbox.id, given, member.joined)
    save_member(draft, inbox.id, place.id, member._replace(role=given))
    event = record_event(
        draft, place, ROLE, actor, 0, [b"@user", user, b"@role", ROLES[given].encode()]
    )
    announce(draft, place, ROLE, event, [inbox.id])


def make_admin(draft: Draft, conversation: Conversation, user: bytes) -> None:
    """Make who founds a conversation its first admin, without an event of its own."""
    inbox = find_or_create_user(draft, user).id
    member = member_of(draft, inbox, conversation.id)
    assert member is not None, "who founds a conversation was admitted to it"
    draft.remove(roster_key(conversation.id, member.role, inbox))
    _enrol(draft, conversation.id, inbox, ADMIN, member.joined)
    save_member(draft, inbox, conversation.id, member._replace(role=ADMIN))


def members(
    view: View, conversation: bytes, actor: bytes, after: bytes | None, count: int
) -> tuple[list[Member], bytes]:
    """A page of members, admins first, and the token of the next; empty at the end."""
    place = enter(view, conversation, actor, Action.SEE_MEMBERS).conversation
    start, stop = roster_between(place.id)
    if after:
        match = _TOKEN.fullmatch(after)
        if match is None:
            raise UsageError("the token is the cursor of the page before")
        rank, inbox = int(match[1]), int(match[2])
        start = roster_key(place.id, ADMIN if rank == 0 else PLAIN, inbox) + b"\0"
    found: list[Member] = []
    token = b""
    for key, value in view.scan(start, stop):
        if len(found) == count:
            return found, token
        _, rank, inbox = split_roster_key(key)
        row = decode_roster(value)
        timeline = view.load(inbox)
        if timeline is not None:
            found.append(Member(user_of(timeline.name), row.role, row.joined))
        token = b"%d-%d" % (rank, inbox)
    return found, b""
