"""SUBSCRIBE and UNSUBSCRIBE: channels on which the daemon announces what happened.

Rule: one frame for each channel named, as in Redis. In RESP2 the connection then takes few commands
only.
"""

from __future__ import annotations

from .. import replies
from ..errors import CommandError
from ..registry import Arguments, plain
from ..session import Session
from .users import check_channel, split_channel, subscribe_to_notes

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


@plain(
    "SUBSCRIBE",
    "channel...",
    "Listens to channels.",
    group="pubsub",
    flags="pubsub noscript",
    complexity="O(N) for N channels",
)
def subscribe(session: Session, args: Arguments) -> bytes:
    _refuse_in_transaction(session)
    most = session.service.configuration.settings.channels
    if len(set(session.channels).union(args[1:])) > most:
        raise CommandError(f"a client may subscribe to {most} channels (option channels)")
    for channel in args[1:]:  # all or none
        if channel.startswith(_SYNC):
            check_channel(session, channel)
    frames = []
    for channel in args[1:]:
        if channel.startswith(_SYNC) and channel not in session.channels:
            subscribe_to_notes(session, channel)
        session.service.channels.add(session.connection, channel)
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
        if channel.startswith(_SYNC) and channel in session.channels:
            user, device = split_channel(channel)
            session.service.push.remove(session.connection, user, device, streams=False)
        session.service.channels.remove(session.connection, channel)
        frames.append(_frame(session, b"unsubscribe", channel))
    session.settle()
    return b"".join(frames) or _frame(session, b"unsubscribe", None)
