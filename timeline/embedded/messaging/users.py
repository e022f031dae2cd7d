"""Calls about users: what happened for them, their devices, their own state.

Rule: as in `timeline.embedded.messaging`: arguments in, one verb of `timeline.messaging`, its
result as values of `pages` out. A call that waits is made ready for its own user, and for nothing
else (`devices.waiting`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from timeline.commit.draft import Draft
from timeline.devices import devices
from timeline.devices.updates import Updates
from timeline.embedded.calls import arguments
from timeline.embedded.messaging import calls
from timeline.embedded.messaging.calls import DEFAULT_LIMIT, Calls
from timeline.embedded.messaging.subscription import Devices, Subscription, check_call
from timeline.entry import Fields
from timeline.formats.entries import decode_items, seq_of
from timeline.formats.given import FieldsLike, Value, encode_fields, encode_name
from timeline.identity import check_device
from timeline.messaging.access.access import find_user
from timeline.messaging.conversations import lifecycle, userstate
from timeline.messaging.delivery import syncing
from timeline.messaging.inspection import UserFacts, inspect_user
from timeline.messaging.lists import counting, listing
from timeline.messaging.lists.userlist import Overview
from timeline.messaging.pages import DeviceInfo, Hit, Listed, ListPage, SearchPage, SyncPage, Update
from timeline.messaging.searching import Request


class UserCalls(Calls):
    # --- what happened for them ---------------------------------------------------------------

    def sync(
        self,
        user: Value,
        device: Value,
        *,
        after: Value | None = None,
        limit: int = DEFAULT_LIMIT,
        block: float = 0.0,
    ) -> SyncPage:
        """What happened after a cursor, or after what the device acknowledged.

        With `block` (seconds) it waits for something to happen. `resync` means: list the
        conversations to the end, and sync after the position that the first page gives. Raises
        `NotFoundError`, `UsageError`, and `ClosedError` when the store is closed meanwhile.
        """
        who, name = encode_name(user), encode_name(device)
        cursor = None if after is None else encode_name(after)
        count, seconds = arguments.page(limit), arguments.seconds(block, "block")
        messages, page = self.messages, syncing.Page(Updates(), b"", more=False, resync=False)
        with self._reading():
            inbox = find_user(messages.view, who).id

        def read() -> syncing.Page | None:
            nonlocal cursor, page
            with self._reading():
                page = messages.reader.sync(who, name, cursor, count)
            cursor = page.cursor
            return page if page.found or seconds <= 0 else None

        began, ended = messages.presence.arrive, messages.presence.depart
        messages.waiters.block(
            inbox, read, seconds, began=partial(began, who, name), ended=partial(ended, who, name)
        )
        return _page(page)

    def subscribe(
        self,
        devices: Devices = (),
        *,
        call: Callable[[Update], object] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> Subscription:
        """What happens for any number of devices, as pages of at most `limit` entries. A device is
        `(user, device)`, or `(user, device, cursor)` to begin after a cursor. Iterate over it, or
        give `call`: it is called with each update, one at a time, on the thread of callbacks.
        Raises `NotFoundError`.
        """
        check_call(call)
        return Subscription(self._engine, self.messages, devices, call, arguments.page(limit))

    def ack(self, user: Value, device: Value, cursor: Value) -> None:
        """Say that a device has dealt with everything up to `cursor`; never moves back."""
        who, name, reached = encode_name(user), encode_name(device), encode_name(cursor)

        def work(draft: Draft) -> None:
            position = self.messages.reader.cursors.decode(reached, self._engine.applied)
            inbox = find_user(draft, who).id
            devices.acknowledge(
                draft, inbox, who, name, position, self._options, self.messages.presence
            )

        self._engine.commit(work)

    def search(
        self,
        user: Value,
        query: str,
        *,
        conversation: Value | None = None,
        sender: Value | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 20,
        after: Value = "",
        wait: float = 0.0,
    ) -> SearchPage:
        """Messages that `user` may see, the newest first; `since` and `until` are times in ms.

        With `wait` (seconds), first let the index reach what was committed before this call.
        Raises `IndexLagError` when that takes longer, `UsageError`, `NotFoundError`,
        `NoPermissionError`.
        """
        request = Request(
            encode_name(user),
            arguments.text(query, "query"),
            None if conversation is None else encode_name(conversation),
            None if sender is None else encode_name(sender),
            arguments.at(since, "since"),
            arguments.at(until, "until"),
            arguments.page(limit),
            encode_name(after),
        )
        self.messages.index.catch_up(arguments.seconds(wait, "wait"))
        total, exact, hits, cursor = self.messages.search(request)
        found = [
            Hit(name.decode(), seq_of(payload), Fields(decode_items(payload)), marked)
            for name, payload, marked in hits
        ]
        return SearchPage(total, exact, found, cursor.decode())

    # --- their devices ------------------------------------------------------------------------

    def devices(self, user: Value) -> list[DeviceInfo]:
        """The devices of a user: how far each has come, whether it is online, its fields."""
        who = encode_name(user)
        with self._reading():
            found = devices.devices_of(
                self.messages.view,
                who,
                self._engine.view.now(),
                self._options,
                self.messages.reader.cursors,
            )
        online = self.messages.presence.is_online
        return [
            DeviceInfo(
                each.name.decode(),
                each.acked.decode(),
                each.feeds.decode(),
                online(who, each.name),
                each.seen,
                each.fields,
            )
            for each in found
        ]

    def set_device(self, user: Value, device: Value, fields: FieldsLike) -> None:
        """Merge fields into what is known of a device; an empty value removes."""
        who, name, changes = encode_name(user), encode_name(device), encode_fields(fields)
        check_device(name)

        def work(draft: Draft) -> None:
            inbox = find_user(draft, who).id
            presence = self.messages.presence
            devices.set_device(draft, inbox, who, name, changes, self._options, presence)

        self._engine.commit(work)

    def forget_device(self, user: Value, device: Value) -> None:
        """Forget a device: its positions, also in feeds, and its fields. Raises `NotFoundError`."""
        who, name = encode_name(user), check_device(encode_name(device))

        self._engine.commit(lambda draft: devices.forget_device(draft, who, name, self._options))

    def online(self, user: Value) -> bool:
        """Whether a subscription or a blocked sync of the user is open in this process."""
        return self.messages.presence.is_online(encode_name(user))

    # --- what is their own --------------------------------------------------------------------

    def conversations(
        self, user: Value, *, after: Value = "", limit: int = DEFAULT_LIMIT
    ) -> ListPage:
        """A page of the list, pinned first, then newest; `position` is where to sync from.

        It may hold fewer than `limit`: large last messages end it sooner.
        """
        who, token, count = encode_name(user), encode_name(after), arguments.page(limit)
        messages = self.messages
        with self._reading():
            position = messages.reader.cursors.encode(messages.reader.now)
            found, cursor = listing.conversations(messages.view, messages.lists, who, token, count)
        return ListPage([_listed(each) for each in found], cursor.decode(), position.decode())

    def conversation(self, user: Value, conversation: Value) -> Listed:
        """One conversation as the user's list shows it, also when it is off the list. Raises
        `NoPermissionError`.
        """
        who, name = encode_name(user), encode_name(conversation)
        with self._reading():
            return _listed(listing.conversation(self.messages.view, who, name))

    def inspect_user(
        self, user: Value, *, after: Value = "", limit: int = DEFAULT_LIMIT
    ) -> UserFacts:
        """A user's in-box and devices, and a page of their conversations with the reasons for each
        unread count; for whoever runs the store. Raises `NotFoundError`.
        """
        who, token, count = encode_name(user), encode_name(after), arguments.page(limit)
        with self._reading():
            return inspect_user(self._engine, self.messages, who, token, count)

    def read(self, user: Value, conversation: Value, seq: int) -> int:
        """Move the read position to `seq`, or to the newest message if that is less, and never
        back; where it is then.
        """
        who, name, where = encode_name(user), encode_name(conversation), arguments.sequence(seq)
        return self._engine.commit(lambda draft: userstate.read(draft, who, name, where))

    def unread(self, user: Value, conversation: Value | None = None) -> int:
        """Unread messages of one conversation, or of all on the list that are not muted."""
        who, name = encode_name(user), None if conversation is None else encode_name(conversation)
        with self._reading():
            if name is None:
                return listing.unread_of(self.messages.view, self.messages.lists, who)
            return counting.unread_in(self.messages.view, who, name)

    def hide(self, user: Value, conversation: Value, *seqs: int) -> int:
        """Leave messages out of what the user is shown; how many they had not hidden before."""
        who, name = encode_name(user), encode_name(conversation)
        which = [arguments.sequence(seq) for seq in seqs]
        return self._engine.commit(lambda draft: userstate.hide(draft, who, name, which))

    def clear(self, user: Value, conversation: Value, seq: int) -> None:
        """Show the user nothing up to message `seq` any more."""
        who, name, where = encode_name(user), encode_name(conversation), arguments.sequence(seq)
        self._engine.commit(lambda draft: userstate.clear(draft, who, name, where))

    def set(self, user: Value, conversation: Value, fields: FieldsLike) -> None:
        """Settings: `@pin`, `@mute`, `@listed`, and fields of the application's own."""
        who, name, changes = encode_name(user), encode_name(conversation), encode_fields(fields)
        self._engine.commit(lambda draft: userstate.set_fields(draft, who, name, changes))

    def user_meta(self, user: Value) -> dict[bytes, bytes]:
        """What describes a user. Raises `NotFoundError`."""
        who = encode_name(user)
        with self._reading():
            return self.messages.view.metadata(find_user(self.messages.view, who))

    def set_user_meta(self, user: Value, fields: FieldsLike) -> dict[bytes, bytes]:
        """Merge fields into what describes a user, new or not; an empty value removes. All of it
        then.
        """
        who, changes = encode_name(user), encode_fields(fields)
        pairs = list(zip(changes[::2], changes[1::2], strict=True))
        return self._engine.commit(lambda draft: lifecycle.set_user_metadata(draft, who, pairs))


def _page(page: syncing.Page) -> SyncPage:
    return SyncPage(
        [calls.entry_of(update) for update in page.entries],
        page.cursor.decode(),
        page.more,
        page.resync,
    )


def _listed(each: Overview) -> Listed:
    last = None
    if each.last is not None:
        last = seq_of(each.last), Fields(decode_items(each.last))
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
        dict(each.meta),
        each.peer.decode(),
        each.members,
    )
