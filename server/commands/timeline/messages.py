"""CONV.*: what is sent to a conversation, and what becomes of it.

Rule: as for conversations: arguments in, one verb of `timeline.messaging`, its result out.
"""

from __future__ import annotations

from typing import Final

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.messaging.conversations import sending
from timeline.messaging.delivery import history
from timeline.messaging.delivery.receipts import receipts_of

from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from ...wire.entries import encode_entries, encode_map
from .. import arguments
from ..arguments import syntax_error
from ..declaring import read, write
from ..options import Options, page_size, paging

_GROUP: Final = "conversation"
# Bulk strings: some clients make `true` of a simple one inside an array.
_STATUSES: Final = {word: replies.bulk(word.encode()) for word in ("stored", "duplicate")}


@write(
    "CONV.SEND",
    "conversation sender [KEY message-key] [MENTIONS count (user)...] [MENTIONALL] [SILENT] "
    "* (field value)...",
    "Sends a message and answers its number, its time, and stored or duplicate.",
    group=_GROUP,
    flags="write denyoom fast",
    complexity="O(1), O(N) for N users mentioned",
)
def send(session: Session, args: Arguments, draft: Draft) -> bytes:
    options = Options(args, 3)
    key: bytes | None = None
    mentions: list[bytes] = []
    mention_all = silent = False
    while (word := options.word()) is not None:
        if word == b"KEY":
            key = options.value()
        elif word == b"MENTIONS":
            mentions = options.values()
        elif word == b"MENTIONALL":
            mention_all = True
        elif word == b"SILENT":
            silent = True
        else:
            raise options.unknown()
    messages = session.service.messages
    sent = sending.send(
        draft,
        args[1],
        args[2],
        options.fields(),
        keys=messages.keys,
        options=messages.options,
        key=key,
        mentions=mentions,
        mention_all=mention_all,
        silent=silent,
    )
    return b"*3\r\n:%d\r\n:%d\r\n%b" % (sent.seq, sent.time, _STATUSES[sent.status])


@read(
    "CONV.HISTORY",
    "conversation actor [FROM seq] [TO seq] [SINCE milliseconds] [UNTIL milliseconds] "
    "[COUNT count] [REV]",
    "Messages that the actor may see, oldest or newest first; bounds are inclusive.",
    group=_GROUP,
    flags="readonly",
    complexity="O(log N + M) for M messages returned",
)
def history_(session: Session, args: Arguments, view: View) -> bytes:
    options = Options(args, 3)
    first = 1
    last: int | None = None
    times: dict[bytes, int] = {}
    count: bytes | None = None
    reverse = False
    while (word := options.word()) is not None:
        if word == b"FROM":
            first = arguments.message(options.value())
        elif word == b"TO":
            last = arguments.message(options.value())
        elif word in (b"SINCE", b"UNTIL"):
            times[word] = arguments.moment(options.value())
        elif word == b"COUNT":
            count = options.value()
        elif word == b"REV":
            reverse = True
        else:
            raise options.unknown()
    if options.at != len(args):
        raise syntax_error()
    found = history.history(
        view,
        args[1],
        args[2],
        first=first,
        last=last,
        since=times.get(b"SINCE"),
        until=times.get(b"UNTIL"),
        count=page_size(session, count),
        reverse=reverse,
        most_bytes=session.service.configuration.settings.reply_bytes,
    )
    return replies.array([row[3] for row in found])


@read(
    "CONV.EVENTS",
    "conversation actor [AFTER token] [COUNT count]",
    "What happened in a conversation besides messages: edits, recalls, members, settings.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M events returned",
)
def events(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 3)
    found, cursor = history.events(view, args[1], args[2], after, count)
    pairs = [(b"entries", encode_entries(found)), (b"cursor", replies.bulk(cursor))]
    return encode_map(pairs, session.resp)


@write(
    "CONV.EDIT",
    "conversation seq actor [MENTIONS count (user)...] [MENTIONALL] * (field value)...",
    "Replaces all fields of a message that the actor sent, and the users it mentions.",
    group=_GROUP,
    flags="write fast",
    complexity="O(1), O(N) for N users mentioned, before or now",
)
def edit(session: Session, args: Arguments, draft: Draft) -> bytes:
    seq = arguments.message(args[2])
    options = Options(args, 4)
    mentions: list[bytes] = []
    mention_all = False
    while (word := options.word()) is not None:
        if word == b"MENTIONS":
            mentions = options.values()
        elif word == b"MENTIONALL":
            mention_all = True
        else:
            raise options.unknown()
    sending.edit(
        draft,
        args[1],
        seq,
        args[3],
        options.fields(),
        session.service.messages.options,
        mentions=mentions,
        mention_all=mention_all,
    )
    return replies.OK


@write(
    "CONV.RECALL",
    "conversation seq actor",
    "Takes a message back. Its sender may do so, or an admin. A second time does nothing.",
    group=_GROUP,
    flags="write fast",
)
def recall(session: Session, args: Arguments, draft: Draft) -> bytes:
    seq = arguments.message(args[2])
    sending.recall(draft, args[1], seq, args[3], session.service.messages.options)
    return replies.OK


@read(
    "CONV.RECEIPTS",
    "conversation seq actor",
    "Which users have read a message, and which have it on a device.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N members",
)
def receipts(session: Session, args: Arguments, view: View) -> bytes:
    was_read, delivered = receipts_of(
        view,
        args[1],
        arguments.message(args[2]),
        args[3],
        session.service.messages.options,
    )
    pairs = [(b"read", replies.bulks(was_read)), (b"delivered", replies.bulks(delivered))]
    return encode_map(pairs, session.resp)
