"""USER.*: what devices are told, and what is known of them.

Rule: as for conversations: arguments in, one verb of `timeline.messaging`, its result out. A
blocked sync and a subscription also need waking and presence. These are here and in `push`.
"""

from __future__ import annotations

from timeline.commit.draft import Draft
from timeline.devices import devices
from timeline.engine.view import View
from timeline.errors import NotFoundError, TimelineError, TrimmedError, UsageError
from timeline.fanout import Position
from timeline.identity import check_user
from timeline.messaging.access.access import find_user
from timeline.messaging.delivery.syncing import Page
from timeline.messaging.service import Messages

from ...registry.command import Arguments
from ...service.session import Session
from ...subscriptions.subscriber import STREAM
from ...wire import replies
from ...wire.entries import encode_entries, encode_map
from ..arguments import syntax_error
from ..declaring import plain, read, write
from ..options import Options
from .syncing import OPTIONS, answer, asked

_GROUP = "user"
_TOGETHER = 1_000  # devices that one command may subscribe to: some 50 ms, with cold caches


def _encode(page: Page, resp: int) -> bytes:
    return encode_map(
        [
            (b"entries", encode_entries(page.entries)),
            (b"cursor", replies.bulk(page.cursor)),
            (b"more", replies.integer(int(page.more))),
            (b"resync", replies.integer(int(page.resync))),
        ],
        resp,
    )


@read(
    "USER.SYNC",
    OPTIONS,
    "What happened for a user after a cursor, or after what the device acknowledged. It "
    "is refused in a transaction that writes.",
    group=_GROUP,
    flags="readonly blocking",
    complexity="O(M) for M entries returned",
)
def sync(session: Session, args: Arguments, view: View) -> bytes | None:
    wanted = asked(session, args, view)
    messages, resp = session.service.messages, session.resp
    user, device, count = wanted.user, wanted.device, wanted.most
    return answer(
        session,
        wanted,
        lambda: find_user(messages.view, user).id,
        messages.watch,
        lambda after: messages.reader.sync(user, device, after, count),
        lambda page: _encode(page, resp),
    )


@write(
    "USER.ACK",
    "user device cursor",
    "Notes that a device has dealt with everything up to a cursor. It never moves back.",
    group=_GROUP,
    flags="write fast",
)
def ack(session: Session, args: Arguments, draft: Draft) -> bytes:
    messages = session.service.messages
    position = messages.reader.cursors.decode(args[3], messages.engine.applied)
    inbox = find_user(draft, args[1]).id
    devices.acknowledge(
        draft, inbox, args[1], args[2], position, messages.options, messages.presence
    )
    return replies.OK


@read(  # so that it sees what the client wrote just before
    "USER.SUBSCRIBE",
    "user device [AFTER cursor] [user device [AFTER cursor]]...",
    "Pushes to this connection (RESP3) what was missed, then what happens. With several "
    "devices the answer has a word for each: OK, or the first word of the error.",
    group=_GROUP,
    flags="pubsub",
    complexity="O(N) for N devices",
)
def subscribe(session: Session, args: Arguments, _: View) -> bytes:
    if session.resp != 3:
        raise UsageError("frames need RESP3 (HELLO 3); any client may SUBSCRIBE sync:user:device")
    if session.executing:
        raise UsageError("subscriptions do not change in a transaction")
    push, connection = session.service.push, session.client
    wanted = _devices(args)
    most = session.service.configuration.settings.subscriptions
    fresh = {each[:2] for each in wanted if not push.streams_to(connection, *each[:2])}
    if push.count(connection) + len(fresh) > most:
        raise UsageError(f"a client may subscribe to {most} devices (option subscriptions)")
    begun: list[tuple[int, Position] | TimelineError] = []
    for user, device, after in wanted:
        try:
            begun.append(_begin(session.service.messages, user, device, after))
        except (TrimmedError, NotFoundError) as error:
            if len(wanted) == 1:
                raise
            begun.append(error)
    codes = []
    for (user, device, _after), found in zip(wanted, begun, strict=True):
        if isinstance(found, TimelineError):
            codes.append(found.code.encode())
        else:
            inbox, position = found
            push.add(connection, user, device, inbox, STREAM, position)
            codes.append(b"OK")
    return replies.OK if len(wanted) == 1 else replies.bulks(codes)


def _devices(args: Arguments) -> list[tuple[bytes, bytes, bytes | None]]:
    """`user device [AFTER cursor]`, once or more."""
    found: list[tuple[bytes, bytes, bytes | None]] = []
    at = 1
    while at + 1 < len(args):
        user, device = args[at : at + 2]
        at += 2
        after = None
        if at < len(args) and args[at].upper() == b"AFTER":
            if at + 1 == len(args):
                raise syntax_error()
            after = args[at + 1]
            at += 2
        found.append((user, device, after))
    if at != len(args):
        raise syntax_error()
    if len(found) > _TOGETHER:
        raise UsageError(f"at most {_TOGETHER} devices at a time: subscribe to the others next")
    return found


def _begin(
    messages: Messages, user: bytes, device: bytes, after: bytes | None
) -> tuple[int, Position]:
    """The in-box of a user, and where a device goes on. Raises `TrimmedError`."""
    inbox, position = messages.reader.begin(user, device, after)
    if position is None:
        raise TrimmedError(
            "resync: page through USER.CONVERSATIONS, then subscribe AFTER its position"
        )
    return inbox, position


@plain(
    "USER.UNSUBSCRIBE",
    "user device [user device]...",
    "Ends what USER.SUBSCRIBE began.",
    group=_GROUP,
    flags="pubsub",
    complexity="O(N) for N devices",
)
def unsubscribe(session: Session, args: Arguments) -> bytes:
    if not len(args) & 1:
        raise syntax_error()
    for user, device in zip(args[1::2], args[2::2], strict=True):
        session.service.push.remove(session.client, user, device, STREAM)
    return replies.OK


@read(
    "USER.DEVICES",
    "user",
    "The devices of a user: what each has acknowledged, whether it is online, its fields.",
    group=_GROUP,
    flags="readonly fast",
)
def devices_(session: Session, args: Arguments, view: View) -> bytes:
    messages = session.service.messages
    found = devices.devices_of(
        view,
        args[1],
        messages.engine.view.now(),
        messages.options,
        messages.reader.cursors,
    )
    maps = []
    for each in found:
        pairs = [
            (b"device", replies.bulk(each.name)),
            (b"acked", replies.bulk(each.acked)),
            (b"online", replies.integer(int(messages.presence.is_online(args[1], each.name)))),
            (b"seen", replies.integer(each.seen)),
        ]
        if each.feeds:
            pairs.append((b"feeds", replies.bulk(each.feeds)))
        pairs += [(name, replies.bulk(value)) for name, value in each.fields.items()]
        maps.append(encode_map(pairs, session.resp))
    return replies.array(maps)


@write(
    "USER.DEVICE",
    "user device * (field value)...",
    "Merges fields into what describes a device. An empty value removes a field.",
    group=_GROUP,
    flags="write fast",
)
def device(session: Session, args: Arguments, draft: Draft) -> bytes:
    fields = Options(args, 3).fields()
    messages = session.service.messages
    inbox = find_user(draft, args[1]).id
    devices.set_device(draft, inbox, args[1], args[2], fields, messages.options, messages.presence)
    return replies.OK


@write(
    "USER.FORGET",
    "user device",
    "Forgets a device: its positions, also in feeds, and its fields.",
    group=_GROUP,
    flags="write fast",
)
def forget(session: Session, args: Arguments, draft: Draft) -> bytes:
    devices.forget_device(draft, args[1], args[2], session.service.messages.options)
    return replies.OK


@plain(
    "USER.ONLINE",
    "user...",
    "1 for each user who has a subscription or a blocked sync open, else 0.",
    group=_GROUP,
    flags="fast",
    complexity="O(N) for N users",
)
def online(session: Session, args: Arguments) -> bytes:
    presence = session.service.messages.presence
    return replies.array(
        [replies.integer(int(presence.is_online(check_user(user)))) for user in args[1:]]
    )
