"""Whole commands, as clients write them: the one loop over the bytes of every request.

Rule: it takes only what `Parser` would take, and keeps nothing. At the first command that is not
whole, is a line of words, or is not allowed, it stops. The parser's own reader goes on from there:
it waits, or says what is wrong.

Compiled, its numbers are those of the machine, and a byte costs a few instructions. So it is
written byte by byte, although that is slow where it is interpreted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

_STAR: Final = 42
_DOLLAR: Final = 36
_ZERO: Final = 48
_NINE: Final = 57
_CR: Final = 13
_LF: Final = 10
_NONE: Final = -1  # in place of a number
_SHORTEST: Final = len(b"$0\r\n\r\n")


def scan(
    data: bytes,
    start: i64,
    end: i64,
    commands: list[list[bytes]],
    most_words: i64,
    most_bytes: i64,
    most_of_word: i64,
) -> i64:
    """Reads the commands of `data` that lie whole between `start` and `end` into `commands`, and
    returns where it stopped. None has more than so many words, bytes, or bytes in a word.
    """
    place = at = start
    count: i64
    size: i64
    while place < end and data[place] == _STAR:
        count, at = _number(data, place + 1, end, most_words)
        if count < 1 or _SHORTEST * count > end - at:
            return place
        words: list[bytes] = [b""] * count
        index: i64 = 0
        while index < count:
            if at >= end or data[at] != _DOLLAR:
                return place
            size, at = _number(data, at + 1, end, most_of_word)
            stop = at + size + 2
            if size < 0 or stop > end or stop - place > most_bytes:
                return place
            words[index] = data[at : at + size]
            at = stop
            index += 1
        commands.append(words)
        place = at
    return place


def _number(data: bytes, at: i64, end: i64, most: i64) -> tuple[i64, i64]:
    """The number of the line at `at`, and where the next line begins. -1 for one that is not whole,
    not written in the shortest way, or above `most`.
    """
    number: i64 = _NONE
    while at < end:
        byte: i64 = data[at]
        at += 1
        if _ZERO <= byte <= _NINE:
            if number == 0:
                return _NONE, at
            number = byte - _ZERO if number < 0 else 10 * number + byte - _ZERO
            if number > most:
                return _NONE, at
        elif byte == _CR and at < end and data[at] == _LF:
            return number, at + 1
        else:
            break
    return _NONE, at
