"""FEED.*: what users publish, and what they read in homes and profiles. `follows` has the others.

Rule: as for conversations: arguments in, one verb of `timeline.feeds`, its result out.
"""

from __future__ import annotations

from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.feeds import home, posts, profile, publishing, reactions
from timeline.feeds.frame import Frame, audience_of
from timeline.feeds.replies import replies as feed_replies

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ...wire.posts import encode_found, encode_page
from .. import arguments
from ..declaring import read, write
from ..options import Options, paging
from .follows import words_of

_GROUP: Final = "feed"
_STATUSES: Final = {word: replies.bulk(word.encode()) for word in ("stored", "duplicate")}


@write(
    "FEED.PUBLISH",
    "author [KEY post-key] [FOR everybody|followers|named] [REPLY post] [REPOST post] "
    "[MENTIONS count user...] [TAGS count tag...] [SILENT] [* (field value)...]",
    "Publishes a post and answers its number, its time, and stored or duplicate. With REPOST and "
    "no fields it reposts another as it is, with fields it quotes it. Nobody gets a note of a "
    "silent one.",
    group=_GROUP,
    flags="write denyoom fast",
)
def publish(session: Session, args: Arguments, draft: Draft) -> bytes:
    options = Options(args, 2)
    key: bytes | None = None
    frame: Frame | None = None
    while (word := options.word()) is not None:
        if word == b"KEY":
            key = options.value()
        else:
            frame = _framed(frame or Frame(), word, options)
    items = options.fields(needed=frame is None or not frame.repost)
    feeds = session.service.feeds
    done = publishing.publish(
        draft, args[1], items, keys=feeds.keys, options=feeds.options, key=key, frame=frame
    )
    return b"*3\r\n:%d\r\n:%d\r\n%b" % (done.seq, done.time, _STATUSES[done.status])


def _framed(frame: Frame, word: bytes, options: Options) -> Frame:
    """With what an option says of a post."""
    if word == b"FOR":
        return frame._replace(audience=audience_of(options.value().lower()))
    if word == b"REPLY":
        return frame._replace(reply=_post(options.value()))
    if word == b"REPOST":
        return frame._replace(repost=_post(options.value()))
    if word == b"MENTIONS":
        return frame._replace(mentions=options.values())
    if word == b"SILENT":
        return frame._replace(silent=True)
    if word == b"TAGS":
        return frame._replace(tags=options.values())
    raise options.unknown()


def _post(name: bytes) -> bytes:
    """An empty name is none of a post, and not the same as no option."""
    posts.split_post(name)
    return name


@write(
    "FEED.EDIT",
    "author seq actor * (field value)...",
    "Replaces all fields of a post. The actor is its author, or - for the application.",
    group=_GROUP,
    flags="write denyoom fast",
)
def edit(session: Session, args: Arguments, draft: Draft) -> bytes:
    seq = arguments.message(args[2], "post")
    fields = Options(args, 4).fields()
    options = session.service.feeds.options
    publishing.edit(draft, args[1], seq, args[3], fields, options)
    return replies.OK


@write(
    "FEED.DELETE",
    "author seq actor",
    "Deletes a post; its number stays. The actor is its author, or - for the application.",
    group=_GROUP,
    flags="write fast",
)
def delete(session: Session, args: Arguments, draft: Draft) -> bytes:
    publishing.delete(draft, args[1], arguments.message(args[2], "post"), args[3])
    return replies.OK


@read(
    "FEED.GET",
    "viewer post...",
    "Posts by their names, which are author/number; null for one that is not there, or not the "
    "viewer's to see.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N posts",
)
def get(session: Session, args: Arguments, view: View) -> bytes:
    most_bytes = session.service.configuration.settings.reply_bytes
    return encode_found(profile.get(view, args[1], args[2:], most_bytes), session.resp)


@read(
    "FEED.PROFILE",
    "viewer author [WITHOUT replies|reposts] [AFTER token] [COUNT count]",
    "What an author published, newest first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M posts returned",
)
def profile_(session: Session, args: Arguments, view: View) -> bytes:
    without: bytes | None = None
    at = 3
    if len(args) > at and args[at].upper() == b"WITHOUT":
        options = Options(args, at + 1)
        without, at = options.value().lower(), options.at
    after, count = paging(session, args, at)
    page = profile.profile(view, args[1], args[2], after or b"", count, without)
    return encode_page(page, session.resp)


@read(
    "FEED.REPLIES",
    "viewer author seq [AFTER token] [COUNT count]",
    "Replies to a post, oldest first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M posts returned",
)
def replies_(session: Session, args: Arguments, view: View) -> bytes:
    seq = arguments.message(args[3], "post")
    after, count = paging(session, args, 4)
    page = feed_replies(view, args[1], args[2], seq, after or b"", count)
    return encode_page(page, session.resp)


@write(
    "FEED.REACT",
    "author seq user reaction [REMOVE]",
    "Gives a post a reaction of a user, or takes it back, and answers how many have it now.",
    group=_GROUP,
    flags="write denyoom fast",
)
def react(session: Session, args: Arguments, draft: Draft) -> bytes:
    seq = arguments.message(args[2], "post")
    if len(args) > 5:
        if len(args) > 6 or args[5].upper() != b"REMOVE":
            raise arguments.syntax_error()
        return replies.integer(reactions.unreact(draft, args[1], seq, args[3], args[4]))
    options = session.service.feeds.options
    return replies.integer(reactions.react(draft, args[1], seq, args[3], args[4], options))


@read(
    "FEED.REACTORS",
    "viewer author seq reaction [AFTER token] [COUNT count]",
    "Who has a reaction to a post, in the order in which they became users, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M users returned",
)
def reactors_(session: Session, args: Arguments, view: View) -> bytes:
    seq = arguments.message(args[3], "post")
    after, count = paging(session, args, 5)
    page = reactions.reactors(view, args[1], args[2], seq, args[4], after or b"", count)
    users: list[replies.Value] = list(page.users)
    return replies.encode(
        {"users": users, "total": page.total, "cursor": page.cursor}, session.resp
    )


@read(
    "FEED.HOME",
    "user [AFTER token] [COUNT count]",
    "What those published whom a user follows, and the user, newest first, a page at a time. It is "
    "refused in a transaction that writes.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N + M log N) for N authors followed and M posts returned",
)
def home_(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 2)
    if view.is_draft:
        raise UsageError(
            "what this transaction stages has no place in a home before it is committed: read the "
            "home outside, or in a transaction that only reads"
        )
    page = home.read_home(session.service.feeds, args[1], after or b"", count)
    return encode_page(page, session.resp, page.position)


@read(
    "FEED.INFO",
    "viewer author",
    "How many posts and followers an author has, how many they follow, whether they are protected, "
    "what the viewer has with them, and what they say of themselves.",
    group=_GROUP,
    flags="readonly fast",
)
def info(session: Session, args: Arguments, view: View) -> bytes:
    found = profile.info(view, args[1], args[2])
    return replies.encode(
        {
            "posts": found.posts,
            "followers": found.followers,
            "following": found.following,
            "protected": int(found.protected),
            "relation": words_of(found.relation),
            "meta": {name.decode(): value for name, value in found.meta.items()},
        },
        session.resp,
    )
