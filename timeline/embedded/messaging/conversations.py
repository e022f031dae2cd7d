"""Calls about conversations: what they are, who is in them, what is sent to them.

Rule: as in `timeline.embedded.messaging`: arguments in, one verb of `timeline.messaging`, its
result as values of `pages` out.
"""

from __future__ import annotations

from timeline.embedded.calls import arguments
from timeline.embedded.messaging import calls
from timeline.embedded.messaging.calls import DEFAULT_LIMIT, Calls, Ids
from timeline.entry import Entry
from timeline.formats.conversations import BINARY, CONVERSATION_KINDS, HISTORIES, ROLES
from timeline.formats.given import FieldsLike, Value, encode_fields, encode_name
from timeline.messaging.conversations import bulk, lifecycle, membership, sending
from timeline.messaging.conversations.sending import Sent
from timeline.messaging.delivery import history
from timeline.messaging.delivery.receipts import receipts_of
from timeline.messaging.inspection import ConversationFacts, inspect_conversation
from timeline.messaging.pages import ConversationInfo, EventPage, MemberInfo, MemberPage, Receipts


class ConversationCalls(Calls):
    # --- what they are ------------------------------------------------------------------------

    def create(
        self,
        conversation: Value,
        actor: Value = "-",
        *,
        members: Ids = (),
        kind: str = "group",
        history: str = "join",
        binary: bool = False,
        meta: FieldsLike | None = None,
    ) -> None:
        """Make a conversation; the same call again does nothing. Raises `ExistsError`."""
        self._carry_out(
            lifecycle.create(
                encode_name(conversation),
                encode_name(actor),
                kind=arguments.one_of(kind, CONVERSATION_KINDS[:2], "kind"),
                history=arguments.one_of(history, HISTORIES, "history"),
                binary=binary,
                members=calls.ids(members),
                fields=calls.items(meta),
                options=self._options,
            )
        )

    def direct(self, user: Value, other: Value) -> str:
        """The id of two users' conversation, which is made when there is none."""
        one, two = encode_name(user), encode_name(other)
        name = self._engine.commit(lambda draft: lifecycle.direct(draft, one, two, self._options))
        return name.decode()

    def info(self, conversation: Value, actor: Value = "-") -> ConversationInfo:
        """What a conversation is, what describes it, and the actor's role in it. For a user who
        left, it ends where they left it, without the members and metadata of now.
        """
        name, who = encode_name(conversation), encode_name(actor)
        with self._reading():
            found = lifecycle.describe(self.messages.view, name, who)
            about = found.conversation
            return ConversationInfo(
                about.name.decode(),
                CONVERSATION_KINDS[about.row.kind],
                HISTORIES[about.row.history],
                bool(about.row.flags & BINARY),
                about.row.created,
                found.members,
                found.head,
                found.role,
                found.metadata,
            )

    def inspect_conversation(self, conversation: Value) -> ConversationFacts:
        """What a conversation is made of, for whoever runs the store. Raises `NotFoundError`."""
        name = encode_name(conversation)
        with self._reading():
            return inspect_conversation(self.messages.view, name)

    def meta(self, conversation: Value, actor: Value = "-") -> dict[bytes, bytes]:
        """What describes a conversation."""
        return self.info(conversation, actor).meta

    def set_meta(
        self, conversation: Value, actor: Value = "-", fields: FieldsLike = ()
    ) -> dict[bytes, bytes]:
        """Merge fields into what describes a conversation; an empty value removes. All of it."""
        name, who, changes = encode_name(conversation), encode_name(actor), encode_fields(fields)
        return self._engine.commit(lambda draft: lifecycle.set_metadata(draft, name, who, changes))

    def delete(self, conversation: Value, actor: Value = "-") -> None:
        """Delete a conversation with everything in it."""
        self._carry_out(lifecycle.Deletion(encode_name(conversation), encode_name(actor)))

    # --- who is in them -----------------------------------------------------------------------

    def join(self, conversation: Value, actor: Value = "-", users: Ids = ()) -> int:
        """Add users; how many were no members. Many are several commits: call again if it fails."""
        command = bulk.join(
            encode_name(conversation), encode_name(actor), calls.named(users), self._options
        )
        self._carry_out(command)
        return command.changed

    def leave(self, conversation: Value, actor: Value = "-", users: Ids = ()) -> int:
        """Remove users; how many were members."""
        command = bulk.leave(
            encode_name(conversation), encode_name(actor), calls.named(users), self._options
        )
        self._carry_out(command)
        return command.changed

    def set_role(
        self, conversation: Value, actor: Value = "-", user: Value = "", role: Value = ""
    ) -> None:
        """Give a member another role: admin, member or reader. Raises `NotFoundError`."""
        name, who = encode_name(conversation), encode_name(actor)
        whose, given = encode_name(user), encode_name(role)
        self._engine.commit(lambda draft: membership.set_role(draft, name, who, whose, given))

    def members(
        self,
        conversation: Value,
        actor: Value = "-",
        *,
        after: Value = "",
        limit: int = DEFAULT_LIMIT,
    ) -> MemberPage:
        """A page of members, admins first; its cursor, empty at the end, begins the next."""
        name, who, token = encode_name(conversation), encode_name(actor), encode_name(after)
        count = arguments.page(limit)
        with self._reading():
            found, cursor = membership.members(self.messages.view, name, who, token, count)
        return MemberPage(
            [MemberInfo(each.user.decode(), ROLES[each.role], each.joined) for each in found],
            cursor.decode(),
        )

    # --- what is sent to them -----------------------------------------------------------------

    def send(
        self,
        conversation: Value,
        sender: Value,
        fields: FieldsLike,
        *,
        key: Value | None = None,
        mentions: Ids = (),
        mention_all: bool = False,
        silent: bool = False,
    ) -> Sent:
        """Send a message; with `key`, sending it again stores nothing and says `duplicate`.

        Raises `NoPermissionError`, `ConflictError` when the key stored other content.
        """
        name, who, content = encode_name(conversation), encode_name(sender), encode_fields(fields)
        named, once = calls.ids(mentions), None if key is None else encode_name(key)
        return self._engine.commit(
            lambda draft: sending.send(
                draft,
                name,
                who,
                content,
                keys=self.messages.keys,
                options=self._options,
                key=once,
                mentions=named,
                mention_all=bool(mention_all),
                silent=bool(silent),
            )
        )

    def edit(
        self,
        conversation: Value,
        seq: int,
        actor: Value = "-",
        fields: FieldsLike = (),
        *,
        mentions: Ids = (),
        mention_all: bool = False,
    ) -> None:
        """Replace the fields and the mentions of a message; without `mentions` it has none then.
        Raises `NotFoundError` when it was recalled.
        """
        name, who, content = encode_name(conversation), encode_name(actor), encode_fields(fields)
        which, named = arguments.sequence(seq), calls.ids(mentions)
        self._engine.commit(
            lambda draft: sending.edit(
                draft,
                name,
                which,
                who,
                content,
                self._options,
                mentions=named,
                mention_all=bool(mention_all),
            )
        )

    def recall(self, conversation: Value, seq: int, actor: Value = "-") -> None:
        """Take a message back; again it does nothing. Raises `NotFoundError`."""
        name, who, which = encode_name(conversation), encode_name(actor), arguments.sequence(seq)
        self._engine.commit(lambda draft: sending.recall(draft, name, which, who, self._options))

    def history(
        self,
        conversation: Value,
        actor: Value = "-",
        *,
        first: int = 1,
        last: int | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = DEFAULT_LIMIT,
        reverse: bool = False,
    ) -> list[Entry]:
        """What `actor` may see, bounds inclusive; hidden messages never make a page short."""
        name, who, count = encode_name(conversation), encode_name(actor), arguments.page(limit)
        low = arguments.sequence(first, "first")
        high = None if last is None else arguments.sequence(last, "last")
        begin, end = arguments.at(since, "since"), arguments.at(until, "until")
        with self._reading():
            found = history.history(
                self.messages.view,
                name,
                who,
                first=low,
                last=high,
                since=begin,
                until=end,
                count=count,
                reverse=bool(reverse),
            )
        return [Entry(seq, at, payload) for seq, _, at, payload in found]

    def events(
        self,
        conversation: Value,
        actor: Value = "-",
        *,
        after: Value = "",
        limit: int = DEFAULT_LIMIT,
    ) -> EventPage:
        """A page of what happened besides messages; its cursor, empty at the end, begins the next.

        It may hold fewer than `limit`: large events end it sooner.
        """
        name, who, token = encode_name(conversation), encode_name(actor), encode_name(after)
        count = arguments.page(limit)
        with self._reading():
            found, cursor = history.events(self.messages.view, name, who, token, count)
        return EventPage([calls.entry_of(update) for update in found], cursor.decode())

    def receipts(self, conversation: Value, seq: int, actor: Value = "-") -> Receipts:
        """Who has read a message, and to whose devices it came."""
        name, who, which = encode_name(conversation), encode_name(actor), arguments.sequence(seq)
        with self._reading():
            was_read, delivered = receipts_of(self.messages.view, name, which, who, self._options)
        return Receipts([user.decode() for user in was_read], [u.decode() for u in delivered])
