"""CONV.*: conversations, and who is in them.

Rule: arguments in, one verb of `timeline.messaging`, its result out. `actor` is a user or `-`, the
application itself.
"""

from __future__ import annotations

from collections.abc import Callable

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import UsageError
from timeline.formats.conversations import BINARY, CONVERSATION_KINDS, HISTORIES, ROLES
from timeline.messaging.conversations import bulk, lifecycle, membership
from timeline.messaging.conversations.multicommit import MultiCommit

from ...errors import CommandError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.session import Session
from ...wire import replies
from ...wire.entries import encode_fields
from ..declaring import read, reads, write
from ..options import Options, paging

_GROUP = "conversation"


def in_parts(
    session: Session, steps: MultiCommit, draft: Draft, reply: Callable[[], bytes]
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
    "Makes a conversation. The same command again answers OK; other settings under its "
    "name answer EXISTS.",
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
        options=session.service.messages.options,
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
    "Answers the id of the conversation of two users, and makes it if it is not there.",
    group=_GROUP,
    flags="write fast",
)
def direct(session: Session, args: Arguments, draft: Draft) -> bytes:
    options = session.service.messages.options
    return replies.bulk(lifecycle.direct(draft, args[1], args[2], options))


@read(
    "CONV.INFO",
    "conversation actor",
    "What a conversation is, and the actor's role in it. A user who left sees it where "
    "they left it.",
    group=_GROUP,
    flags="readonly fast",
)
def info(session: Session, args: Arguments, view: View) -> bytes:
    found = lifecycle.describe(view, args[1], args[2])
    about = found.conversation
    return replies.encode(
        {
            "id": about.name,
            "kind": CONVERSATION_KINDS[about.row.kind],
            "history": HISTORIES[about.row.history],
            "binary": int(bool(about.row.flags & BINARY)),
            "created": about.row.created,
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
    "Merges fields into what describes a conversation, and answers all of them. An empty "
    "value removes a field.",
    group=_GROUP,
    flags="write fast",
)
def meta(session: Session, args: Arguments, draft: Draft) -> bytes:
    changes = Options(args, 3).fields()
    found = lifecycle.set_metadata(draft, args[1], args[2], changes)
    return encode_fields(found, session.resp)


@reads("CONV.META", "conversation actor")
def read_meta(session: Session, args: Arguments, view: View) -> bytes:
    found = lifecycle.describe(view, args[1], args[2]).metadata
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
    "Adds users and answers how many were no members. Many users take several commits; it "
    "is safe to send the command again. If a user is in too many large conversations "
    "already, nobody is added, and the refusal names the user.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N users",
)
def join(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    steps = bulk.join(args[1], args[2], args[3:], session.service.messages.options)
    return in_parts(session, steps, draft, lambda: replies.integer(steps.changed))


@write(
    "CONV.LEAVE",
    "conversation actor user...",
    "Removes users and answers how many were members. Many users take several commits; it "
    "is safe to send the command again.",
    group=_GROUP,
    flags="write",
    complexity="O(N) for N users",
)
def leave(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    steps = bulk.leave(args[1], args[2], args[3:], session.service.messages.options)
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
    "Members with their roles and when they joined, admins first, a page at a time.",
    group=_GROUP,
    flags="readonly",
    complexity="O(M) for M members returned",
)
def members(session: Session, args: Arguments, view: View) -> bytes:
    after, count = paging(session, args, 3)
    found, cursor = membership.members(view, args[1], args[2], after, count)
    listed: list[replies.Value] = [[each.user, ROLES[each.role], each.joined] for each in found]
    return replies.encode({"members": listed, "cursor": cursor}, session.resp)
