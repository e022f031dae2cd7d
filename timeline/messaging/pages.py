"""Pages: what the Python API gives back. Updates, members, lists, hits, receipts, devices.

Rule: values only. Ids are `str`, fields as the store keeps them. A page says where the next begins.
"""

from __future__ import annotations

from typing import NamedTuple

from timeline.entry import Fields


class SyncEntry(NamedTuple):
    """What a device is told: the kind, the conversation, the message or position."""

    kind: str
    conversation: str
    seq: int
    fields: Fields

    @property
    def id(self) -> str:
        return f"{self.seq}-0"

    def text(self, name: str, default: str | None = None) -> str:
        """The value of field `name` as text; where there is none `default`, if one is given. Raises
        `KeyError`, or `UnicodeDecodeError`.
        """
        return self.fields.text(name, default)


class SyncPage(NamedTuple):
    entries: list[SyncEntry]
    cursor: str
    more: bool
    resync: bool


class Update(NamedTuple):
    """What a subscription hands over: a page as `sync` gives it, and for which device."""

    user: str
    device: str
    page: SyncPage


class EventPage(NamedTuple):
    entries: list[SyncEntry]
    cursor: str


class ConversationInfo(NamedTuple):
    id: str
    kind: str
    history: str
    binary: bool
    created: int
    members: int
    head: int
    role: str
    meta: dict[bytes, bytes]


class MemberInfo(NamedTuple):
    user: str
    role: str
    joined: int


class MemberPage(NamedTuple):
    members: list[MemberInfo]
    cursor: str


class Listed(NamedTuple):
    """One conversation of a user's list; `last` is the newest message they are shown, `peer` the
    other user of a direct conversation. For a user who left, `members` is 0 and `meta` empty.
    """

    id: str
    kind: str
    role: str
    unread: int
    mentions: int
    head: int
    read: int
    time: int
    settings: Fields
    last: tuple[int, Fields] | None
    meta: dict[bytes, bytes]
    peer: str
    members: int


class ListPage(NamedTuple):
    conversations: list[Listed]
    cursor: str
    position: str


class Hit(NamedTuple):
    """A message that was found; `snippet` is HTML, with the matches between `<b>` and `</b>`."""

    conversation: str
    seq: int
    fields: Fields
    snippet: str

    def text(self, name: str, default: str | None = None) -> str:
        """The value of field `name` as text; where there is none `default`, if one is given. Raises
        `KeyError`, or `UnicodeDecodeError`.
        """
        return self.fields.text(name, default)


class SearchPage(NamedTuple):
    """`total` hits in all when `exact`, else at least so many; `cursor` is empty at the end."""

    total: int
    exact: bool
    hits: list[Hit]
    cursor: str


class Receipts(NamedTuple):
    read: list[str]
    delivered: list[str]


class DeviceInfo(NamedTuple):
    """`acked` is how far it has come in conversations, `feeds` in feeds."""

    device: str
    acked: str
    feeds: str
    online: bool
    seen: int
    fields: dict[bytes, bytes]
