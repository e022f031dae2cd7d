"""USER.*: the conversations of a user, and what is the user's own of them.

Rule: as for conversations: arguments in, one verb of `timeline.messaging`, its result out.
"""

from __future__ import annotations

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.messaging.access.access import find_user
from timeline.messaging.conversations import lifecycle, userstate
from timeline.messaging.lists import counting, listing
from timeline.messaging.lists.userlist import Overview

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ...wire.entries import encode_fields, encode_map
from .. import arguments
from ..declaring import read, reads, write
from ..options import Options, paging

_GROUP = "user"


@read(
    "USER.CONVERSATIONS",
    "user [COUNT count] [AFTER token]",
    "The conversations of a user, pinned first, then newest, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N conversations of the user",
)
def conversations_(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 2)
    messages = session.service.messages
    position = messages.reader.cursors.encode(messages.reader.now)
    found, cursor = listing.conversations(view, messages.lists, args[1], after, count)
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
def conversation(session: Session, args: Arguments, view: View) -> bytes:
    found = listing.conversation(view, args[1], args[2])
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
    "Moves a read position, never back, and answers where it is.",
    group=_GROUP,
    flags="write fast",
)
def read_(session: Session, args: Arguments, draft: Draft) -> bytes:
    return replies.integer(userstate.read(draft, args[1], args[2], arguments.message(args[3])))


@read(
    "USER.UNREAD",
    "user [conversation]",
    "How many messages are unread in one conversation, or in all that are listed and not muted.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N conversations",
)
def unread(session: Session, args: Arguments, view: View) -> bytes:
    seen = view
    if len(args) == 3:
        return replies.integer(counting.unread_in(seen, args[1], args[2]))
    return replies.integer(listing.unread_of(seen, session.service.messages.lists, args[1]))


@write(
    "USER.HIDE",
    "user conversation seq...",
    "Leaves messages out of what the user is shown, and answers how many were not hidden before.",
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
    "Shows the user nothing more up to a message.",
    group=_GROUP,
    flags="write fast",
)
def clear(session: Session, args: Arguments, draft: Draft) -> bytes:
    userstate.clear(draft, args[1], args[2], arguments.message(args[3]))
    return replies.OK


@write(
    "USER.SET",
    "user conversation * (field value)...",
    "Sets the user's settings of a conversation: @pin, @mute, @listed, and the application's own.",
    group=_GROUP,
    flags="write fast",
)
def set_(session: Session, args: Arguments, draft: Draft) -> bytes:
    userstate.set_fields(draft, args[1], args[2], Options(args, 3).fields())
    return replies.OK


@write(
    "USER.META",
    "user [* (field value)...]",
    "Merges fields into what describes a user, and answers all of them. An empty value "
    "removes a field.",
    group=_GROUP,
    flags="write fast",
)
def meta(session: Session, args: Arguments, draft: Draft) -> bytes:
    items = Options(args, 2).fields()
    pairs = zip(items[::2], items[1::2], strict=True)
    found = lifecycle.set_user_metadata(draft, args[1], pairs)
    return encode_fields(found, session.resp)


@reads("USER.META", "user")
def read_meta(session: Session, args: Arguments, view: View) -> bytes:
    seen = view
    return encode_fields(seen.metadata(find_user(seen, args[1])), session.resp)
