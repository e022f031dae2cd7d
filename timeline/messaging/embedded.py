"""The embedded API of conversations and users: `db.messaging`.

Rule: the verbs of the wire, typed, from any thread. A call that writes returns when its commit is
durable; what would be several commits over the wire is several here. Ids and field values may be
`str` or `bytes`; ids come back as `str`, values as `bytes`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from timeline.draft import Draft
from timeline.engine import Engine
from timeline.entry import Entry, Fields, FieldsLike, Value, encode_fields, encode_name
from timeline.errors import UsageError
from timeline.formats.entries import decode_items
from timeline.formats.messages import CONVERSATION_KINDS, HISTORIES, ROLES
from timeline.messaging import (
    bulk,
    conversations,
    counting,
    devices,
    history,
    listing,
    membership,
    reading,
    sending,
    syncing,
    userlist,
)
from timeline.messaging.access import find_user
from timeline.messaging.names import check_device
from timeline.messaging.pages import (
    ConversationInfo,
    DeviceInfo,
    EventPage,
    Listed,
    ListPage,
    MemberInfo,
    MemberPage,
    Receipts,
    SyncEntry,
    SyncPage,
)
from timeline.messaging.sending import Sent
from timeline.messaging.service import Messages
from timeline.messaging.told import Told

T = TypeVar("T")

Ids = Iterable[Value]
_PAGE = 100


class _Steps(Protocol):
    def step(self, draft: Draft) -> bool: ...


class Messaging:
    def __init__(self, engine: Engine) -> None:
        self.messages = Messages(engine)
        self._engine = engine
        self._options = engine.options

    # --- conversations ------------------------------------------------------------------------

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
        self._steps(
            conversations.create(
                encode_name(conversation),
                encode_name(actor),
                kind=_one_of(kind, CONVERSATION_KINDS[:2], "kind"),
                history=_one_of(history, HISTORIES, "history"),
                binary=binary,
                members=_ids(members),
                fields=_items(meta),
                options=self._options,
            )
        )

    def direct(self, user: Value, other: Value) -> str:
        """The id of two users' conversation, made at need."""
        one, two = encode_name(user), encode_name(other)
        name = self._write(lambda draft: conversations.direct(draft, one, two, self._options))
        return name.decode()

    def info(self, conversation: Value, actor: Value = "-") -> ConversationInfo:
        with self._reading():
            entry, meta = conversations.describe(
                self.messages.view, encode_name(conversation), encode_name(actor)
            )
            place = entry.conversation
            return ConversationInfo(
                place.name.decode(),
                CONVERSATION_KINDS[place.row.kind],
                HISTORIES[place.row.history],
                bool(place.row.flags & 1),
                place.row.created,
                place.row.members,
                self._engine.extent(place.messages).head,
                conversations.role_name(entry),
                meta,
            )

    def set_meta(
        self, conversation: Value, fields: FieldsLike, actor: Value = "-"
    ) -> dict[bytes, bytes]:
        """Merge fields into what describes a conversation, an empty value removing."""
        items = encode_fields(fields)
        return self._write(
            lambda draft: conversations.set_metadata(
                draft, encode_name(conversation), encode_name(actor), items
            )
        )

    def delete(self, conversation: Value, actor: Value = "-") -> None:
        self._steps(conversations.Deletion(encode_name(conversation), encode_name(actor)))

    def join(self, conversation: Value, users: Ids, actor: Value = "-") -> int:
        """Add users; how many were no members. Many are several commits: call again if it fails."""
        command = bulk.join(
            encode_name(conversation), encode_name(actor), _ids(users), self._options
        )
        self._steps(command)
        return command.changed

    def leave(self, conversation: Value, users: Ids, actor: Value = "-") -> int:
        """Remove users; how many were members."""
        command = bulk.leave(
            encode_name(conversation), encode_name(actor), _ids(users), self._options
        )
        self._steps(command)
        return command.changed

    def set_role(self, conversation: Value, user: Value, role: str, actor: Value = "-") -> None:
        self._write(
            lambda draft: membership.set_role(
                draft,
                encode_name(conversation),
                encode_name(actor),
                encode_name(user),
                role.encode(),
            )
        )

    def members(
        self,
        conversation: Value,
        actor: Value = "-",
        *,
        after: Value = "",
        limit: int = _PAGE,
    ) -> MemberPage:
        with self._reading():
            found, cursor = membership.members(
                self.messages.view,
                encode_name(conversation),
                encode_name(actor),
                encode_name(after),
                limit,
            )
        return MemberPage(
            [MemberInfo(each.user.decode(), ROLES[each.role], each.joined) for each in found],
            cursor.decode(),
        )

    # --- messages -----------------------------------------------------------------------------

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
        items = encode_fields(fields)
        named = _ids(mentions)
        return self._write(
            lambda draft: sending.send(
                draft,
                encode_name(conversation),
                encode_name(sender),
                items,
                keys=self.messages.keys,
                options=self._options,
                key=None if key is None else encode_name(key),
                mentions=named,
                mention_all=mention_all,
                silent=silent,
            )
        )

    def edit(self, conversation: Value, seq: int, fields: FieldsLike, actor: Value = "-") -> None:
        """Replace the fields of a message. Raises `NotFoundError` when it was recalled."""
        items = encode_fields(fields)
        self._write(
            lambda draft: sending.edit(
                draft, encode_name(conversation), seq, encode_name(actor), items, self._options
            )
        )

    def recall(self, conversation: Value, seq: int, actor: Value = "-") -> None:
        self._write(
            lambda draft: sending.recall(
                draft, encode_name(conversation), seq, encode_name(actor), self._options
            )
        )

    def history(
        self,
        conversation: Value,
        actor: Value = "-",
        *,
        first: int = 1,
        last: int | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = _PAGE,
        reverse: bool = False,
    ) -> list[Entry]:
        """What `actor` may see, bounds inclusive; hidden messages never make a page short."""
        with self._reading():
            found = history.history(
                self.messages.view,
                encode_name(conversation),
                encode_name(actor),
                first=first,
                last=last,
                since=since,
                until=until,
                count=limit,
                reverse=reverse,
            )
        return [Entry(seq, at, payload) for seq, _, at, payload in found]

    def events(
        self,
        conversation: Value,
        actor: Value = "-",
        *,
        after: Value = "",
        limit: int = _PAGE,
    ) -> EventPage:
        with self._reading():
            found, cursor = history.events(
                self.messages.view,
                encode_name(conversation),
                encode_name(actor),
                encode_name(after),
                limit,
            )
        return EventPage([_entry(told) for told in found], cursor.decode())

    def receipts(self, conversation: Value, seq: int, actor: Value = "-") -> Receipts:
        with self._reading():
            was_read, delivered = reading.receipts(
                self.messages.view,
                encode_name(conversation),
                seq,
                encode_name(actor),
                self._options,
            )
        return Receipts([user.decode() for user in was_read], [u.decode() for u in delivered])

    # --- devices ------------------------------------------------------------------------------

    def sync(
        self,
        user: Value,
        device: Value,
        *,
        after: Value | None = None,
        limit: int = _PAGE,
        block: float = 0.0,
    ) -> SyncPage:
        """What happened behind a cursor, or behind what the device acknowledged.

        With `block` (seconds) it waits for something to happen. `resync` means: list the
        conversations to the end, and sync after the position that the first page gives.
        """
        cursor = None if after is None else encode_name(after)
        deadline = time.monotonic() + block
        engine, messages = self._engine, self.messages
        with engine.woken:
            page = self._sync(user, device, cursor, limit)
            if page.entries or page.resync or page.more or block <= 0:
                return _page(page)
            messages.presence.arrive(encode_name(user), encode_name(device))
            try:
                while (left := deadline - time.monotonic()) > 0 and engine.woken.wait(left):
                    page = self._sync(user, device, page.cursor, limit)
                    if page.entries or page.resync or page.more:
                        break
            finally:
                messages.presence.depart(encode_name(user), encode_name(device))
        return _page(page)

    def _sync(self, user: Value, device: Value, after: bytes | None, limit: int) -> syncing.Page:
        self._engine.check_usable()
        return self.messages.reader.sync(encode_name(user), encode_name(device), after, limit)

    def ack(self, user: Value, device: Value, cursor: Value) -> None:
        """Say that a device has dealt with everything up to `cursor`; never moves back."""

        def work(draft: Draft) -> None:
            position = self.messages.reader.cursors.decode(
                encode_name(cursor), self._engine.applied
            )
            devices.acknowledge(
                draft, encode_name(user), encode_name(device), position, self._options
            )

        self._write(work)

    def devices(self, user: Value) -> list[DeviceInfo]:
        with self._reading():
            found = devices.devices_of(
                self.messages.view,
                encode_name(user),
                self._engine.stage.now(),
                self._options,
                self.messages.reader.cursors,
            )
        online = self.messages.presence.is_online
        return [
            DeviceInfo(
                each.name.decode(),
                each.acked.decode(),
                online(encode_name(user), each.name),
                each.seen,
                each.fields,
            )
            for each in found
        ]

    def set_device(self, user: Value, device: Value, fields: FieldsLike) -> None:
        items = encode_fields(fields)
        self._write(
            lambda draft: devices.set_device(
                draft, encode_name(user), check_device(encode_name(device)), items, self._options
            )
        )

    def forget_device(self, user: Value, device: Value) -> None:
        self._write(
            lambda draft: devices.forget_device(
                draft, encode_name(user), check_device(encode_name(device)), self._options
            )
        )

    def online(self, user: Value) -> bool:
        """Whether a subscription or a blocked sync of the user is open in this process."""
        return self.messages.presence.is_online(encode_name(user))

    # --- what is a user's own -------------------------------------------------------------------

    def conversations(self, user: Value, *, after: Value = "", limit: int = _PAGE) -> ListPage:
        """A page of the list, pinned first, then newest; `position` is where to sync from."""
        with self._reading():
            position = self.messages.reader.cursors.encode(self.messages.reader.now)
            found, cursor = listing.conversations(
                self.messages.view,
                self.messages.lists,
                encode_name(user),
                encode_name(after),
                limit,
            )
        return ListPage([_listed(each) for each in found], cursor.decode(), position.decode())

    def read(self, user: Value, conversation: Value, seq: int) -> int:
        """Move the read position to `seq`, never back; where it is then."""
        return self._write(
            lambda draft: reading.read(draft, encode_name(user), encode_name(conversation), seq)
        )

    def unread(self, user: Value, conversation: Value | None = None) -> int:
        """Of one conversation, or of all that are not muted."""
        with self._reading():
            if conversation is None:
                return listing.unread_of(self.messages.view, self.messages.lists, encode_name(user))
            return counting.unread_in(
                self.messages.view, encode_name(user), encode_name(conversation)
            )

    def hide(self, user: Value, conversation: Value, *seqs: int) -> int:
        return self._write(
            lambda draft: reading.hide(draft, encode_name(user), encode_name(conversation), seqs)
        )

    def clear(self, user: Value, conversation: Value, seq: int) -> None:
        self._write(
            lambda draft: reading.clear(draft, encode_name(user), encode_name(conversation), seq)
        )

    def set(self, user: Value, conversation: Value, fields: FieldsLike) -> None:
        """Settings: `@pin`, `@mute`, `@listed`, and fields of the application's own."""
        items = encode_fields(fields)
        self._write(
            lambda draft: reading.set_fields(
                draft, encode_name(user), encode_name(conversation), items
            )
        )

    def set_user_meta(self, user: Value, fields: FieldsLike) -> dict[bytes, bytes]:
        items = encode_fields(fields)
        pairs = list(zip(items[::2], items[1::2], strict=True))
        return self._write(
            lambda draft: conversations.set_user_metadata(draft, encode_name(user), pairs)
        )

    def user_meta(self, user: Value) -> dict[bytes, bytes]:
        with self._reading():
            return self.messages.view.metadata(find_user(self.messages.view, encode_name(user)))

    # --- commits --------------------------------------------------------------------------------

    def _reading(self) -> _Reading:
        return _Reading(self._engine)

    def _write(self, work: Callable[[Draft], T]) -> T:
        engine = self._engine
        with engine.lock:
            draft = engine.begin()
            result = work(draft)
            group = draft.commit().group
        engine.wait(group)
        return result

    def _steps(self, command: _Steps) -> None:
        while self._write(command.step):
            pass


class _Reading:
    """The engine's lock, on an engine that is open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        self._engine.lock.acquire()
        try:
            self._engine.check_usable()
        except BaseException:
            self._engine.lock.release()
            raise

    def __exit__(self, *exception: object) -> None:
        self._engine.lock.release()


def _ids(values: Ids) -> list[bytes]:
    if isinstance(values, (str, bytes)):
        raise UsageError("several users are given as a list")
    return [encode_name(value) for value in values]


def _items(fields: FieldsLike | None) -> list[bytes]:
    return [] if fields is None else encode_fields(fields)


def _one_of(value: str, choices: Sequence[str], what: str) -> int:
    if value not in choices:
        raise UsageError(f"{what} is {' or '.join(choices)}, not {value!r}")
    return choices.index(value)


def _entry(told: Told) -> SyncEntry:
    return SyncEntry(told.kind, told.conversation.decode(), told.seq, told.fields)


def _page(page: syncing.Page) -> SyncPage:
    return SyncPage(
        [_entry(told) for told in page.entries], page.cursor.decode(), page.more, page.resync
    )


def _listed(each: userlist.Listed) -> Listed:
    last = None
    if each.last is not None:
        last = _seq_of(each.last), Fields(decode_items(each.last))
    return Listed(
        each.id.decode(),
        each.kind,
        each.role,
        each.unread,
        each.mentions,
        each.head,
        each.read,
        each.time,
        Fields(each.settings),
        last,
    )


def _seq_of(payload: bytes) -> int:
    """The number of an entry in stored form."""
    start = payload.index(b"\n", 4) + 1
    return int(payload[start : payload.index(b"-", start)])
