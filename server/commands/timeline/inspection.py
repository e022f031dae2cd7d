"""The commands that end in INSPECT: what things are made of, for those who run the store.

Rule: facts are as `timeline.admin.inspection` gathers them, a map each. A client that may ask is
shown everything. Nothing here is part of a commit. What may take long is done on another thread.
"""

from __future__ import annotations

from timeline.admin.inspection import inspect_segment, inspect_store, inspect_timeline, plain
from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds.inspection import inspect_user as inspect_feeds
from timeline.messaging.inspection import inspect_conversation, inspect_user

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..declaring import read
from ..options import Options, page_size


@read(
    "TIMELINE.INSPECT",
    "[key [seq]]",
    "What the store is made of, or a timeline with its segments, or the segment of an entry.",
    group="timeline",
    flags="readonly",
    complexity="O(N) for N timelines or segments",
)
def timeline(session: Session, args: Arguments, _: View) -> None:
    if session.executing:
        raise UsageError("TIMELINE.INSPECT is not part of a commit: call it outside MULTI")
    engine, index, resp = session.service.engine, session.service.index, session.resp

    def work() -> bytes:
        if len(args) == 1:
            return replies.encode(plain(inspect_store(engine, index.stats())), resp)
        if len(args) == 2:
            return replies.encode(plain(inspect_timeline(engine, args[1])), resp)
        return replies.encode(plain(inspect_segment(engine, args[1], number)), resp)

    number = arguments.integer(args[2], 0) if len(args) == 3 else 0
    session.service.threads.detach(session.client, work)


@read(
    "CONV.INSPECT",
    "conversation",
    "What a conversation is made of: settings, members, diffusion, what counts as unread "
    "for nobody.",
    group="conversation",
    flags="readonly",
    complexity="O(N) for N messages recalled or silent",
)
def conversation(session: Session, args: Arguments, _: View) -> bytes:
    found = inspect_conversation(session.service.messages.view, args[1])
    return replies.encode(plain(found), session.resp)


@read(
    "USER.INSPECT",
    "user [AFTER token] [COUNT count]",
    "A user's in-box and devices, and how the unread count of each conversation comes "
    "about, a page at a time.",
    group="user",
    flags="readonly",
    complexity="O(M) for M conversations returned",
)
def user(session: Session, args: Arguments, _: View) -> bytes:
    after: bytes | None = None
    count = page_size(session, None)
    options = Options(args, 2)
    while (word := options.word()) is not None:
        if word == b"AFTER":
            after = options.value()
        elif word == b"COUNT":
            count = page_size(session, options.value())
        else:
            raise options.unknown()
    engine, messages = session.service.engine, session.service.messages
    return replies.encode(
        plain(inspect_user(engine, messages, args[1], after, count)), session.resp
    )


@read(
    "FEED.INSPECT",
    "user [POST post]",
    "What a user is as an author and as a reader, and why a post is in their home or not.",
    group="feed",
    flags="readonly",
    complexity="O(N) for N followers and references",
)
def feed(session: Session, args: Arguments, view: View) -> bytes:
    options = Options(args, 2)
    post: bytes | None = None
    while (word := options.word()) is not None:
        if word != b"POST":
            raise options.unknown()
        post = options.value()
    if view.is_draft:
        raise UsageError("FEED.INSPECT is not part of a commit: call it outside MULTI")
    return replies.encode(plain(inspect_feeds(session.service.feeds, args[1], post)), session.resp)
