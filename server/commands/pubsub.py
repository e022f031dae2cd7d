"""SUBSCRIBE and UNSUBSCRIBE: a device is told on `sync:<user>:<device>` that something happened.

Rule: one frame for each channel named, as in Redis. There are no channels but those of devices: one
that would never say anything is refused rather than waited on. In RESP2 the connection then takes
few commands only.
"""

from __future__ import annotations

from timeline.errors import UsageError
from timeline.messaging.access import find_user
from timeline.messaging.names import check_device, check_user

from .. import replies
from ..errors import CommandError
from ..registry import Arguments, View, plain, read, shown
from ..session import Session

_SYNC = b"sync:"


def _frame(session: Session, verb: bytes, channel: bytes | None) -> bytes:
    return b"".join(
        (
            replies.push_header(3, session.resp),
            replies.bulk(verb),
            replies.nil(session.resp) if channel is None else replies.bulk(channel),
            replies.integer(len(session.channels)),
        )
    )


def _refuse_in_transaction(session: Session) -> None:
    if session.executing:
        raise CommandError("subscriptions do not change in a transaction")


def _split(channel: bytes) -> tuple[bytes, bytes]:
    """(user, device) of `sync:<user>:<device>`."""
    user, colon, device = channel.removeprefix(_SYNC).rpartition(b":")
    if not colon or not channel.startswith(_SYNC):
        raise UsageError(
            f"there is no channel {shown(channel)}: that of a device is sync:<user>:<device>"
        )
    return check_user(user), check_device(device)


@read(  # so that it sees what the client wrote just before
    "SUBSCRIBE",
    "channel...",
    "Tells devices on sync:<user>:<device> how far to sync: at once, and when something happens.",
    group="pubsub",
    flags="pubsub noscript",
    complexity="O(N) for N channels",
)
def subscribe(session: Session, args: Arguments, _: View) -> bytes:
    _refuse_in_transaction(session)
    service = session.service
    most = service.configuration.settings.channels
    if len(set(session.channels).union(args[1:])) > most:
        raise CommandError(f"a client may subscribe to {most} channels (option channels)")
    devices = [_split(channel) for channel in args[1:]]
    inboxes = [find_user(service.messages.view, user).id for user, _ in devices]  # all or none
    frames = []
    for channel, (user, device), inbox in zip(args[1:], devices, inboxes, strict=True):
        if channel not in session.channels:
            service.push.add(session.connection, user, device, inbox, None)
            session.channels[channel] = None
        frames.append(_frame(session, b"subscribe", channel))
    session.settle()
    return b"".join(frames)


@plain(
    "UNSUBSCRIBE",
    "[channel...]",
    "Stops listening to channels, or to all.",
    group="pubsub",
    flags="pubsub noscript",
    complexity="O(N) for N channels",
)
def unsubscribe(session: Session, args: Arguments) -> bytes:
    _refuse_in_transaction(session)
    frames = []
    for channel in args[1:] or list(session.channels):
        if channel in session.channels:
            user, device = _split(channel)
            session.service.push.remove(session.connection, user, device, streams=False)
            del session.channels[channel]
        frames.append(_frame(session, b"unsubscribe", channel))
    session.settle()
    return b"".join(frames) or _frame(session, b"unsubscribe", None)
