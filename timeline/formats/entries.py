r"""An entry as it is stored, which is as it is sent: a RESP array `[id, [field, value, …]]`.

    *2\r\n $4\r\n17-0\r\n *2\r\n $4\r\ntext\r\n $5\r\nhello\r\n      (line breaks added)

Rule: the id is `<seq>-0` and comes first, so that a reply to XADD is a slice of the entry, and a
range of a timeline is a slice of a segment. Fields keep their order and their duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from timeline.errors import CorruptError

ARRAY_OF_TWO = b"*2\r\n"
# For whoever cannot afford a call: % (length of the id, seq, length, field, length, value).
ONE_FIELD = b"*2\r\n$%d\r\n%d-0\r\n*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"


@lru_cache(maxsize=1024)
def _template(items: int) -> bytes:
    return b"*2\r\n$%d\r\n%d-0\r\n*" + b"%d\r\n" % items + b"$%d\r\n%b\r\n" * items


def encode_entry(seq: int, items: Sequence[bytes]) -> bytes:
    """The entry of number `seq` with `items` (field, value, field, value, …)."""
    if len(items) == 2:
        field, value = items
        return ONE_FIELD % (len(str(seq)) + 2, seq, len(field), field, len(value), value)
    arguments: list[bytes | int] = [len(str(seq)) + 2, seq]
    for item in items:
        arguments.append(len(item))
        arguments.append(item)
    return _template(len(items)) % tuple(arguments)


def entry_id(payload: bytes) -> bytes:
    """The id of an encoded entry as a RESP bulk string: `$4` CRLF `17-0` CRLF."""
    return payload[4 : payload.index(b"*", 4)]


def decode_items(payload: bytes) -> list[bytes]:
    """Field, value, field, value, … of an encoded entry. Raises `CorruptError`."""
    try:
        if payload[:5] != b"*2\r\n$":
            raise ValueError
        position = payload.index(b"*", 5)
        end = payload.index(b"\r\n", position)
        items = []
        for _ in range(int(payload[position + 1 : end])):
            start = end + 3
            end = payload.index(b"\r\n", start)
            size = int(payload[start:end])
            start = end + 2
            end = start + size
            items.append(payload[start:end])
        if end + 2 != len(payload):
            raise ValueError
    except ValueError:
        raise CorruptError(f"an entry of {len(payload)} bytes is not in stored form") from None
    return items
