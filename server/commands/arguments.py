"""Arguments of commands: numbers, ids, bounds, names.

Rule: bytes in, values out, or a refusal, in Redis's words where clients know them. An id is
`<seq>-0`; a bare `<seq>` means the same. A range is a pair of numbers, both inclusive. In-boxes
have ids `<lsn>-<n>`, which `timeline.engine.inboxview` maps to numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from timeline.engine.inboxview import TOP, id_of, last_number, number_of
from timeline.errors import NoPermissionError, UsageError
from timeline.formats.keys import MAX

from ..errors import CommandError, CommandSyntaxError
from ..registry.lookup import shown

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_ID: Final = re.compile(rb"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_INVALID_ID: Final = "Invalid stream ID specified as stream command argument"


def integer(value: bytes, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> int:
    """A signed 64-bit integer. Raises `CommandError` with Redis's sentence."""
    plain = value.isdigit() and value[:1] != b"0" and len(value) < 19  # nearly all are
    if not (plain or _INTEGER.fullmatch(value)) or not low <= (number := int(value)) <= high:
        raise CommandError("value is not an integer or out of range")
    return number


def syntax_error() -> CommandSyntaxError:
    return CommandSyntaxError("syntax error")


def split_id(value: bytes) -> tuple[int, int | None]:
    """(number, second part or None) of an id as a client writes it."""
    match = _ID.fullmatch(value)
    if match is None:
        raise CommandError(_INVALID_ID)
    first, second = match.groups()
    number = int(first)
    rest = None if second is None else int(second)
    if number > MAX or (rest is not None and rest > MAX):
        raise CommandError(_INVALID_ID)
    return number, rest


def exact_id(value: bytes) -> int:
    """The number of `n` or `n-0`, which a client gives for a new entry."""
    number, rest = split_id(value)
    if rest:
        raise CommandError("ids are <seq>-0 here: the second part must be 0, or be left out")
    return number


def new_id(value: bytes) -> int:
    """The same for XADD, where `n-*` leaves the second part open. It is 0 here."""
    return exact_id(value.removesuffix(b"-*") if value[:1].isdigit() else value)


def entry_id(value: bytes) -> int | None:
    """The number of an entry that may exist; None if no entry has the second part."""
    number, rest = split_id(value)
    return None if rest else number


def after_id(value: bytes) -> int:
    """The first number after an id."""
    return min(split_id(value)[0] + 1, MAX)


def range_start(value: bytes) -> int:
    """The first number of a range: an id, or `(` and an id, which is left out."""
    if value.isdigit() and len(value) < 20:  # as most are, without a second part
        return int(value)
    if value[:1] == b"(" and len(value) > 1:
        number, rest = split_id(value[1:])
        if number == rest == MAX:
            raise CommandError("invalid start ID for the interval")
        return min(number + 1, MAX)
    number, rest = split_id(value)
    return min(number + 1, MAX) if rest else number


def range_end(value: bytes) -> int:
    """The last number of a range: an id, or `(` and an id, which is left out. An end without a
    second part means the highest id of its number, so `(5` still takes `5-0`.
    """
    if value.isdigit() and len(value) < 20:  # as most are, without a second part
        return int(value)
    if value[:1] == b"(" and len(value) > 1:
        number, rest = split_id(value[1:])
        if number == rest == 0:
            raise CommandError("invalid end ID for the interval")
        return number - 1 if rest == 0 else number
    return split_id(value)[0]


class Ids(NamedTuple):
    """How ids are read and shown: those of entries, or those of references in in-boxes."""

    start: Callable[[bytes], int]
    end: Callable[[bytes], int]
    after: Callable[[bytes], int]
    show: Callable[[int], bytes]
    top: int


def _reference(value: bytes) -> int:
    lsn, ordinal = split_id(value)
    return number_of(lsn, ordinal or 0)


def _reference_start(value: bytes) -> int:
    return _after_reference(value[1:]) if value[:1] == b"(" else _reference(value)


def _reference_end(value: bytes) -> int:
    if value[:1] == b"(":
        return _reference(value[1:]) - 1
    lsn, ordinal = split_id(value)  # Redis XRANGE: all of `lsn` where the rest is left out
    return last_number(lsn) if ordinal is None else min(number_of(lsn, ordinal), last_number(lsn))


def _after_reference(value: bytes) -> int:
    return _reference(value) + 1


ENTRIES: Final = Ids(range_start, range_end, after_id, lambda seq: b"%d-0" % seq, MAX)
REFERENCES: Final = Ids(_reference_start, _reference_end, _after_reference, id_of, TOP)


def refuse_reserved() -> NoPermissionError:
    return NoPermissionError(
        "names that begin with @ belong to the store: raw commands read them and do not write them"
    )


def writable(name: bytes) -> bytes:
    """A name that raw commands may write."""
    if name[:1] == b"@":
        raise refuse_reserved()
    return name


def count(value: bytes) -> int:
    """COUNT of a page, 1 or more. (Redis's ranges take less too, and then return nothing.)"""
    return _number(value, 1, "after COUNT comes a whole number, 1 or more")


def bound(word: bytes, value: bytes) -> int:
    """The number after an option of a command of our own."""
    return _number(value, 0, f"after {shown(word)} comes a whole number, 0 or more")


def lsn(value: bytes) -> int:
    return _number(value, 0, "an LSN is a whole number, 0 or more")


def moment(value: bytes) -> int:
    """SINCE or UNTIL."""
    return _number(value, 0, "a time is a whole number of milliseconds since 1970")


def how_many(value: bytes) -> int:
    """The number before a list of words."""
    return _number(value, 0, "a list begins with how many follow, as in MENTIONS 2 ann bob")


def message(value: bytes, what: str = "message") -> int:
    """The number of a message or a post, `5` or `5-0`, or a position in its conversation."""
    match = _ID.fullmatch(value)
    if match is None or (number := int(match[1])) > MAX or int(match[2] or 0):
        raise UsageError(f"the number of a {what} is written 5 or 5-0, not {shown(value)}")
    return number


def _number(value: bytes, low: int, sentence: str) -> int:
    try:
        return integer(value, low)
    except CommandError:
        raise UsageError(f"{sentence}, not {shown(value)}") from None


def milliseconds(value: bytes) -> int:
    """A time-out. Raises `CommandError` with Redis's sentences."""
    try:
        number = integer(value)
    except CommandError:
        raise CommandError("timeout is not an integer or out of range") from None
    if number < 0:
        raise CommandError("timeout is negative")
    return number


def text(value: bytes) -> str:
    """UTF-8. Raises `UsageError`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UsageError("this argument must be UTF-8") from None
