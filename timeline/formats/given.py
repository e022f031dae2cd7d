"""Names and fields as an embedder gives them, as bytes.

Rule: text becomes UTF-8, and what is neither text nor bytes is refused, before anything is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from timeline.errors import UsageError

Value = bytes | str
FieldsLike = Mapping[str, Value] | Mapping[bytes, Value] | Iterable[tuple[Value, Value]]


def encode_fields(fields: FieldsLike) -> list[bytes]:
    """Field, value, field, value, … as bytes. Raises `UsageError`."""
    items: list[bytes] = []
    try:
        for field, value in fields.items() if isinstance(fields, (dict, Mapping)) else fields:
            items.append(as_bytes(field))
            items.append(as_bytes(value))
    except (TypeError, ValueError) as error:
        raise UsageError(f"fields are pairs of bytes or str: {error}") from None
    return items


def encode_name(value: object) -> bytes:
    """A name, an id or a key, which is bytes or str, as bytes. Raises `UsageError`."""
    try:
        return as_bytes(value)
    except (TypeError, ValueError) as error:  # the latter for what UTF-8 cannot hold
        raise UsageError(f"a name is bytes or str: {error}") from None


def as_bytes(value: object) -> bytes:
    """Raises `TypeError`."""
    if isinstance(value, str):
        return value.encode()
    if type(value) is bytes:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"bytes or str are wanted, not {type(value).__name__}")
