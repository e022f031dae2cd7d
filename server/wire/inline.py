"""Inline commands: a line of words, as a person types it.

Rule: a line is split as a shell would (Redis: sdssplitargs): by blanks, with "…" and its escapes,
and with '…'.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import ProtocolError

_WORD: Final = re.compile(rb"[^\s\"'\0]+")
_ESCAPES: Final = {
    ord("n"): b"\n",
    ord("r"): b"\r",
    ord("t"): b"\t",
    ord("b"): b"\b",
    ord("a"): b"\a",
}
_HEX: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")


def split_inline(line: bytes) -> list[bytes]:
    """The words of a line.

    Raises `ProtocolError` when a quote is not closed or not followed by a blank.
    """
    words: list[bytes] = []
    position = 0
    end = len(line)
    while True:
        while position < end and line[position : position + 1].isspace():
            position += 1
        if position >= end:
            return words
        word = bytearray()
        while position < end and not line[position : position + 1].isspace():
            byte = line[position]
            if byte in b"\"'":
                position = _quoted(line, position, word)
                continue
            match = _WORD.match(line, position)
            if match is None:  # a NUL byte, which ends the line in Redis
                position = end
                break
            word += match.group()
            position = match.end()
        words.append(bytes(word))


def _quoted(line: bytes, position: int, word: bytearray) -> int:
    """Adds the quoted text that opens at `position` to `word`; returns the position after it."""
    quote = line[position]
    position += 1
    end = len(line)
    while position < end:
        byte = line[position]
        if byte == quote:
            position += 1
            if position < end and not line[position : position + 1].isspace():
                break
            return position
        if byte == 0x5C and position + 1 < end:
            if quote == 0x27:
                escaped = line[position + 1] == quote
                word += b"'" if escaped else b"\\"
                position += 2 if escaped else 1
                continue
            match = _HEX.match(line, position)
            if match is not None:
                word.append(int(match.group(1), 16))
                position = match.end()
                continue
            follower = line[position + 1]
            word += _ESCAPES.get(follower, bytes((follower,)))
            position += 2
            continue
        word.append(byte)
        position += 1
    raise ProtocolError("unbalanced quotes in request")
