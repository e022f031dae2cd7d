"""Encoders of replies, RESP2 and RESP3.

Rule: a reply is bytes, built once. What differs between the versions (maps, nulls, doubles, pushes)
takes `resp`, 2 or 3; everything else is the same in both. Nothing here knows a command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from timeline.errors import TimelineError
from timeline.form import interpreted

OK: Final = b"+OK\r\n"
PONG: Final = b"+PONG\r\n"
QUEUED: Final = b"+QUEUED\r\n"
RESET: Final = b"+RESET\r\n"
EMPTY_ARRAY: Final = b"*0\r\n"
_NIL: Final = b"$-1\r\n"
_NIL_ARRAY: Final = b"*-1\r\n"
_NULL: Final = b"_\r\n"
_MOST: Final = 1 << 63  # the first number that is no integer of RESP
_SMALL: Final = [b":%d\r\n" % number for number in range(1024)]
_HEADERS: Final = [b"*%d\r\n" % items for items in range(1024)]


@interpreted
class Status(str):
    """A simple string: a word of the protocol, not data."""

    __slots__ = ()


@interpreted
class Set(list["Value"]):
    """A set: its own type in RESP3, an array in RESP2."""

    __slots__ = ()


# Whatever `encode` takes: nested as replies are. A dict is a map.
Value = (
    None
    | bool
    | int
    | float
    | bytes
    | str
    | list["Value"]
    | tuple["Value", ...]
    | dict[str, "Value"]
)


def integer(number: int) -> bytes:
    """An integer. One beyond RESP's 64 bits, which an older store may have given out, is a
    string.
    """
    if 0 <= number < 1024:
        return _SMALL[number]
    return b":%d\r\n" % number if -_MOST <= number < _MOST else bulk(b"%d" % number)


def array_header(items: int) -> bytes:
    """Opens an array of `items` replies."""
    return _HEADERS[items] if items < 1024 else b"*%d\r\n" % items


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def nil(resp: int) -> bytes:
    return _NULL if resp == 3 else _NIL


def nil_array(resp: int) -> bytes:
    return _NULL if resp == 3 else _NIL_ARRAY


def bulks(values: Sequence[bytes]) -> bytes:
    """An array of bulk strings."""
    return b"*%d\r\n" % len(values) + b"".join([bulk(value) for value in values])


def array(parts: Sequence[bytes]) -> bytes:
    """An array of replies that are encoded already."""
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def map_header(pairs: int, resp: int) -> bytes:
    return b"%%%d\r\n" % pairs if resp == 3 else b"*%d\r\n" % (2 * pairs)


def push_header(items: int, resp: int) -> bytes:
    """Opens a message that nobody asked for: its own type in RESP3, an array in RESP2."""
    return b">%d\r\n" % items if resp == 3 else b"*%d\r\n" % items


def error(problem: TimelineError) -> bytes:
    """An error reply: its first word, then a sentence on one line."""
    text = " ".join(str(problem).split())
    return f"-{problem.code} {text}\r\n".encode("utf-8", "backslashreplace")


def encode(value: Value, resp: int) -> bytes:
    """Any nested value: for replies that are not on the hot path."""
    parts: list[bytes] = []
    _encode(value, resp, parts.append)
    return b"".join(parts)


def _encode(value: Value, resp: int, add: Callable[[bytes], object]) -> None:
    if value is None:
        add(nil(resp))
    elif isinstance(value, bool):
        add((b"#t\r\n" if value else b"#f\r\n") if resp == 3 else integer(int(value)))
    elif isinstance(value, int):
        add(integer(value))
    elif isinstance(value, bytes):
        add(bulk(value))
    elif isinstance(value, Status):
        add(f"+{value}\r\n".encode())
    elif isinstance(value, str):
        add(bulk(value.encode()))
    elif isinstance(value, float):
        text = f"{value:.17g}".encode()
        add(b",%b\r\n" % text if resp == 3 else bulk(text))
    elif isinstance(value, dict):
        add(map_header(len(value), resp))
        pairs: Iterable[tuple[str | bytes, Value]] = value.items()  # metadata has names in bytes
        for name, item in pairs:
            _encode(name, resp, add)
            _encode(item, resp, add)
    else:
        add(b"%b%d\r\n" % (b"~" if resp == 3 and isinstance(value, Set) else b"*", len(value)))
        for item in value:
            _encode(item, resp, add)
