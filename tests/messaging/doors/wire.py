"""The door over the wire: the verbs of `door` as commands to a daemon.

Replies are read in RESP3.
"""

# ruff: noqa: ANN401  replies of redis-py, by protocol

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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
    flat_of,
    pairs_of,
    texts_of,
)
from tests.server.daemon import Daemon


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
            words += ["*", *flat_of(meta)]
        self.do(*words)

    def direct(self, user: str, other: str) -> str:
        return str(self.do("CONV.DIRECT", user, other).decode())

    def info(self, conversation: str, actor: str = "-") -> dict[str, Any]:
        found = self.do("CONV.INFO", conversation, actor)
        known = {name.decode(): value for name, value in found.items()}
        texts = {name: value.decode() for name, value in known.items() if type(value) is bytes}
        return {**known, **texts, "meta": texts_of(known["meta"])}

    def set_meta(self, conversation: str, fields: Fields, actor: str = "-") -> dict[str, str]:
        return texts_of(self.do("CONV.META", conversation, actor, "*", *flat_of(fields)))

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
        seq, _, status = self.do(*words, "*", *flat_of(fields_of(text)))
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
        self.do(*words, "*", *flat_of(fields_of(text)))

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
    ) -> tuple[list[Update], str]:
        words: list[Any] = ["CONV.EVENTS", conversation, actor, "COUNT", limit]
        found = self.do(*words, *(("AFTER", after) if after else ()))
        return [_update(entry) for entry in found[b"entries"]], found[b"cursor"].decode()

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
        rows = [_row(each) for each in found[b"conversations"]]
        return List(rows, found[b"cursor"].decode(), found[b"position"].decode())

    def conversation(self, user: str, conversation: str) -> Row:
        return _row(self.do("USER.CONVERSATION", user, conversation))

    def read(self, user: str, conversation: str, seq: int) -> int:
        return int(self.do("USER.READ", user, conversation, seq))

    def unread(self, user: str, conversation: str | None = None) -> int:
        return int(self.do("USER.UNREAD", user, *(() if conversation is None else (conversation,))))

    def hide(self, user: str, conversation: str, *seqs: int) -> int:
        return int(self.do("USER.HIDE", user, conversation, *seqs))

    def clear(self, user: str, conversation: str, seq: int) -> None:
        self.do("USER.CLEAR", user, conversation, seq)

    def set(self, user: str, conversation: str, fields: Fields) -> None:
        self.do("USER.SET", user, conversation, "*", *flat_of(fields))

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
        self.do("USER.DEVICE", user, device, "*", *flat_of(fields))

    def forget_device(self, user: str, device: str) -> None:
        self.do("USER.FORGET", user, device)

    def set_user_meta(self, user: str, fields: Fields) -> dict[str, str]:
        return texts_of(self.do("USER.META", user, "*", *flat_of(fields)))

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


def _message(entry: Any) -> Message:
    return Message(int(entry[0].split(b"-")[0]), pairs_of(entry[1]))


def _row(each: Any) -> Row:
    return Row(
        each[b"id"].decode(), each[b"kind"].decode(), each[b"role"].decode(),
        each[b"unread"], each[b"mentions"], each[b"head"], each[b"read"],
        texts_of(each[b"settings"]),
        None if each[b"last"] is None else _message(each[b"last"]),
        texts_of(each[b"meta"]), each[b"peer"].decode(), each[b"members"],
    )  # fmt: skip


def _update(entry: Any) -> Update:
    kind, conversation, entry_id, items = entry
    return Update(
        kind.decode(), conversation.decode(), int(entry_id.split(b"-")[0]), pairs_of(items)
    )


def wire_page(found: Any) -> Page:
    """A reply to USER.SYNC in RESP3."""
    return Page(
        [_update(entry) for entry in found[b"entries"]],
        found[b"cursor"].decode(),
        bool(found[b"more"]),
        bool(found[b"resync"]),
    )
