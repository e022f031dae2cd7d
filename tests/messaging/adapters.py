"""One set of verbs for conversations and users, through both doors: embedded and over the wire.

Rule: as in tests/engine/adapters: an adapter only translates. Ids are text, numbers integers,
fields pairs of bytes, and a refusal is a `Refused` that begins with the code of contract.md.
"""

# ruff: noqa: ANN401  replies of redis-py, by protocol

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import timeline
from tests.engine.adapters import Pairs, refusals
from tests.server.daemon import Daemon
from timeline.embedded.messaging import Messaging

Fields = dict[str, str | bytes]


class Told(NamedTuple):
    kind: str
    conversation: str
    seq: int
    fields: tuple[tuple[bytes, bytes], ...]

    def own(self) -> dict[str, str]:
        """The fields of the sender."""
        return {name.decode(): value.decode() for name, value in self.fields if name[:1] != b"@"}

    def stamp(self, name: str) -> list[str]:
        """The values of a field of the store."""
        return [value.decode() for field, value in self.fields if field == name.encode()]


class Page(NamedTuple):
    entries: list[Told]
    cursor: str
    more: bool
    resync: bool


class Message(NamedTuple):
    seq: int
    fields: tuple[tuple[bytes, bytes], ...]

    def own(self) -> dict[str, str]:
        return Told("message", "", self.seq, self.fields).own()

    def stamp(self, name: str) -> list[str]:
        return Told("message", "", self.seq, self.fields).stamp(name)


class Row(NamedTuple):
    """A conversation in a list; `last` is the newest message shown."""

    id: str
    kind: str
    role: str
    unread: int
    mentions: int
    head: int
    read: int
    settings: dict[str, str]
    last: Message | None
    meta: dict[str, str]
    peer: str
    members: int


class List(NamedTuple):
    rows: list[Row]
    cursor: str
    position: str


class Sent(NamedTuple):
    seq: int
    status: str


class Door(Protocol):
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
    ) -> None: ...
    def direct(self, user: str, other: str) -> str: ...
    def info(self, conversation: str, actor: str = "-") -> dict[str, Any]: ...
    def set_meta(self, conversation: str, fields: Fields, actor: str = "-") -> dict[str, str]: ...
    def delete(self, conversation: str, actor: str = "-") -> None: ...
    def join(self, conversation: str, users: Iterable[str], actor: str = "-") -> int: ...
    def leave(self, conversation: str, users: Iterable[str], actor: str = "-") -> int: ...
    def set_role(self, conversation: str, user: str, role: str, actor: str = "-") -> None: ...
    def members(
        self, conversation: str, actor: str = "-", after: str = "", limit: int = 100
    ) -> tuple[list[tuple[str, str]], str]: ...
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
    ) -> Sent: ...
    def edit(
        self,
        conversation: str,
        seq: int,
        text: str | Fields,
        actor: str = "-",
        *,
        mentions: Sequence[str] = (),
        mention_all: bool = False,
    ) -> None: ...
    def recall(self, conversation: str, seq: int, actor: str = "-") -> None: ...
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
    ) -> list[Message]: ...
    def events(
        self, conversation: str, actor: str = "-", after: str = "", limit: int = 100
    ) -> tuple[list[Told], str]: ...
    def receipts(
        self, conversation: str, seq: int, actor: str = "-"
    ) -> tuple[set[str], set[str]]: ...
    def sync(self, user: str, device: str, after: str | None = None, limit: int = 100) -> Page: ...
    def ack(self, user: str, device: str, cursor: str) -> None: ...
    def conversations(self, user: str, after: str = "", limit: int = 100) -> List: ...
    def conversation(self, user: str, conversation: str) -> Row: ...
    def read(self, user: str, conversation: str, seq: int) -> int: ...
    def unread(self, user: str, conversation: str | None = None) -> int: ...
    def hide(self, user: str, conversation: str, *seqs: int) -> int: ...
    def clear(self, user: str, conversation: str, seq: int) -> None: ...
    def set(self, user: str, conversation: str, fields: Fields) -> None: ...
    def devices(self, user: str) -> dict[str, dict[str, Any]]: ...
    def set_device(self, user: str, device: str, fields: Fields) -> None: ...
    def forget_device(self, user: str, device: str) -> None: ...
    def set_user_meta(self, user: str, fields: Fields) -> dict[str, str]: ...
    def online(self, user: str) -> bool: ...
    def lsn(self) -> int:
        """The last commit, so that a test can see that nothing was changed."""

    def restart(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


def _fields(text: str | Fields) -> Fields:
    return {"text": text} if isinstance(text, str) else text


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
        return {**found._asdict(), "binary": int(found.binary), "meta": _texts(found.meta)}

    def set_meta(self, conversation: str, fields: Fields, actor: str = "-") -> dict[str, str]:
        with refusals():
            return _texts(self.im.set_meta(conversation, actor, fields))

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
                _fields(text),
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
                conversation, seq, actor, _fields(text), mentions=mentions, mention_all=mention_all
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
    ) -> tuple[list[Told], str]:
        with refusals():
            found = self.im.events(conversation, actor, after=after, limit=limit)
        return [_told(each) for each in found.entries], found.cursor

    def receipts(self, conversation: str, seq: int, actor: str = "-") -> tuple[set[str], set[str]]:
        with refusals():
            found = self.im.receipts(conversation, seq, actor)
        return set(found.read), set(found.delivered)

    def sync(self, user: str, device: str, after: str | None = None, limit: int = 100) -> Page:
        with refusals():
            found = self.im.sync(user, device, after=after, limit=limit)
        return Page([_told(each) for each in found.entries], found.cursor, found.more, found.resync)

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
            each.device: {"acked": each.acked, "online": int(each.online), **_texts(each.fields)}
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
            return _texts(self.im.set_user_meta(user, fields))

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
        engine._stop_thread()
        with engine.standing_still():
            engine.control.close()
            engine.store.close()
            engine.mark.close()
            engine._lock_file.release()
        self.db = timeline.open(self._path, **self._options)

    def close(self) -> None:
        self.db.close()


class WireDoor:
    """redis-py in RESP3 against a daemon of its own."""

    def __init__(self, path: Path, **options: Any) -> None:
        self._path = path
        self._options = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._start()

    def _start(self) -> None:
        self.daemon = Daemon(self._path, *self._options)
        self.client: Any = self.daemon.client(protocol=3)

    def do(self, *words: Any) -> Any:
        with refusals():
            return self.client.execute_command(*words)

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
        words: list[Any] = ["CONV.CREATE", conversation, actor, "KIND", kind, "HISTORY", history]
        words += ["BINARY"] * binary
        members = list(members)
        words += ["MEMBERS", len(members), *members]
        if meta:
            words += ["*", *_flat(meta)]
        self.do(*words)

    def direct(self, user: str, other: str) -> str:
        return str(self.do("CONV.DIRECT", user, other).decode())

    def info(self, conversation: str, actor: str = "-") -> dict[str, Any]:
        found = self.do("CONV.INFO", conversation, actor)
        known = {name.decode(): value for name, value in found.items()}
        texts = {name: value.decode() for name, value in known.items() if type(value) is bytes}
        return {**known, **texts, "meta": _texts(known["meta"])}

    def set_meta(self, conversation: str, fields: Fields, actor: str = "-") -> dict[str, str]:
        return _texts(self.do("CONV.META", conversation, actor, "*", *_flat(fields)))

    def delete(self, conversation: str, actor: str = "-") -> None:
        self.do("CONV.DELETE", conversation, actor)

    def join(self, conversation: str, users: Iterable[str], actor: str = "-") -> int:
        return int(self.do("CONV.JOIN", conversation, actor, *users))

    def leave(self, conversation: str, users: Iterable[str], actor: str = "-") -> int:
        return int(self.do("CONV.LEAVE", conversation, actor, *users))

    def set_role(self, conversation: str, user: str, role: str, actor: str = "-") -> None:
        self.do("CONV.ROLE", conversation, actor, user, role)

    def members(
        self, conversation: str, actor: str = "-", after: str = "", limit: int = 100
    ) -> tuple[list[tuple[str, str]], str]:
        found = self.do(
            "CONV.MEMBERS",
            conversation,
            actor,
            *(("AFTER", after) if after else ()),
            "COUNT",
            limit,
        )
        listed = [(user.decode(), role.decode()) for user, role, _ in found[b"members"]]
        return listed, found[b"cursor"].decode()

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
        words: list[Any] = ["CONV.SEND", conversation, sender]
        words += [] if key is None else ["KEY", key]
        words += ["MENTIONS", len(mentions), *mentions] if mentions else []
        words += ["MENTIONALL"] * mention_all + ["SILENT"] * silent
        seq, _, status = self.do(*words, "*", *_flat(_fields(text)))
        return Sent(seq, status.decode())

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
        words: list[Any] = ["CONV.EDIT", conversation, seq, actor]
        words += ["MENTIONS", len(mentions), *mentions] if mentions else []
        words += ["MENTIONALL"] * mention_all
        self.do(*words, "*", *_flat(_fields(text)))

    def recall(self, conversation: str, seq: int, actor: str = "-") -> None:
        self.do("CONV.RECALL", conversation, seq, actor)

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
        words: list[Any] = ["CONV.HISTORY", conversation, actor, "FROM", first, "COUNT", limit]
        words += [] if last is None else ["TO", last]
        words += [] if since is None else ["SINCE", since]
        words += [] if until is None else ["UNTIL", until]
        found = self.do(*words, *(["REV"] if reverse else []))
        return [_message(entry) for entry in found]

    def events(
        self, conversation: str, actor: str = "-", after: str = "", limit: int = 100
    ) -> tuple[list[Told], str]:
        words: list[Any] = ["CONV.EVENTS", conversation, actor, "COUNT", limit]
        found = self.do(*words, *(("AFTER", after) if after else ()))
        return [_wire_told(entry) for entry in found[b"entries"]], found[b"cursor"].decode()

    def receipts(self, conversation: str, seq: int, actor: str = "-") -> tuple[set[str], set[str]]:
        found = self.do("CONV.RECEIPTS", conversation, seq, actor)
        return {u.decode() for u in found[b"read"]}, {u.decode() for u in found[b"delivered"]}

    def sync(self, user: str, device: str, after: str | None = None, limit: int = 100) -> Page:
        words: list[Any] = ["USER.SYNC", user, device, "COUNT", limit]
        found = self.do(*words, *(() if after is None else ("AFTER", after)))
        return wire_page(found)

    def ack(self, user: str, device: str, cursor: str) -> None:
        self.do("USER.ACK", user, device, cursor)

    def conversations(self, user: str, after: str = "", limit: int = 100) -> List:
        words: list[Any] = ["USER.CONVERSATIONS", user, "COUNT", limit]
        found = self.do(*words, *(("AFTER", after) if after else ()))
        rows = [_wire_row(each) for each in found[b"conversations"]]
        return List(rows, found[b"cursor"].decode(), found[b"position"].decode())

    def conversation(self, user: str, conversation: str) -> Row:
        return _wire_row(self.do("USER.CONVERSATION", user, conversation))

    def read(self, user: str, conversation: str, seq: int) -> int:
        return int(self.do("USER.READ", user, conversation, seq))

    def unread(self, user: str, conversation: str | None = None) -> int:
        return int(self.do("USER.UNREAD", user, *(() if conversation is None else (conversation,))))

    def hide(self, user: str, conversation: str, *seqs: int) -> int:
        return int(self.do("USER.HIDE", user, conversation, *seqs))

    def clear(self, user: str, conversation: str, seq: int) -> None:
        self.do("USER.CLEAR", user, conversation, seq)

    def set(self, user: str, conversation: str, fields: Fields) -> None:
        self.do("USER.SET", user, conversation, "*", *_flat(fields))

    def devices(self, user: str) -> dict[str, dict[str, Any]]:
        found = {}
        for each in self.do("USER.DEVICES", user):
            known = {
                name.decode(): value.decode() if type(value) is bytes else value
                for name, value in each.items()
            }
            del known["seen"]
            found[known.pop("device")] = known
        return found

    def set_device(self, user: str, device: str, fields: Fields) -> None:
        self.do("USER.DEVICE", user, device, "*", *_flat(fields))

    def forget_device(self, user: str, device: str) -> None:
        self.do("USER.FORGET", user, device)

    def set_user_meta(self, user: str, fields: Fields) -> dict[str, str]:
        return _texts(self.do("USER.META", user, "*", *_flat(fields)))

    def online(self, user: str) -> bool:
        return bool(self.do("USER.ONLINE", user)[0])

    def lsn(self) -> int:
        return int(self.client.info()["lsn"])

    def restart(self) -> None:
        self.client.close()
        assert self.daemon.stop() == 0, self.daemon.log.read_text()
        self._start()

    def kill(self) -> None:
        self.client.close()
        self.daemon.stop(signal.SIGKILL)
        self._start()

    def close(self) -> None:
        self.client.close()
        self.daemon.stop()


def _texts(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def _flat(fields: Fields) -> list[str | bytes]:
    return [item for pair in fields.items() for item in pair]


def _pairs(items: Sequence[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(zip(items[::2], items[1::2], strict=True))


def _message(entry: Any) -> Message:
    return Message(int(entry[0].split(b"-")[0]), _pairs(entry[1]))


def _row(each: Any) -> Row:
    return Row(
        each.id, each.kind, each.role, each.unread, each.mentions, each.head, each.read,
        _texts(dict(each.settings)),
        None if each.last is None else Message(each.last[0], tuple(each.last[1])),
        _texts(each.meta), each.peer, each.members,
    )  # fmt: skip


def _wire_row(each: Any) -> Row:
    return Row(
        each[b"id"].decode(), each[b"kind"].decode(), each[b"role"].decode(),
        each[b"unread"], each[b"mentions"], each[b"head"], each[b"read"],
        _texts(each[b"settings"]),
        None if each[b"last"] is None else _message(each[b"last"]),
        _texts(each[b"meta"]), each[b"peer"].decode(), each[b"members"],
    )  # fmt: skip


def _told(each: Any) -> Told:
    return Told(each.kind, each.conversation, each.seq, tuple(each.fields))


def _wire_told(entry: Any) -> Told:
    kind, conversation, entry_id, items = entry
    return Told(kind.decode(), conversation.decode(), int(entry_id.split(b"-")[0]), _pairs(items))


def wire_page(found: Any) -> Page:
    """A reply to USER.SYNC in RESP3."""
    return Page(
        [_wire_told(entry) for entry in found[b"entries"]],
        found[b"cursor"].decode(),
        bool(found[b"more"]),
        bool(found[b"resync"]),
    )


__all__ = [
    "Door",
    "EmbeddedDoor",
    "List",
    "Message",
    "Page",
    "Pairs",
    "Row",
    "Sent",
    "Told",
    "WireDoor",
]
