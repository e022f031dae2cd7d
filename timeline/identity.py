"""Identity: what users and devices may be called.

Rule: ids are 1-255 bytes of UTF-8 without control characters. Those that begin with `@` are
the store's, as is the sender `@system`. `-` is the application itself.
"""

from __future__ import annotations

import re
from typing import Final

from timeline.errors import UsageError

APPLICATION: Final = b"-"
SYSTEM: Final = b"@system"

ID_BYTES: Final = 255
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_id(value: bytes, what: str) -> bytes:
    """`value` if it may be an id. Raises `UsageError`."""
    if not 1 <= len(value) <= ID_BYTES:
        raise UsageError(f"the id of a {what} is 1 to {ID_BYTES} bytes long")
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


def check_device(device: bytes) -> bytes:
    if b":" in device:
        raise UsageError("the id of a device has no colon")
    return check_id(device, "device")
