"""Names: what users, conversations and devices may be called, and to whom a timeline belongs.

Rule: ids are 1-255 bytes of UTF-8 without control characters. Those that begin with `@` are
the store's: direct conversations, and the sender `@system`. `-` is the application itself.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

from timeline.errors import UsageError
from timeline.formats.names import CONVERSATIONS, EVENTS, USERS

APPLICATION: Final = b"-"
SYSTEM: Final = b"@system"

_ID_BYTES: Final = 255
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_id(value: bytes, what: str) -> bytes:
    """`value` if it may be an id. Raises `UsageError`."""
    if not 1 <= len(value) <= _ID_BYTES:
        raise UsageError(f"the id of a {what} is 1 to {_ID_BYTES} bytes long")
    if value.isalnum():  # ASCII letters and digits: nearly all are
        return value
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise UsageError(f"the id of a {what} must be UTF-8") from None
    if _CONTROLS.search(text):
        raise UsageError(f"the id of a {what} may not hold control characters")
    return value


def check_user(user: bytes) -> bytes:
    """Raises `UsageError` unless `user` may name a user."""
    if user == APPLICATION or user[:1] == b"@":
        raise UsageError("the id of a user may neither be `-` nor begin with `@`")
    return check_id(user, "user")


def check_actor(actor: bytes) -> bytes:
    return actor if actor == APPLICATION else check_user(actor)


def check_new_conversation(conversation: bytes) -> bytes:
    if conversation[:1] == b"@":
        raise UsageError("ids of conversations that begin with `@` are made by the store")
    return check_id(conversation, "conversation")


def check_device(device: bytes) -> bytes:
    if b":" in device:
        raise UsageError("the id of a device has no colon")
    return check_id(device, "device")


def direct_id(one: bytes, other: bytes) -> bytes:
    """The id of the direct conversation of two users, the same from both sides."""
    low, high = sorted((one, other))
    readable = b"@direct:%d:%b:%b" % (len(low), low, high)
    if len(readable) <= _ID_BYTES:
        return readable
    return b"@direct:" + blake2b(readable, digest_size=32).hexdigest().encode()


def peer_in(direct: bytes, user: bytes) -> bytes | None:
    """The other user of a direct conversation; None where its id does not say."""
    size, colon, users = direct.removeprefix(b"@direct:").partition(b":")
    if not colon:
        return None
    low, high = users[: int(size)], users[int(size) + 1 :]
    return high if user == low else low


def conversation_of(timeline_name: bytes) -> bytes:
    """The id of the conversation whose messages or events lie in a timeline of this name."""
    prefix = CONVERSATIONS if timeline_name.startswith(CONVERSATIONS) else EVENTS
    return timeline_name[len(prefix) :]


def user_of(timeline_name: bytes) -> bytes:
    return timeline_name[len(USERS) :]
