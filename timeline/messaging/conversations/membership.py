"""Membership: who is in a conversation, since when, in which role.

Responsibility: admit and dismiss members, give roles, list members. Switch a conversation between
write and read diffusion as it grows and shrinks.

Rule: a membership is a stretch of numbers, from the message after the head when the user joins to
the head when they leave.

    alice joins at head 10, leaves at 20, joins again at 50: her stretches are 11-20 and 51-

The newest stretches of a member are kept. What lies in older ones they no longer see, and a device
that has not passed them has to resync. A member who comes back is told what happened in between:
the events are replayed from where they left, since these may change what their devices hold. With
history `all` the messages are replayed too.

Above `diffusion_limit` members a conversation becomes read-diffused: members pull its messages. It
is write-diffused again at four fifths of the limit, so that one member who comes and goes does not
switch it back and forth.

Everything here is part of one commit. Commands that need several are in `bulk`.
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
    PLAIN,
    PULLED,
    PULLED_COUNT,
    ROLE,
    ROLES,
    MemberRow,
    RosterRow,
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
from timeline.formats.stretches import OPEN, Stretch
from timeline.identity import check_user
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
from timeline.messaging.access.names import user_of
from timeline.messaging.access.roles import Action
from timeline.options import Options

_PULLED_STRETCHES = 128  # that a conversation lists, at most
_MEMBER_STRETCHES: Final = 256  # that are kept of one member, at most
_TOKEN: Final = re.compile(rb"([01])-([0-9]{1,19})")


class Member(NamedTuple):
    user: bytes
    role: int
    joined: int


# --- admitting and dismissing, within one commit --------------------------------------------------


def admit(
    draft: Draft, conversation: Conversation, users: Sequence[bytes], options: Options
) -> list[int]:
    """Make users members; the in-boxes of those who were not. Switches the diffusion at need."""
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
    missed: dict[tuple[int, int], list[int]] = {}  # first message and event they missed → in-boxes
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
    """End memberships; the in-boxes of those who were members. They still see the next `seeing`
    events that are recorded, and none after.
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
    """The stretches in which something was sent, or happened besides joining and leaving."""
    return [
        span for span in spans if span.last >= span.first or span.last_event - span.first_event >= 2
    ]


def _newest(spans: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """The stretches that are kept. When there are more, the first stands for those that are not."""
    if len(spans) <= _MEMBER_STRETCHES:
        return tuple(spans)
    kept = spans[1 - _MEMBER_STRETCHES :]
    return Stretch(0, 0, 0, 0, spans[-_MEMBER_STRETCHES].ended), *kept


def _pull(draft: Draft, inbox: int, conversation: int, most: int) -> None:
    """Note that a user pulls the messages of a conversation."""
    key = pulled_key(inbox, conversation)
    if draft.get(key) is not None:
        return
    count_key = PULLED_COUNT + number(inbox)
    value = draft.get(count_key)
    count = 0 if value is None else split_number(value)
    if count >= most:  # forget what their devices need no more
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
        "(option pulled_limit): nobody can join with them; leave them out, or let them leave one"
    )


def room_of(view: View, conversation: int, user: bytes, most: int) -> int | None:
    """How many more conversations a user may pull; None when they are in this one already."""
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
    """The keys of what a user no longer pulls and all their devices have passed."""
    devices = view.scan(*between(DEVICE + number(inbox)))
    known = [row.lsn for row in (decode_device(value) for _, value in devices) if row.known]
    passed = min(known, default=OPEN)
    found: list[bytes] = []
    for key, _ in view.scan(*between(PULLED + number(inbox))):
        conversation_id = second_id(key)
        conversation = load_conversation(view, conversation_id)
        member = member_of(view, inbox, conversation_id)
        if conversation is None or member is None:
            ended = 0
        else:
            ended = min(member.spans[-1].ended, conversation.row.pulled[-1].ended)
        if ended <= passed and ended != OPEN:
            found.append(key)
    return found


def forget_pulled(draft: Draft, inbox: int, conversation: int) -> None:
    """The user no longer pulls the messages of this conversation."""
    draft.remove(pulled_key(inbox, conversation))
    count_key = PULLED_COUNT + number(inbox)
    value = draft.get(count_key)
    draft.put(count_key, number(max(0, (0 if value is None else split_number(value)) - 1)))


def roster(view: View, conversation: int, *, admins: bool = False) -> list[tuple[int, RosterRow]]:
    """(in-box, row) of every member, admins first, or of the admins only."""
    return [
        (split_roster_key(key)[2], decode_roster(value))
        for key, value in view.scan(*roster_between(conversation, admins=admins))
    ]


def _switch(draft: Draft, conversation: Conversation, count: int, options: Options) -> None:
    """Change the diffusion if that is due with `count` members, or as the option is now."""
    if conversation.pulled and count <= options.diffusion_limit * 4 // 5:
        _end_pulling(draft, conversation)
    elif not conversation.pulled and count > options.diffusion_limit:
        _begin_pulling(draft, conversation)


def _begin_pulling(draft: Draft, conversation: Conversation) -> None:
    """From the next message on, members pull the messages."""
    head, events = _heads(draft, conversation)
    members = [inbox for inbox, _ in roster(draft, conversation.id)]
    draft.leave(conversation.id, members)
    for inbox in members:
        _pull(draft, inbox, conversation.id, MAX)  # members already: not refused
    stretches = (*conversation.row.pulled, Stretch(head + 1, OPEN, events + 1, OPEN, OPEN))
    forgotten = conversation.row.forgotten
    if len(stretches) > _PULLED_STRETCHES:
        forgotten = stretches[0].ended
        stretches = stretches[1:]
    conversation.row = conversation.row._replace(pulled=stretches, forgotten=forgotten)


def _end_pulling(draft: Draft, conversation: Conversation) -> None:
    """From the next message on, messages are delivered to the members."""
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
    notified: frozenset[int] = frozenset(),
) -> None:
    """Deliver an event of membership: in a small conversation to everybody, in a large one to those
    concerned and the admins. Those who were `notified` already are left out.
    """
    if not conversation.pulled and not notified:
        push(draft, conversation.id, conversation.events, event, kind)
        if kind == LEAVE:  # they are no longer in the audience
            notify(draft, concerned, conversation.events, event, kind)
        return
    others = [inbox for inbox, _ in roster(draft, conversation.id, admins=conversation.pulled)]
    unique = dict.fromkeys((*concerned, *others))
    notify(
        draft,
        [inbox for inbox in unique if inbox not in notified],
        conversation.events,
        event,
        kind,
    )


# --- roles and lists ------------------------------------------------------------------------------


def set_role(draft: Draft, name: bytes, actor: bytes, user: bytes, role: bytes) -> None:
    """Give a member another role. Raises `NotFoundError` for a user who is no member."""
    roles = [each.encode() for each in ROLES[1:]]
    if role.lower() not in roles:
        raise UsageError("a role is admin, member or reader")
    given = roles.index(role.lower()) + 1
    conversation = enter(draft, name, actor, Action.SET_ROLES).conversation
    inbox = draft.find(USERS + check_user(user))
    member = None if inbox is None else member_of(draft, inbox.id, conversation.id)
    if inbox is None or member is None or member.role == NONE:
        raise NotFoundError("this user is no member of the conversation")
    if member.role == given:
        return
    draft.remove(roster_key(conversation.id, member.role, inbox.id))
    _enrol(draft, conversation.id, inbox.id, given, member.joined)
    save_member(draft, inbox.id, conversation.id, member._replace(role=given))
    event = record_event(
        draft, conversation, ROLE, actor, 0, [b"@user", user, b"@role", ROLES[given].encode()]
    )
    announce(draft, conversation, ROLE, event, [inbox.id])


def make_admin(draft: Draft, conversation: Conversation, user: bytes) -> None:
    """Make the founder of a conversation its first admin, without an event of its own."""
    inbox = find_or_create_user(draft, user).id
    member = member_of(draft, inbox, conversation.id)
    assert member is not None, "the founder of a conversation was admitted to it"
    draft.remove(roster_key(conversation.id, member.role, inbox))
    _enrol(draft, conversation.id, inbox, ADMIN, member.joined)
    save_member(draft, inbox, conversation.id, member._replace(role=ADMIN))


def members(
    view: View, name: bytes, actor: bytes, after: bytes | None, count: int
) -> tuple[list[Member], bytes]:
    """A page of members, admins first, and the token of the next; empty at the end."""
    conversation = enter(view, name, actor, Action.SEE_MEMBERS).conversation
    start, stop = roster_between(conversation.id)
    if after:
        match = _TOKEN.fullmatch(after)
        if match is None:
            raise UsageError("the token is the cursor of the page before")
        rank, inbox = int(match[1]), int(match[2])
        start = roster_key(conversation.id, ADMIN if rank == 0 else PLAIN, inbox) + b"\0"
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
