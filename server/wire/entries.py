"""What devices are told, and entries, as they go to a socket.

Rule: fields are stored as they are sent, so an update is its kind, its conversation or author
and a slice of what the store holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timeline.devices.updates import Update, Updates
from timeline.formats.kinds import UPDATES

from . import replies

_KINDS: Final = [replies.bulk(kind.encode()) for kind in UPDATES]
_ENTRY: Final = len(b"*2\r\n")  # what a stored entry begins with


def encode_update(update: Update) -> bytes:
    """`kind, conv, id, [field, value, …]`, without the header of an array."""
    return _KINDS[update.kind_number] + replies.bulk(update.source) + update.payload[_ENTRY:]


def encode_entries(updates: Updates) -> bytes:
    """An array of `[kind, conv, id, [field, value, …]]`."""
    parts = [replies.array_header(len(updates))]
    beginnings: list[dict[bytes, bytes]] = [{} for _ in UPDATES]  # of each kind and source
    names, payloads = updates.sources, updates.payloads
    for at, kind in enumerate(updates.kinds):
        name = names[at]
        beginning = beginnings[kind].get(name)
        if beginning is None:
            beginning = beginnings[kind][name] = b"*4\r\n" + _KINDS[kind] + replies.bulk(name)
        parts.append(beginning)
        parts.append(payloads[at][_ENTRY:])
    return b"".join(parts)


def encode_stored(payload: bytes) -> bytes:
    """`id, [field, value, …]` of a stored entry, without the header of an array."""
    return payload[_ENTRY:]


def encode_map(pairs: Sequence[tuple[bytes, bytes]], resp: int) -> bytes:
    """A map of names to replies that are encoded already."""
    return replies.map_header(len(pairs), resp) + b"".join(
        [replies.bulk(name) + value for name, value in pairs]
    )


def encode_fields(fields: dict[bytes, bytes], resp: int) -> bytes:
    """A map of fields to values."""
    return encode_map([(name, replies.bulk(value)) for name, value in fields.items()], resp)
