"""The embedded door: the verbs of `door` by calls of `db.messaging`."""

# ruff: noqa: ANN401  what the embedded API gives

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import timeline
from tests.engine.adapters import refusals
from tests.messaging.doors.door import (
    Fields,
    List,
    Message,
    Page,
    Row,
    Sent,
    Update,
    fields_of,
    texts_of,
)
from timeline.embedded.messaging import Messaging


class EmbeddedDoor:
    def __init__(self, path: Path, **options: Any) -> None:
        self._path = path
        self._options = options
        self.db = timeline.open(path, **options)

    @property
    def im(self) -> Messaging:
        return self.db.messaging

    def create(
        self,
        conversation: str,
        actor: str = "-",
        members: Sequence[str] = (),
        *,
        kind: str = "group",
        history: str = "join",
        binary: bool = False,
        meta: Fields | None = None,
    ) -> None:
        with refusals():
            self.im.create(
                conversation,
                actor,
                members=members,
                kind=kind,
                history=history,
                binary=binary,
                meta=meta,
            )

    def direct(self, user: str, other: str) -> str:
        with refusals():
            return self.im.direct(user, other)

    def info(self, conversation: str, actor: str = "-") -> dict[str, Any]:
        with refusals():
            found = self.im.info(conversation, actor)
        return {**found._asdict(), "binary": int(found.binary), "meta": texts_of(found.meta)}

    def set_meta(self, conversation: str, fields: Fields, actor: str = "-") -> dict[str, str]:
        with refusals():
            return texts_of(self.im.set_meta(conversation, actor, fields))

    def delete(self, conversation: str, actor: str = "-") -> None:
        with refusals():
            self.im.delete(conversation, actor)

    def join(self, conversation: str, users: Iterable[str], actor: str = "-") -> int:
        with refusals():
            return self.im.join(conversation, actor, list(users))

    def leave(self, conversation: str, users: Iterable[str], actor: str = "-") -> int:
        with refusals():
            return self.im.leave(conversation, actor, list(users))

    def set_role(self, conversation: str, user: str, role: str, actor: str = "-") -> None:
        with refusals():
            self.im.set_role(conversation, actor, user, role)

    def members(
        self, conversation: str, actor: str = "-", after: str = "", limit: int = 100
    ) -> tuple[list[tuple[str, str]], str]:
        with refusals():
            found = self.im.members(conversation, actor, after=after, limit=limit)
        return [(each.user, each.role) for each in found.members], found.cursor

    def send(
        self,
        conversation: str,
        sender: str,
        text: str | Fields,
        *,
        key: str | None = None,
        mentions: Sequence[str] = (),
        mention_all: bool = False,
        silent: bool = False,
    ) -> Sent:
        with refusals():
            found = self.im.send(
                conversation,
                sender,
                fields_of(text),
                key=key,
                mentions=mentions,
                mention_all=mention_all,
                silent=silent,
            )
        return Sent(found.seq, found.status)

    def edit(
        self,
        conversation: str,
        seq: int,
        text: str | Fields,
        actor: str = "-",
        *,
        mentions: Sequence[str] = (),
        mention_all: bool = False,
    ) -> None:
        with refusals():
            self.im.edit(
                conversation,
                seq,
                actor,
                fields_of(text),
                mentions=mentions,
                mention_all=mention_all,
            )

    def recall(self, conversation: str, seq: int, actor: str = "-") -> None:
        with refusals():
            self.im.recall(conversation, seq, actor)

    def history(
        self,
        conversation: str,
        actor: str = "-",
        *,
        first: int = 1,
        last: int | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> list[Message]:
        with refusals():
            found = self.im.history(
                conversation,
                actor,
                first=first,
                last=last,
                since=since,
                until=until,
                limit=limit,
                reverse=reverse,
            )
        return [Message(entry.seq, tuple(entry.fields)) for entry in found]

    def events(
        self, conversation: str, actor: str = "-", after: str = "", limit: int = 100
    ) -> tuple[list[Update], str]:
        with refusals():
            found = self.im.events(conversation, actor, after=after, limit=limit)
        return [_update(each) for each in found.entries], found.cursor

    def receipts(self, conversation: str, seq: int, actor: str = "-") -> tuple[set[str], set[str]]:
        with refusals():
            found = self.im.receipts(conversation, seq, actor)
        return set(found.read), set(found.delivered)

    def sync(self, user: str, device: str, after: str | None = None, limit: int = 100) -> Page:
        with refusals():
            found = self.im.sync(user, device, after=after, limit=limit)
        return Page(
            [_update(each) for each in found.entries], found.cursor, found.more, found.resync
        )

    def ack(self, user: str, device: str, cursor: str) -> None:
        with refusals():
            self.im.ack(user, device, cursor)

    def conversations(self, user: str, after: str = "", limit: int = 100) -> List:
        with refusals():
            found = self.im.conversations(user, after=after, limit=limit)
        return List([_row(each) for each in found.conversations], found.cursor, found.position)

    def conversation(self, user: str, conversation: str) -> Row:
        with refusals():
            return _row(self.im.conversation(user, conversation))

    def read(self, user: str, conversation: str, seq: int) -> int:
        with refusals():
            return self.im.read(user, conversation, seq)

    def unread(self, user: str, conversation: str | None = None) -> int:
        with refusals():
            return self.im.unread(user, conversation)

    def hide(self, user: str, conversation: str, *seqs: int) -> int:
        with refusals():
            return self.im.hide(user, conversation, *seqs)

    def clear(self, user: str, conversation: str, seq: int) -> None:
        with refusals():
            self.im.clear(user, conversation, seq)

    def set(self, user: str, conversation: str, fields: Fields) -> None:
        with refusals():
            self.im.set(user, conversation, fields)

    def devices(self, user: str) -> dict[str, dict[str, Any]]:
        with refusals():
            found = self.im.devices(user)
        return {
            each.device: {"acked": each.acked, "online": int(each.online), **texts_of(each.fields)}
            for each in found
        }

    def set_device(self, user: str, device: str, fields: Fields) -> None:
        with refusals():
            self.im.set_device(user, device, fields)

    def forget_device(self, user: str, device: str) -> None:
        with refusals():
            self.im.forget_device(user, device)

    def set_user_meta(self, user: str, fields: Fields) -> dict[str, str]:
        with refusals():
            return texts_of(self.im.set_user_meta(user, fields))

    def online(self, user: str) -> bool:
        return self.im.online(user)

    def lsn(self) -> int:
        return self.db.engine.applied

    def restart(self) -> None:
        self.db.close()
        self.db = timeline.open(self._path, **self._options)

    def kill(self) -> None:
        """As near as one comes inside one process: no flush, no seal, no goodbye."""
        engine = self.db.engine
        engine._driver.stop()
        with engine.standing_still():
            engine.control.close()
            engine.store.close()
            engine.mark.close()
            engine._lock_file.release()
        self.db = timeline.open(self._path, **self._options)

    def close(self) -> None:
        self.db.close()


def _row(each: Any) -> Row:
    return Row(
        each.id, each.kind, each.role, each.unread, each.mentions, each.head, each.read,
        texts_of(dict(each.settings)),
        None if each.last is None else Message(each.last[0], tuple(each.last[1])),
        texts_of(each.meta), each.peer, each.members,
    )  # fmt: skip


def _update(each: Any) -> Update:
    return Update(each.kind, each.conversation, each.seq, tuple(each.fields))
