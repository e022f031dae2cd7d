"""State of conversations and users: keys that begin with `u`, and their rows.

Rule: ids, never names, so that a row outlives a rename and is small. Integers in values are
little-endian, in keys big-endian. Encoders and decoders are pairs; a decoder raises `CorruptError`.
Decoding is pure and bounded by a cache: the same few rows are read over and over.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.memo import Memo
from timeline.formats.stretches import Stretch, decode_stretches, encode_stretches

# Sub-families of `u`: what the second byte of a key says.
CONVERSATION: Final = keys.OWN + b"c"  # conversation → its row
GRAVE: Final = keys.OWN + b"t"  # LSN that notified of a deletion, conversation → its name
FLOOR: Final = keys.OWN + b"f"  # the LSN below which cursors lead nowhere
ROSTER: Final = keys.OWN + b"r"  # conversation, rank, in-box → role and time of joining
MEMBER: Final = keys.OWN + b"m"  # in-box, conversation → what the user has of it
PULLED: Final = keys.OWN + b"p"  # in-box, conversation: read-diffused while the user was in it
PULLED_COUNT: Final = keys.OWN + b"q"  # in-box → how many of those rows it has
SETTINGS: Final = keys.OWN + b"s"  # in-box, conversation → fields of the user's own
DEVICE: Final = keys.OWN + b"d"  # in-box, device → position, last seen, fields
KEY: Final = keys.OWN + b"k"  # generation, conversation, sender, key → what was stored
GENERATION: Final = keys.OWN + b"g"  # the generation of keys now filled
# Sets of message numbers, a row for each 65,536 of them.
UNCOUNTED: Final = keys.OWN + b"x"  # conversation, chunk: recalled or silent
CALLED: Final = keys.OWN + b"a"  # conversation, chunk: mentions everybody
HIDDEN: Final = keys.OWN + b"h"  # in-box, conversation, chunk
MENTIONED: Final = keys.OWN + b"i"  # in-box, conversation, chunk
FAMILIES: Final = (
    CONVERSATION, GRAVE, FLOOR, ROSTER, MEMBER, PULLED, PULLED_COUNT, SETTINGS, DEVICE, KEY,
    GENERATION, UNCOUNTED, CALLED, HIDDEN, MENTIONED,
)  # fmt: skip

CHUNK_BITS: Final = 16

# Kinds of references, and so of the updates that a device gets.
MESSAGE: Final = 1
EDIT: Final = 2
RECALL: Final = 3
JOIN: Final = 4
LEAVE: Final = 5
ROLE: Final = 6
META: Final = 7
READ: Final = 8
HIDE: Final = 9
CLEAR: Final = 10
SET: Final = 11
RECEIPT: Final = 12
DELETE: Final = 13
KINDS: Final = (
    "", "message", "edit", "recall", "join", "leave", "role", "meta", "read", "hide", "clear",
    "set", "receipt", "delete",
)  # fmt: skip

GROUP: Final = 0
CHANNEL: Final = 1
DIRECT: Final = 2
CONVERSATION_KINDS: Final = ("group", "channel", "direct")

# What history a member sees.
WHILE_MEMBER: Final = 0
EVERYTHING: Final = 1
HISTORIES: Final = ("join", "all")

NONE: Final = 0
READER: Final = 1
PLAIN: Final = 2
ADMIN: Final = 3
ROLES: Final = ("none", "reader", "member", "admin")
_RANKS: Final = (2, 1, 1, 0)  # by role, in the roster

# Flags of a conversation.
BINARY: Final = 1
FILLING: Final = 2  # made by a command that has not added all members yet
DYING: Final = 4  # deleted by a command that has not removed all members yet
HAS_UNCOUNTED: Final = 8
HAS_CALLED: Final = 16

# Flags of a member.
PINNED: Final = 1
MUTED: Final = 2
HAS_SETTINGS: Final = 4
HAS_HIDDEN: Final = 8
HAS_MENTIONS: Final = 16

_CONVERSATION: Final = Struct("<BBBQQQQ8s")
_MEMBER: Final = Struct("<BBQQQQ")
_ROSTER: Final = Struct("<BQ")
_GRAVE: Final = Struct("<Q")
_DEVICE: Final = Struct("<BQIQ")
_KEY: Final = Struct("<QQ16s")
_GENERATION: Final = Struct("<QQQ")
_RANKED: Final = Struct(">QBQ")
_THREE: Final = Struct(">QQQ")


class ConversationRow(NamedTuple):
    """`events` is the id of its timeline of events, `digest` that of what it was made with.

    `pulled` are the stretches that are read-diffused; those that ended at or below LSN
    `forgotten` are no longer listed.
    """

    kind: int
    history: int
    flags: int
    members: int
    created: int
    events: int
    forgotten: int
    digest: bytes
    pulled: tuple[Stretch, ...]


class MemberRow(NamedTuple):
    """What a user has of a conversation. `unlisted` is 0, or one above the head at which they took
    it off their list. `spans` are the stretches during which they were a member, the newest last.
    """

    role: int
    flags: int
    joined: int
    read: int
    cleared: int
    unlisted: int
    spans: tuple[Stretch, ...]


# A user who came and went often has a large row, as has a conversation that changed its way of
# diffusion often. Such a row is another one each time, and not worth keeping.
_SMALL_BYTES: Final = 512
_CONVERSATIONS: Final[Memo[ConversationRow]] = Memo(16_384, _SMALL_BYTES)
_MEMBERS: Final[Memo[MemberRow]] = Memo(65_536, _SMALL_BYTES)


class RosterRow(NamedTuple):
    role: int
    joined: int


class GraveRow(NamedTuple):
    """The name of a conversation that was deleted, and when members were notified."""

    time: int
    name: bytes


class DeviceRow(NamedTuple):
    """`known` is 0 until the device acknowledged a position (commit `lsn` wholly, and the first
    `ordinal` entries of the next); `fields` is its own in stored form, or empty.
    """

    known: int
    lsn: int
    ordinal: int
    seen: int
    fields: bytes


class KeyRow(NamedTuple):
    """What an idempotency key stored: number, time, and a digest of the content."""

    seq: int
    time: int
    digest: bytes


class GenerationRow(NamedTuple):
    """The generation of keys now filled, since when, and about how many bytes it holds."""

    number: int
    since: int
    size: int


def _damaged(what: str) -> CorruptError:
    return CorruptError(f"the row of {what} is damaged: run `timeline verify`")


def encode_conversation(row: ConversationRow) -> bytes:
    value = _CONVERSATION.pack(*row[:8]) + encode_stretches(row.pulled)
    _CONVERSATIONS.keep(value, row)
    return value


def decode_conversation(value: bytes) -> ConversationRow:
    found = _CONVERSATIONS.get(value)
    if found is None:
        try:
            parts = _CONVERSATION.unpack_from(value)
            found = ConversationRow._make((*parts, decode_stretches(value[_CONVERSATION.size :])))
        except (StructError, ValueError):
            raise _damaged("a conversation") from None
        _CONVERSATIONS.keep(value, found)
    return found


def encode_member(row: MemberRow) -> bytes:
    value = _MEMBER.pack(*row[:6]) + encode_stretches(row.spans)
    _MEMBERS.keep(value, row)
    return value


def decode_member(value: bytes) -> MemberRow:
    found = _MEMBERS.get(value)
    if found is None:
        try:
            parts = _MEMBER.unpack_from(value)
            found = MemberRow._make((*parts, decode_stretches(value[_MEMBER.size :])))
        except (StructError, ValueError):
            raise _damaged("a member") from None
        _MEMBERS.keep(value, found)
    return found


def having_read(row: MemberRow, seq: int) -> MemberRow:
    """The row with another `read`: each send makes one, and `_replace` costs ten times as much."""
    return tuple.__new__(MemberRow, (*row[:3], seq, *row[4:]))


def encode_roster(row: RosterRow) -> bytes:
    return _ROSTER.pack(*row)


def decode_roster(value: bytes) -> RosterRow:
    try:
        return RosterRow(*_ROSTER.unpack(value))
    except StructError:
        raise _damaged("a member") from None


def encode_grave(row: GraveRow) -> bytes:
    return _GRAVE.pack(row.time) + row.name


def decode_grave(value: bytes) -> GraveRow:
    name = value[_GRAVE.size :]
    if not name:
        raise _damaged("a deleted conversation")
    (time,) = _GRAVE.unpack_from(value)
    return GraveRow(time, name)


def encode_device(row: DeviceRow) -> bytes:
    return _DEVICE.pack(*row[:4]) + row.fields


def decode_device(value: bytes) -> DeviceRow:
    try:
        return DeviceRow._make((*_DEVICE.unpack_from(value), value[_DEVICE.size :]))
    except StructError:
        raise _damaged("a device") from None


def encode_key(row: KeyRow) -> bytes:
    return _KEY.pack(*row)


def decode_key(value: bytes) -> KeyRow:
    try:
        return KeyRow(*_KEY.unpack(value))
    except StructError:
        raise _damaged("an idempotency key") from None


def encode_generation(row: GenerationRow) -> bytes:
    return _GENERATION.pack(*row)


def decode_generation(value: bytes) -> GenerationRow:
    try:
        return GenerationRow(*_GENERATION.unpack(value))
    except StructError:
        raise _damaged("the idempotency keys") from None


def encode_settings(items: Sequence[bytes]) -> bytes:
    """Field, value, …, in the stored form of an entry with number 0."""
    return encode_entry(0, items)


def decode_settings(value: bytes | None) -> dict[bytes, bytes]:
    if not value:
        return {}
    items = decode_items(value)
    return dict(zip(items[::2], items[1::2], strict=True))


# --- keys -----------------------------------------------------------------------------------------


def conversation_key(conversation: int) -> bytes:
    return CONVERSATION + keys.number(conversation)


def member_key(inbox: int, conversation: int) -> bytes:
    return MEMBER + keys.pair(inbox, conversation)


def pulled_key(inbox: int, conversation: int) -> bytes:
    return PULLED + keys.pair(inbox, conversation)


def settings_key(inbox: int, conversation: int) -> bytes:
    return SETTINGS + keys.pair(inbox, conversation)


def roster_key(conversation: int, role: int, inbox: int) -> bytes:
    """Admins come first, so that they are found without a walk over everybody; those who left come
    last.
    """
    return ROSTER + _RANKED.pack(conversation, _RANKS[role], inbox)


def roster_between(conversation: int, *, admins: bool = False) -> tuple[bytes, bytes]:
    """Where the keys of the current members of a conversation, or of its admins, start and stop."""
    stop = _RANKS[READER if admins else NONE]
    return ROSTER + keys.number(conversation), ROSTER + _RANKED.pack(conversation, stop, 0)


def split_roster_key(key: bytes) -> tuple[int, int, int]:
    """(conversation, rank, in-box)."""
    try:
        conversation, rank, inbox = _RANKED.unpack(key[2:])
    except StructError:
        raise _damaged("a member") from None
    return conversation, rank, inbox


def grave_key(lsn: int, conversation: int) -> bytes:
    return GRAVE + keys.pair(lsn, conversation)


def split_grave_key(key: bytes) -> tuple[int, int]:
    """(LSN, conversation)."""
    return keys.split_pair(key[2:])


def device_key(inbox: int, device: bytes) -> bytes:
    return DEVICE + keys.number(inbox) + device


def idempotency_key(generation: int, conversation: int, sender: int, key: bytes) -> bytes:
    return KEY + _THREE.pack(generation, conversation, sender) + key


def chunk_key(family: bytes, *owner_and_chunk: int) -> bytes:
    return family + b"".join([keys.number(part) for part in owner_and_chunk])


def second_id(key: bytes) -> int:
    """The conversation in a key of MEMBER, PULLED or SETTINGS."""
    return keys.split_pair(key[2:])[1]


def between(prefix: bytes) -> tuple[bytes, bytes]:
    """Where the keys that begin with `prefix` start and stop."""
    return prefix, keys.successor(prefix)
