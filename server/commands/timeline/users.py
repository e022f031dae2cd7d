"""USER.*: what happened for a user, his devices, and what is his own of conversations.

Rule: as for conversations: arguments in, one verb of `timeline.messaging`, its result out. What a
blocked sync and a subscription need beyond that, waking and presence, is here and in `push`.
"""

from __future__ import annotations

from timeline.commit.draft import Draft
from timeline.engine.engine import Engine
from timeline.errors import NotFoundError, TimelineError, TrimmedError, UsageError
from timeline.fanout import Position
from timeline.messaging.access.access import find_user
from timeline.messaging.access.names import check_user
from timeline.messaging.conversations import lifecycle, userstate
from timeline.messaging.delivery import devices
from timeline.messaging.delivery.syncing import Page
from timeline.messaging.lists import counting, listing
from timeline.messaging.lists.userlist import Overview
from timeline.messaging.service import Messages

from ...clients.blocking import Shared
from ...clients.view import View as Readable
from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ...wire.entries import encode_entries, encode_fields, encode_map
from .. import arguments
from ..arguments import syntax_error
from ..declaring import plain, read, reads, write
from .conversations import Options, messages_of, page_size, paging, view_of

_GROUP = "user"
_TOGETHER = 1_000  # devices that one command subscribes to: some 50 ms, if nothing is in memory


def _page(page: Page, resp: int) -> bytes:
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
    "user device [AFTER cursor] [COUNT count] [BLOCK milliseconds]",
    "What happened for a user behind a cursor, or behind what the device acknowledged; not in a "
    "transaction that writes.",
    group=_GROUP,
    flags="readonly blocking",
    complexity="O(M) for M entries returned",
)
def sync(session: Session, args: Arguments, view: Readable) -> bytes | None:
    options = Options(args, 3)
    after: bytes | None = None
    count: bytes | None = None
    block: int | None = None
    while (word := options.word()) is not None:
        if word == b"AFTER":
            after = options.value()
        elif word == b"COUNT":
            count = options.value()
        elif word == b"BLOCK":
            block = arguments.milliseconds(options.value())
        else:
            raise options.unknown()
    if options.at != len(args):
        raise syntax_error()
    if not isinstance(view, Engine):
        raise UsageError(
            "what this transaction stages has no position yet: sync outside it, or in one that "
            "only reads"
        )
    user, device, size = args[1], args[2], page_size(session, count)
    reader = messages_of(session).reader
    page = reader.sync(user, device, after, size)
    found = page.entries or page.more or page.resync
    if found or block is None or session.executing:
        return _page(page, session.resp)
    _wait(session, user, device, page.cursor, size, block)
    return None


def _wait(
    session: Session, user: bytes, device: bytes, after: bytes, count: int, block: int
) -> None:
    """Answers once there is something behind `after`, or when the time is over."""
    service, messages = session.service, messages_of(session)
    most = service.configuration.settings.sync_block_ms
    inbox = find_user(messages.view, user).id
    resp = session.resp

    def attempt(shared: Shared) -> bytes | None:
        asked = (inbox, after, count, resp)
        if asked not in shared:
            page = messages.reader.sync(user, device, after, count)
            found = page.entries or page.more or page.resync
            shared[asked] = _page(page, resp) if found else None
        return shared[asked]

    def ended() -> None:
        messages.watch.remove(inbox)
        messages.presence.depart(user, device)

    nothing = _page(Page([], after, more=False, resync=False), resp)
    milliseconds = min(block or most, most)
    service.waiters.block(session.client, [inbox], attempt, nothing, milliseconds / 1000, ended)
    messages.watch.add(inbox)
    messages.presence.arrive(user, device)


@write(
    "USER.ACK",
    "user device cursor",
    "Notes that a device has dealt with everything up to a cursor; never moves back.",
    group=_GROUP,
    flags="write fast",
)
def ack(session: Session, args: Arguments, draft: Draft) -> bytes:
    messages = messages_of(session)
    position = messages.reader.cursors.decode(args[3], messages.engine.applied)
    devices.acknowledge(draft, args[1], args[2], position, messages.options, messages.presence)
    return replies.OK


@read(  # so that it sees what the client wrote just before
    "USER.SUBSCRIBE",
    "user device [AFTER cursor] [user device [AFTER cursor]]...",
    "Pushes to this connection (RESP3) what was missed, then what happens. Of several devices each "
    "is answered by itself: OK, or the first word of why not.",
    group=_GROUP,
    flags="pubsub",
    complexity="O(N) for N devices",
)
def subscribe(session: Session, args: Arguments, _: Readable) -> bytes:
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
            begun.append(_begin(messages_of(session), user, device, after))
        except (TrimmedError, NotFoundError) as error:
            if len(wanted) == 1:
                raise
            begun.append(error)
    codes = []
    for (user, device, _after), found in zip(wanted, begun, strict=True):
        if isinstance(found, TimelineError):
            codes.append(found.code.encode())
        else:
            push.add(connection, user, device, *found)
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
        session.service.push.remove(session.client, user, device, streams=True)
    return replies.OK


@read(
    "USER.CONVERSATIONS",
    "user [COUNT count] [AFTER token]",
    "The conversations of a user, pinned first, then newest, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N conversations of the user",
)
def conversations_(session: Session, args: Arguments, view: Readable) -> bytes:
    after, count = paging(session, args, 2)
    messages = messages_of(session)
    position = messages.reader.cursors.encode(messages.reader.now)
    found, cursor = listing.conversations(
        view_of(session, view), messages.lists, args[1], after, count
    )
    pairs = [
        (b"conversations", replies.array([_listed(each, session.resp) for each in found])),
        (b"cursor", replies.bulk(cursor)),
        (b"position", replies.bulk(position)),
    ]
    return encode_map(pairs, session.resp)


@read(
    "USER.CONVERSATION",
    "user conversation",
    "One conversation as the user's list shows it, also when it is off the list.",
    group=_GROUP,
    flags="readonly fast",
)
def conversation(session: Session, args: Arguments, view: Readable) -> bytes:
    found = listing.conversation(view_of(session, view), args[1], args[2])
    return _listed(found, session.resp)


def _listed(each: Overview, resp: int) -> bytes:
    pairs = [
        (b"id", replies.bulk(each.id)),
        (b"kind", replies.bulk(each.kind.encode())),
        (b"role", replies.bulk(each.role.encode())),
        (b"unread", replies.integer(each.unread)),
        (b"mentions", replies.integer(each.mentions)),
        (b"head", replies.integer(each.head)),
        (b"read", replies.integer(each.read)),
        (b"time", replies.integer(each.time)),
        (
            b"settings",
            encode_fields(dict(zip(each.settings[::2], each.settings[1::2], strict=True)), resp),
        ),
        (b"last", replies.nil(resp) if each.last is None else each.last),
        (b"meta", encode_fields(each.meta, resp)),
        (b"peer", replies.bulk(each.peer)),
        (b"members", replies.integer(each.members)),
    ]
    return encode_map(pairs, resp)


@write(
    "USER.READ",
    "user conversation seq",
    "Moves a read position, never back; where it is then.",
    group=_GROUP,
    flags="write fast",
)
def read_(session: Session, args: Arguments, draft: Draft) -> bytes:
    return replies.integer(userstate.read(draft, args[1], args[2], arguments.message(args[3])))


@read(
    "USER.UNREAD",
    "user [conversation]",
    "Unread messages of one conversation, or of all that are listed and not muted.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N conversations",
)
def unread(session: Session, args: Arguments, view: Readable) -> bytes:
    seen = view_of(session, view)
    if len(args) == 3:
        return replies.integer(counting.unread_in(seen, args[1], args[2]))
    return replies.integer(listing.unread_of(seen, messages_of(session).lists, args[1]))


@write(
    "USER.HIDE",
    "user conversation seq...",
    "Leaves messages out of what the user is shown; how many he had not hidden before.",
    group=_GROUP,
    flags="write fast",
    complexity="O(N) for N messages",
)
def hide(session: Session, args: Arguments, draft: Draft) -> bytes:
    most = session.service.configuration.settings.page_entries
    if len(args) - 3 > most:
        raise UsageError(f"at most {most} messages at a time (option page_entries)")
    seqs = [arguments.message(value) for value in args[3:]]
    return replies.integer(userstate.hide(draft, args[1], args[2], seqs))


@write(
    "USER.CLEAR",
    "user conversation seq",
    "Shows the user nothing up to a message any more.",
    group=_GROUP,
    flags="write fast",
)
def clear(session: Session, args: Arguments, draft: Draft) -> bytes:
    userstate.clear(draft, args[1], args[2], arguments.message(args[3]))
    return replies.OK


@write(
    "USER.SET",
    "user conversation * (field value)...",
    "Settings of a conversation: @pin, @mute, @listed, and the application's own.",
    group=_GROUP,
    flags="write fast",
)
def set_(session: Session, args: Arguments, draft: Draft) -> bytes:
    userstate.set_fields(draft, args[1], args[2], Options(args, 3).fields())
    return replies.OK


@read(
    "USER.DEVICES",
    "user",
    "The devices of a user: how far each has come, whether it is there, its fields.",
    group=_GROUP,
    flags="readonly fast",
)
def devices_(session: Session, args: Arguments, view: Readable) -> bytes:
    messages = messages_of(session)
    found = devices.devices_of(
        view_of(session, view),
        args[1],
        messages.engine.stage.now(),
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
        pairs += [(name, replies.bulk(value)) for name, value in each.fields.items()]
        maps.append(encode_map(pairs, session.resp))
    return replies.array(maps)


@write(
    "USER.DEVICE",
    "user device * (field value)...",
    "Merges fields into what is known of a device, an empty value removing.",
    group=_GROUP,
    flags="write fast",
)
def device(session: Session, args: Arguments, draft: Draft) -> bytes:
    fields = Options(args, 3).fields()
    messages = messages_of(session)
    devices.set_device(draft, args[1], args[2], fields, messages.options, messages.presence)
    return replies.OK


@write(
    "USER.FORGET",
    "user device",
    "Forgets a device: its position and its fields.",
    group=_GROUP,
    flags="write fast",
)
def forget(session: Session, args: Arguments, draft: Draft) -> bytes:
    devices.forget_device(draft, args[1], args[2], messages_of(session).options)
    return replies.OK


@plain(
    "USER.ONLINE",
    "user...",
    "1 for each user with a subscription or a blocked sync open, else 0.",
    group=_GROUP,
    flags="fast",
    complexity="O(N) for N users",
)
def online(session: Session, args: Arguments) -> bytes:
    presence = messages_of(session).presence
    return replies.array(
        [replies.integer(int(presence.is_online(check_user(user)))) for user in args[1:]]
    )


@write(
    "USER.META",
    "user [* (field value)...]",
    "What describes a user, once fields were merged into it, an empty value removing.",
    group=_GROUP,
    flags="write fast",
)
def meta(session: Session, args: Arguments, draft: Draft) -> bytes:
    items = Options(args, 2).fields()
    pairs = zip(items[::2], items[1::2], strict=True)
    found = lifecycle.set_user_metadata(draft, args[1], pairs)
    return encode_fields(found, session.resp)


@reads("USER.META", "user")
def read_meta(session: Session, args: Arguments, view: Readable) -> bytes:
    seen = view_of(session, view)
    return encode_fields(seen.metadata(find_user(seen, args[1])), session.resp)
