"""Arguments of the Python API: whole numbers, times, lists, as Python has them.

Rule: an argument that cannot be meant raises `UsageError`, which names it, before anything is done.
No error of Python's comes out. Names and fields are checked in `entry`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Final

from timeline.errors import NoPermissionError, UsageError
from timeline.formats.given import Value, encode_name
from timeline.formats.keys import MAX

_LATEST: Final = (1 << 63) - 1  # milliseconds since the epoch


def whole(value: int, what: str, low: int | None = None, high: int | None = None) -> int:
    """Raises `UsageError`, as everything here does."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{what} is a whole number, not {_shown(value)}") from None
    if low is not None and number < low:
        raise UsageError(f"{what} is at least {low}, not {number}")
    if high is not None and number > high:
        raise UsageError(f"{what} is at most {high}, not {number}")
    return number


def amount(value: int | None, what: str) -> int | None:
    """How many, how large or how old; None where it is not given."""
    return None if value is None else whole(value, what, 0, MAX)


def sequence(value: int, what: str = "seq") -> int:
    """The number of a message, or a position."""
    return whole(value, what, 0, MAX)


def page(limit: int) -> int:
    """The most that a page holds."""
    return whole(limit, "limit", 1, MAX)


def at(value: int | None, what: str) -> int | None:
    """Milliseconds since the epoch."""
    return None if value is None else whole(value, what, 0, _LATEST)


def seconds(value: object, what: str) -> float:
    """A time to wait."""
    if isinstance(value, (int, float)) and value >= 0:
        return value
    raise UsageError(f"{what} is a number of seconds, 0 or more, not {_shown(value)}")


def text(value: str, what: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{what} is text, not {_shown(value)}")
    return value


def one_of(value: str, choices: Sequence[str], what: str) -> int:
    if value not in choices:
        raise UsageError(f"{what} is {' or '.join(choices)}, not {_shown(value)}")
    return choices.index(value)


def names(values: Iterable[Value], what: str) -> list[bytes]:
    """Several, given as a list."""
    if isinstance(values, (str, bytes)):
        raise UsageError(f"several {what} are given as a list")
    try:
        found = list(values)
    except TypeError:
        raise UsageError(f"{what} are given as a list, not as {_shown(values)}") from None
    return [encode_name(value) for value in found]


def writable(name: bytes) -> bytes:
    """The name of a raw timeline. Raises `NoPermissionError` for one of the store's own."""
    if name.startswith(b"@"):
        raise NoPermissionError("timelines whose name begins with @ are written by the store only")
    return name


def _shown(value: object) -> str:
    return repr(value)[:64]
