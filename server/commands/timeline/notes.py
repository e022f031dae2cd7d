"""FEED.*: what users are told of, and what they have seen.

Rule: as for `feeds`.
"""

from __future__ import annotations

from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds import notes, unseen

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ...wire.posts import encode_notes
from .. import arguments
from ..declaring import read, write
from ..options import Options, paging

_GROUP: Final = "feed"


@read(
    "FEED.NOTES",
    "user [KIND kind [KIND kind ...]] [AFTER token] [COUNT count]",
    "What others did to a user and to their posts, newest first, a page at a time: replies, "
    "mentions, reposts, quotes, reactions, follows and requests. It is refused in a transaction "
    "that writes.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M notes returned",
)
def notes_(session: Session, args: Arguments, view: View) -> bytes:
    kinds: list[bytes] = []
    at = 2
    while len(args) > at and args[at].upper() == b"KIND":
        options = Options(args, at + 1)
        kinds.append(options.value())
        at = options.at
    after, count = paging(session, args, at)
    _refuse_draft(view, "the notes")
    page = notes.read_notes(session.service.feeds.view, args[1], after or b"", count, kinds)
    return encode_notes(page, session.resp)


@read(
    "FEED.UNSEEN",
    "user",
    "How many posts in a user's home and how many of their notes they have not seen. Each is "
    "counted up to unseen_limit.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N unseen things",
)
def unseen_(session: Session, args: Arguments, view: View) -> bytes:
    _refuse_draft(view, "what is unseen")
    found = unseen.count_unseen(session.service.feeds, args[1])
    return replies.encode([found.posts, found.notes], session.resp)


@write(
    "FEED.SEEN",
    "user position [NOTES]",
    "A user has seen their home up to a position, which a page of it has, or their notes. It never "
    "goes back.",
    group=_GROUP,
    flags="write fast",
)
def seen(session: Session, args: Arguments, draft: Draft) -> bytes:
    if len(args) > 4 or (len(args) == 4 and args[3].upper() != b"NOTES"):
        raise arguments.syntax_error()
    unseen.see(draft, session.service.feeds, args[1], args[2], notes=len(args) == 4)
    return replies.OK


def _refuse_draft(view: View, what: str) -> None:
    if view.is_draft:
        raise UsageError(
            f"{what} of a transaction that writes have no place before it is committed: ask "
            "outside, or in a transaction that only reads"
        )
