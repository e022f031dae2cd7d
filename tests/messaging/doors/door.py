"""One set of verbs for conversations and users, through both doors: embedded and over the wire.

Rule: as in tests/engine/adapters: an adapter only translates. Ids are text, numbers integers,
fields pairs of bytes, and a refusal is a `Refused` that begins with the code of contract.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

Fields = dict[str, str | bytes]


class Update(NamedTuple):
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
    entries: list[Update]
    cursor: str
    more: bool
    resync: bool


class Message(NamedTuple):
    seq: int
    fields: tuple[tuple[bytes, bytes], ...]

    def own(self) -> dict[str, str]:
        return Update("message", "", self.seq, self.fields).own()

    def stamp(self, name: str) -> list[str]:
        return Update("message", "", self.seq, self.fields).stamp(name)


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
    ) -> tuple[list[Update], str]: ...
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


def fields_of(text: str | Fields) -> Fields:
    return {"text": text} if isinstance(text, str) else text


def texts_of(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def flat_of(fields: Fields) -> list[str | bytes]:
    return [item for pair in fields.items() for item in pair]


def pairs_of(items: Sequence[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(zip(items[::2], items[1::2], strict=True))
