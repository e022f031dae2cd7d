"""FEED.*: whom users follow, ask to follow, mute and block, and what they say of themselves.

Rule: as for `feeds`.
"""

from __future__ import annotations

from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.feeds import blocking, following, lists, requests, settings
from timeline.feeds.lists import Relation, UserPage

from ...errors import CommandSyntaxError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.session import Session
from ...wire import replies
from ..declaring import read, write
from ..options import Options, paging

_GROUP: Final = "feed"
_ANSWERS: Final = {b"accept": True, b"reject": False}


@write(
    "FEED.FOLLOW",
    "user author...",
    "Follows authors, at most 100; of those who are protected it asks. Answers how many are "
    "followed now that were not, and how many requests wait for an answer.",
    group=_GROUP,
    flags="write denyoom",
    complexity="O(N) for N authors",
)
def follow(session: Session, args: Arguments, draft: Draft) -> bytes:
    done = following.follow(draft, args[1], args[2:], session.service.feeds.options)
    return replies.encode([done.followed, done.requested], session.resp)


@write(
    "FEED.UNFOLLOW",
    "user author...",
    "Unfollows authors, at most 100, and takes requests back. Answers of how many that was so.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N authors",
)
def unfollow(session: Session, args: Arguments, draft: Draft) -> bytes:
    options = session.service.feeds.options
    return replies.integer(following.unfollow(draft, args[1], args[2:], options))


@read(
    "FEED.FOLLOWERS",
    "viewer user [AFTER token] [COUNT count]",
    "Who follows a user, and since when, the newest first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M users returned",
)
def followers_(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 3)
    return _listed(session, lists.followers(view, args[1], args[2], after or b"", count))


@read(
    "FEED.FOLLOWING",
    "viewer user [AFTER token] [COUNT count]",
    "Whom a user follows, and since when, the newest first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N log N) for N authors followed",
)
def following_(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 3)
    return _listed(session, lists.following(view, args[1], args[2], after or b"", count))


def _listed(session: Session, page: UserPage) -> bytes:
    users: list[replies.Value] = [[each.user, each.since] for each in page.users]
    return replies.encode(
        {"users": users, "total": page.total, "cursor": page.cursor}, session.resp
    )


@read(
    "FEED.RELATION",
    "user other...",
    "What a user has with others: for each an array of following, follows, requested, muted, "
    "blocked.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N others",
)
def relation(session: Session, args: Arguments, view: View) -> bytes:
    found = lists.relations(view, args[1], args[2:])
    return replies.encode([words_of(each) for each in found], session.resp)


def words_of(relation: Relation) -> list[replies.Value]:
    return [name for name, so in relation._asdict().items() if so]


# --- protected authors ----------------------------------------------------------------------------


@read(
    "FEED.REQUESTS",
    "author [AFTER token] [COUNT count]",
    "Who asked to follow a protected author, and when, the newest first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M users returned",
)
def requests_(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 2)
    return _listed(session, lists.requests(view, args[1], after or b"", count))


@write(
    "FEED.ANSWER",
    "author user accept|reject",
    "Answers the request of a user to follow a protected author.",
    group=_GROUP,
    flags="write fast",
)
def answer(session: Session, args: Arguments, draft: Draft) -> bytes:
    accept = _ANSWERS.get(args[3].lower())
    if accept is None:
        raise CommandSyntaxError(f"an answer is accept or reject, not {shown(args[3])}")
    options = session.service.feeds.options
    requests.answer(draft, args[1], args[2], options, accept=accept)
    return replies.OK


@write(
    "FEED.REMOVE",
    "author follower...",
    "Has users follow an author no longer, at most 100, and answers how many did.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N users",
)
def remove(session: Session, args: Arguments, draft: Draft) -> bytes:
    options = session.service.feeds.options
    return replies.integer(requests.remove(draft, args[1], args[2:], options))


# --- blocks and settings --------------------------------------------------------------------------


@write(
    "FEED.BLOCK",
    "user other...",
    "Blocks users, at most 100: neither sees the other any more, and neither follows the other. "
    "Answers how many were not blocked before.",
    group=_GROUP,
    flags="write denyoom",
    complexity="O(N) for N users",
)
def block(session: Session, args: Arguments, draft: Draft) -> bytes:
    options = session.service.feeds.options
    return replies.integer(blocking.block(draft, args[1], args[2:], options))


@write(
    "FEED.UNBLOCK",
    "user other...",
    "Blocks users no longer, at most 100, and answers how many were blocked.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N users",
)
def unblock(session: Session, args: Arguments, draft: Draft) -> bytes:
    return replies.integer(blocking.unblock(draft, args[1], args[2:]))


@read(
    "FEED.BLOCKED",
    "user [AFTER token] [COUNT count]",
    "Whom a user blocks, and since when, the newest first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M users returned",
)
def blocked_(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 2)
    return _listed(session, lists.blocked(view, args[1], after or b"", count))


@write(
    "FEED.SET",
    "user author * (field value)...",
    "About oneself: @protected, @pin, and fields of one's own. About another author: @mute, "
    "@reposts, @replies, @notify. An empty value removes.",
    group=_GROUP,
    flags="write denyoom fast",
)
def set_(session: Session, args: Arguments, draft: Draft) -> bytes:
    settings.set_fields(draft, args[1], args[2], Options(args, 3).fields())
    return replies.OK
