"""FEED.*: what devices of readers are told, and how far they have come.

Rule: as for `devices`.
"""

from __future__ import annotations

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.feeds import syncing
from timeline.feeds.watching import waited_by

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ...wire.posts import encode_sync
from ..declaring import read, write
from .syncing import OPTIONS, answer, asked

_GROUP = "feed"


@read(
    "FEED.SYNC",
    OPTIONS,
    "What happened in a user's home and to them after a cursor, or after what the device "
    "acknowledged. It is refused in a transaction that writes.",
    group=_GROUP,
    flags="readonly blocking",
    complexity="O(N + M) for N authors who are followed and M entries returned",
)
def sync(session: Session, args: Arguments, view: View) -> bytes | None:
    wanted = asked(session, args, view)
    feeds, resp = session.service.feeds, session.resp
    user, device, count = wanted.user, wanted.device, wanted.most
    return answer(
        session,
        wanted,
        lambda: waited_by(feeds.view, user),
        feeds.watch,
        lambda after: syncing.sync(feeds, user, device, after, count),
        lambda page: encode_sync(page, resp),
    )


@write(
    "FEED.ACK",
    "user device cursor",
    "Notes that a device has dealt with everything of feeds up to a cursor. It never moves back.",
    group=_GROUP,
    flags="write fast",
)
def ack(session: Session, args: Arguments, draft: Draft) -> bytes:
    syncing.acknowledge_feeds(draft, session.service.feeds, *args[1:4])
    return replies.OK
