"""Names: what conversations may be called, and to whom a timeline belongs.

Rule: ids of conversations that begin with `@` are the store's: those of direct conversations.
"""

from __future__ import annotations

from hashlib import blake2b

from timeline.errors import UsageError
from timeline.formats.names import CONVERSATIONS, EVENTS, USERS
from timeline.identity import ID_BYTES, check_id


def check_new_conversation(conversation: bytes) -> bytes:
    if conversation[:1] == b"@":
        raise UsageError("ids of conversations that begin with `@` are made by the store")
    return check_id(conversation, "conversation")


def direct_id(one: bytes, other: bytes) -> bytes:
    """The id of the direct conversation of two users, the same from both sides."""
    low, high = sorted((one, other))
    readable = b"@direct:%d:%b:%b" % (len(low), low, high)
    if len(readable) <= ID_BYTES:
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
