"""CONV.*: conversations, who is in them, and what is sent to them.

Rule: arguments in, one verb of `timeline.messaging`, its result out. `actor` is a user or `-`, the
application itself. Options may come in any order and end at `*`, behind which the fields begin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from timeline.commit.draft import Draft
from timeline.engine.engine import Engine
from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.formats.conversations import BINARY, CONVERSATION_KINDS, HISTORIES, ROLES
from timeline.messaging.conversations import bulk, lifecycle, membership, sending
from timeline.messaging.delivery import history
from timeline.messaging.delivery.receipts import receipts_of
from timeline.messaging.service import Messages

from ...clients.view import View as Readable
from ...errors import CommandError, CommandSyntaxError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.session import Session
from ...wire import replies
from ...wire.entries import encode_entries, encode_fields, encode_map
from .. import arguments
from ..arguments import syntax_error
from ..declaring import read, reads, write

_GROUP = "conversation"
# Bulk strings: some clients make `true` of a simple one inside an array.
_STATUSES = {word: replies.bulk(word.encode()) for word in ("stored", "duplicate")}


class Steps(Protocol):
    """A command in parts: `step` stages the next one and says whether there is more."""

    def step(self, draft: Draft) -> bool: ...


def view_of(session: Session, view: Readable) -> View:
    """What a read sees: what was applied or, in a transaction that writes, its draft."""
    return session.service.messages.view if isinstance(view, Engine) else cast(View, view)


def messages_of(session: Session) -> Messages:
    return session.service.messages


class Options:
    """Words and values from `args[at]` on, up to `*` or the end."""

    def __init__(self, args: Arguments, at: int) -> None:
        self._args = args
        self.at = at

    def word(self) -> bytes | None:
        """The next option in upper case; None at `*` or at the end."""
        if self.at >= len(self._args) or self._args[self.at] == b"*":
            return None
        self.at += 1
        return self._args[self.at - 1].upper()

    def value(self) -> bytes:
        if self.at >= len(self._args):
            raise CommandSyntaxError(f"a value is missing behind {shown(self._args[-1])}")
        self.at += 1
        return self._args[self.at - 1]

    def values(self) -> list[bytes]:
        """`n value …`"""
        count = arguments.how_many(self.value())
        if self.at + count > len(self._args):
            option, left = self._args[self.at - 2], len(self._args) - self.at
            raise CommandError(f"{shown(option)} announces {count} values, but {left} follow")
        self.at += count
        return self._args[self.at - count : self.at]

    def fields(self, *, needed: bool = True) -> list[bytes]:
        """What comes behind `*`: field, value, …; without it, nothing unless `needed`."""
        rest = self._args[self.at :]
        if not rest and not needed:
            return []
        if len(rest) < 3 or rest[0] != b"*" or not len(rest) & 1:
            raise CommandSyntaxError(
                "pairs of field and value come behind '*' (in a shell, quote it)"
            )
        return rest[1:]

    def unknown(self) -> CommandSyntaxError:
        """The refusal of the word that was read last."""
        word = shown(self._args[self.at - 1])
        return CommandSyntaxError(f"there is no option {word} here")


def page_size(session: Session, value: bytes | None) -> int:
    """COUNT, cut to the largest page; without it 100."""
    most = session.service.configuration.settings.page_entries
    return min(most, 100 if value is None else arguments.count(value))


def paging(session: Session, args: Arguments, at: int) -> tuple[bytes | None, int]:
    """`[AFTER token] [COUNT count]`."""
    options = Options(args, at)
    after = count = None
    while (word := options.word()) is not None:
        if word == b"AFTER":
            after = options.value()
        elif word == b"COUNT":
            count = options.value()
        else:
            raise options.unknown()
    if options.at != len(args):
        raise syntax_error()
    return after, page_size(session, count)


def in_parts(
    session: Session, steps: Steps, draft: Draft, reply: Callable[[], bytes]
) -> bytes | None:
    """Carries out a command that may take several commits, the first of them in `draft`."""
    if not steps.step(draft):
        return reply()
    if session.executing:
        raise UsageError("this takes several commits: call it outside MULTI, or name fewer users")
    service, client = session.service, session.client
    draft.on_commit(lambda: service.carry_on(client, steps.step, reply))
    return None


@write(
    "CONV.CREATE",
    "conversation actor [KIND group|channel] [HISTORY join|all] [BINARY] "
    "[MEMBERS count (user)...] [* (field value)...]",
    "Makes a conversation; the same again answers OK, another under its name EXISTS.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N members",
)
def create(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    options = Options(args, 3)
    kind = kept = 0
    binary = False
    members: list[bytes] = []
    while (word := options.word()) is not None:
        if word == b"KIND":
            kind = _choice(options.value(), CONVERSATION_KINDS[:2])
        elif word == b"HISTORY":
            kept = _choice(options.value(), HISTORIES)
        elif word == b"BINARY":
            binary = True
        elif word == b"MEMBERS":
            members = options.values()
        else:
            raise options.unknown()
    steps = lifecycle.create(
        args[1],
        args[2],
        kind=kind,
        history=kept,
        binary=binary,
        members=members,
        fields=options.fields(needed=False),
        options=messages_of(session).options,
    )
    return in_parts(session, steps, draft, lambda: replies.OK)


def _choice(value: bytes, choices: tuple[str, ...]) -> int:
    names = [name.encode() for name in choices]
    if value.lower() not in names:
        raise CommandError(f"one of {', '.join(choices)} is wanted, not {shown(value)}")
    return names.index(value.lower())


@write(
    "CONV.DIRECT",
    "user user",
    "The id of the conversation of two users, which is made at need.",
    group=_GROUP,
    flags="write fast",
)
def direct(session: Session, args: Arguments, draft: Draft) -> bytes:
    options = messages_of(session).options
    return replies.bulk(lifecycle.direct(draft, args[1], args[2], options))


@read(
    "CONV.INFO",
    "conversation actor",
    "What a conversation is, and the actor's role in it; to who left, as far as he was there.",
    group=_GROUP,
    flags="readonly fast",
)
def info(session: Session, args: Arguments, view: Readable) -> bytes:
    found = lifecycle.describe(view_of(session, view), args[1], args[2])
    place = found.place
    return replies.encode(
        {
            "id": place.name,
            "kind": CONVERSATION_KINDS[place.row.kind],
            "history": HISTORIES[place.row.history],
            "binary": int(bool(place.row.flags & BINARY)),
            "created": place.row.created,
            "members": found.members,
            "head": found.head,
            "diffusion": found.diffusion,
            "role": found.role,
            "meta": {name.decode(): value for name, value in found.metadata.items()},
        },
        session.resp,
    )


@write(
    "CONV.META",
    "conversation actor [* (field value)...]",
    "What describes a conversation, once fields were merged into it, an empty value removing.",
    group=_GROUP,
    flags="write fast",
)
def meta(session: Session, args: Arguments, draft: Draft) -> bytes:
    changes = Options(args, 3).fields()
    found = lifecycle.set_metadata(draft, args[1], args[2], changes)
    return encode_fields(found, session.resp)


@reads("CONV.META", "conversation actor")
def read_meta(session: Session, args: Arguments, view: Readable) -> bytes:
    found = lifecycle.describe(view_of(session, view), args[1], args[2]).metadata
    return encode_fields(found, session.resp)


@write(
    "CONV.DELETE",
    "conversation actor",
    "Deletes a conversation with everything in it.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N members",
)
def delete(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    deletion = lifecycle.Deletion(args[1], args[2])
    return in_parts(session, deletion, draft, lambda: replies.OK)


@write(
    "CONV.JOIN",
    "conversation actor user...",
    "Adds users; how many were no members. Many are several commits: it may be repeated. Who may "
    "be in no more large conversations is named, and nobody is added.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N users",
)
def join(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    steps = bulk.join(args[1], args[2], args[3:], messages_of(session).options)
    return in_parts(session, steps, draft, lambda: replies.integer(steps.changed))


@write(
    "CONV.LEAVE",
    "conversation actor user...",
    "Removes users; how many were members. Many are several commits: it may be repeated.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N users",
)
def leave(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    steps = bulk.leave(args[1], args[2], args[3:], messages_of(session).options)
    return in_parts(session, steps, draft, lambda: replies.integer(steps.changed))


@write(
    "CONV.ROLE",
    "conversation actor user admin|member|reader",
    "Gives a member another role. A reader may not send.",
    group=_GROUP,
    flags="write fast",
)
def role(session: Session, args: Arguments, draft: Draft) -> bytes:
    membership.set_role(draft, args[1], args[2], args[3], args[4])
    return replies.OK


@read(
    "CONV.MEMBERS",
    "conversation actor [AFTER token] [COUNT count]",
    "Members with role and time of joining, admins first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M members returned",
)
def members(session: Session, args: Arguments, view: Readable) -> bytes:
    after, count = paging(session, args, 3)
    found, cursor = membership.members(view_of(session, view), args[1], args[2], after, count)
    listed: list[replies.Value] = [[each.user, ROLES[each.role], each.joined] for each in found]
    return replies.encode({"members": listed, "cursor": cursor}, session.resp)


@write(
    "CONV.SEND",
    "conversation sender [KEY message-key] [MENTIONS count (user)...] [MENTIONALL] [SILENT] "
    "* (field value)...",
    "Sends a message: its number, its time, and stored or duplicate.",
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
    messages = messages_of(session)
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
def history_(session: Session, args: Arguments, view: Readable) -> bytes:
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
        view_of(session, view),
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
    "What happened beside messages: edits, recalls, members, settings.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M events returned",
)
def events(session: Session, args: Arguments, view: Readable) -> bytes:
    after, count = paging(session, args, 3)
    found, cursor = history.events(view_of(session, view), args[1], args[2], after, count)
    pairs = [(b"entries", encode_entries(found)), (b"cursor", replies.bulk(cursor))]
    return encode_map(pairs, session.resp)


@write(
    "CONV.EDIT",
    "conversation seq actor [MENTIONS count (user)...] [MENTIONALL] * (field value)...",
    "Replaces all fields of a message that the actor sent, and whom it mentions.",
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
        messages_of(session).options,
        mentions=mentions,
        mention_all=mention_all,
    )
    return replies.OK


@write(
    "CONV.RECALL",
    "conversation seq actor",
    "Takes a message back: its sender, or an admin; again it does nothing.",
    group=_GROUP,
    flags="write fast",
)
def recall(session: Session, args: Arguments, draft: Draft) -> bytes:
    seq = arguments.message(args[2])
    sending.recall(draft, args[1], seq, args[3], messages_of(session).options)
    return replies.OK


@read(
    "CONV.RECEIPTS",
    "conversation seq actor",
    "Who has read a message, and to whose devices it came.",
    group=_GROUP,
    flags="readonly",
    complexity="O(N) for N members",
)
def receipts(session: Session, args: Arguments, view: Readable) -> bytes:
    was_read, delivered = receipts_of(
        view_of(session, view),
        args[1],
        arguments.message(args[2]),
        args[3],
        messages_of(session).options,
    )
    pairs = [(b"read", replies.bulks(was_read)), (b"delivered", replies.bulks(delivered))]
    return encode_map(pairs, session.resp)
