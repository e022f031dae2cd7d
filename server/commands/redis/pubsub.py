"""Pub/sub: SUBSCRIBE, PSUBSCRIBE, PUBLISH and the like, as in Redis.

Rule: subscribing answers with one frame for each channel named. On `sync:<user>:<device>`, and for
feeds on `feed:<user>:<device>`, a device is told that something happened. These names are kept for
that: a malformed one is refused, nothing can be published there, and no pattern matches them. All
other channels are the clients' own. In RESP2 a connection that listens accepts only a few commands.

PUBLISH sends when what the client wrote before is durable, so that a listener that hears of a write
can read it. In a transaction it sends when the transaction is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds.watching import waited_by
from timeline.identity import check_device, check_user
from timeline.messaging.access.access import find_user

from ...errors import CommandError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.service import Service
from ...service.session import Session
from ...subscriptions.subscriber import CHANNELS, FEED
from ...wire import replies
from ..declaring import container, plain, read
from ..glob import compiled

_NAME_BYTES = 4096  # of a channel, as of a pattern


def _frame(session: Session, verb: bytes, channel: bytes | None) -> bytes:
    return b"".join(
        (
            replies.push_header(3, session.resp),
            replies.bulk(verb),
            replies.nil(session.resp) if channel is None else replies.bulk(channel),
            replies.integer(len(session.channels) + len(session.patterns)),
        )
    )


def _refuse_in_transaction(session: Session) -> None:
    if session.executing:
        raise CommandError("subscriptions do not change in a transaction")


class _Device(NamedTuple):
    """A device that a channel is of, and how it is told there."""

    user: bytes
    device: bytes
    way: bytes


def _device(channel: bytes) -> _Device | None:
    """The device of `sync:<user>:<device>` and the like; None for a channel of the clients' own."""
    way = _way(channel)
    if way is None:
        if len(channel) > _NAME_BYTES:
            raise UsageError(f"the name of a channel has {_NAME_BYTES} bytes at most")
        return None
    user, colon, device = channel[len(way) + 1 :].rpartition(b":")
    if not colon:
        raise UsageError(
            f"there is no channel {shown(channel)}: the channel of a device is "
            f"{way.decode()}:<user>:<device>"
        )
    return _Device(check_user(user), check_device(device), way)


def _way(name: bytes) -> bytes | None:
    word, colon, _ = name.partition(b":")
    return word if colon and word in CHANNELS else None


def _waited(service: Service, device: _Device) -> int:
    """The id by which the user of a device is waited for. Raises `NotFoundError`."""
    if device.way == FEED:
        return waited_by(service.feeds.view, device.user)
    return find_user(service.messages.view, device.user).id


def _check_number(session: Session, fresh: int) -> None:
    most = session.service.configuration.settings.channels
    if len(session.channels) + len(session.patterns) + fresh > most:
        raise CommandError(f"a client may subscribe to {most} channels (option channels)")


def _end(
    session: Session,
    verb: bytes,
    named: Arguments,
    held: dict[bytes, None],
    end: Callable[[bytes], None],
) -> bytes:
    """Ends those of `held` that are `named`, or all; a frame for each."""
    _refuse_in_transaction(session)
    frames = []
    for name in named or list(held):
        if name in held:
            end(name)
            del held[name]
        frames.append(_frame(session, verb, name))
    session.settle()
    return b"".join(frames) or _frame(session, verb, None)


@read(  # so that it sees what the client wrote just before
    "SUBSCRIBE",
    "channel...",
    "Listens to channels. On sync:<user>:<device>, and for feeds on feed:<user>:<device>, a device "
    "is told how far to sync, at once and whenever something happens.",
    group="pubsub",
    flags="pubsub noscript loading stale",
    complexity="O(N) for N channels",
)
def subscribe(session: Session, args: Arguments, _: View) -> bytes:
    _refuse_in_transaction(session)
    service = session.service
    _check_number(session, len({each for each in args[1:] if each not in session.channels}))
    devices = [_device(channel) for channel in args[1:]]  # all or none
    waited = [0 if device is None else _waited(service, device) for device in devices]
    frames = []
    for channel, device, name in zip(args[1:], devices, waited, strict=True):
        if channel not in session.channels:
            if device is not None:
                service.push.add(session.client, device.user, device.device, name, device.way)
            service.channels.subscribe(session.client, channel)
            session.channels[channel] = None
        frames.append(_frame(session, b"subscribe", channel))
    session.settle()
    return b"".join(frames)


@plain(
    "UNSUBSCRIBE",
    "[channel...]",
    "Stops listening to channels, or to all.",
    group="pubsub",
    flags="pubsub noscript loading stale",
    complexity="O(N) for N channels",
)
def unsubscribe(session: Session, args: Arguments) -> bytes:
    service = session.service

    def end(channel: bytes) -> None:
        device = _device(channel)
        if device is not None:
            service.push.remove(session.client, *device)
        service.channels.unsubscribe(session.client, channel)

    return _end(session, b"unsubscribe", args[1:], session.channels, end)


@read(
    "PSUBSCRIBE",
    "pattern...",
    "Listens to all channels whose names match, except those of devices.",
    group="pubsub",
    flags="pubsub noscript loading stale",
    complexity="O(N) for N patterns",
)
def psubscribe(session: Session, args: Arguments, _: View) -> bytes:
    _refuse_in_transaction(session)
    _check_number(session, len({each for each in args[1:] if each not in session.patterns}))
    globs = [compiled(pattern) for pattern in args[1:]]
    for glob in globs:  # all or none
        way = _way(glob.prefix)
        if way is not None:
            raise UsageError(
                "patterns do not match the channels of devices: SUBSCRIBE "
                f"{way.decode()}:<user>:<device>"
            )
    frames = []
    channels = session.service.channels
    for pattern, glob in zip(args[1:], globs, strict=True):
        if pattern not in session.patterns:
            channels.subscribe_pattern(session.client, pattern, glob.matches)
            session.patterns[pattern] = None
        frames.append(_frame(session, b"psubscribe", pattern))
    session.settle()
    return b"".join(frames)


@plain(
    "PUNSUBSCRIBE",
    "[pattern...]",
    "Stops listening to patterns, or to all.",
    group="pubsub",
    flags="pubsub noscript loading stale",
    complexity="O(N) for N patterns",
)
def punsubscribe(session: Session, args: Arguments) -> bytes:
    end = partial(session.service.channels.unsubscribe_pattern, session.client)
    return _end(session, b"punsubscribe", args[1:], session.patterns, end)


@read(  # so that a listener can read what the client wrote before
    "PUBLISH",
    "channel message",
    "Sends a message to all who listen to a channel, and answers how many they are. It is "
    "not kept.",
    group="pubsub",
    flags="pubsub loading stale fast",
    complexity="O(N + M) for N listeners and M patterns",
)
def publish(session: Session, args: Arguments, _: View) -> bytes:
    if _device(args[1]) is not None:
        raise UsageError("only the store publishes on the channels of devices")
    channels = session.service.channels
    channels.check_room()
    transaction = session.transaction
    if session.executing and transaction is not None:
        transaction.afterwards.append(lambda: channels.publish(args[1], args[2]))
        return replies.integer(len(channels.hearing(args[1])))
    return replies.integer(channels.publish(args[1], args[2]))


container("PUBSUB", "Who listens to what.", group="pubsub")


@plain(
    "PUBSUB CHANNELS",
    "[pattern]",
    "The channels that somebody listens to.",
    group="pubsub",
    flags="pubsub loading stale",
    complexity="O(N) for N channels",
)
def pubsub_channels(session: Session, args: Arguments) -> bytes:
    names = session.service.channels.names()
    if len(args) > 2:
        glob = compiled(args[2])
        names = [name for name in names if glob.matches(name)]
    return replies.bulks(names)


@plain(
    "PUBSUB NUMSUB",
    "[channel...]",
    "How many clients listen to each of the channels, without those that listen by a pattern.",
    group="pubsub",
    flags="pubsub loading stale",
    complexity="O(N) for N channels",
)
def pubsub_numsub(session: Session, args: Arguments) -> bytes:
    found: list[replies.Value] = []
    for channel in args[2:]:
        found += [channel, session.service.channels.listeners(channel)]
    return replies.encode(found, session.resp)


@plain(
    "PUBSUB NUMPAT",
    "",
    "How many different patterns clients listen to.",
    group="pubsub",
    flags="pubsub loading stale",
)
def pubsub_numpat(session: Session, args: Arguments) -> bytes:
    return replies.integer(session.service.channels.patterns)
