"""The Redis request protocol without I/O: bytes in, whole commands out.

Rule: `feed` takes what a socket gave, however it was cut. `next` returns commands that are
complete, some at a time. What is not complete waits inside, bounded by `Limits`. Garbage raises
`ProtocolError` and nothing else, and the parser cannot be used after that.

A call of `next` looks at a bounded number of bytes, so that one client's pipeline keeps nobody
waiting. As long as `unread` is not zero there is more to look at, whatever was returned. Every byte
is looked at one time and copied a bounded number of times, also where bytes come one by one.

There are two readers of the same grammar. `scan` reads whole commands. `_step` reads everything
else item by item, and checks every announced length before it keeps anything.

Sentences of errors are those of Redis (networking.c), which clients know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..errors import ProtocolError
from .inline import split_inline
from .scanner import scan

Request = list[bytes]  # the words of one command

_STAR: Final = 42
_DOLLAR: Final = 36
_PIECE: Final = 32 * 1024  # bytes looked at by one call
_ITEMS: Final = 8 * 1024  # bytes looked at by one call that reads item by item
_STEPS: Final = 256  # commands read one by one by one call
OBJECT_BYTES: Final = 56  # of memory that an argument takes besides its own bytes, about
_COUNT_LINE: Final = 64  # bytes, longer than any line with a length


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may be: number of arguments, and bytes in all, of one argument and of an
    inline line.
    """

    arguments: int = 1024 * 1024
    request_bytes: int = 16 * 1024 * 1024
    argument_bytes: int = 16 * 1024 * 1024
    inline_bytes: int = 64 * 1024


class Parser:
    """Turns the byte stream of one connection into commands."""

    __slots__ = (
        "_data",
        "_items",
        "_later",
        "_missing",
        "_need",
        "_position",
        "_rest",
        "_start",
        "_taken",
        "kept",
        "limits",
        "unread",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # Bytes not looked at yet, `unread` in number: of `_data` from `_position`, then `_later`.
        self._data = b""
        self._position = 0
        self._later = bytearray()
        self.unread = 0
        # An incomplete item: its bytes, how many it takes, and where its payload starts; without
        # such a number it goes on to the end of a line.
        self._rest = bytearray()
        self._need = 0
        self._start = 0
        # An incomplete command: the items that are whole, how many are to come, bytes taken so far.
        self._items: Request = []
        self._missing = 0
        self._taken = 0
        # What these take in memory.
        self.kept = 0

    def feed(self, data: bytes) -> None:
        """Takes bytes that came."""
        if self.unread:
            self._later += data
        else:
            self._data = data
        self.unread += len(data)

    def next(self) -> list[Request]:
        """Returns the next commands of what came; raises `ProtocolError` with those before the
        fault.
        """
        commands: list[Request] = []
        data, begin = self._data, self._position
        try:
            position = self._read(data, begin, commands)
        except ProtocolError as error:
            error.commands = commands
            self.forget()
            raise
        self.unread -= position - begin
        if position < len(data):
            self._position = position
        elif self._later:
            self._data, self._position = bytes(self._later), 0
            self._later = bytearray()
        else:
            self._data, self._position = b"", 0
        if self._rest or self._missing:
            self.kept = len(self._rest) + self._taken + OBJECT_BYTES * len(self._items)
        else:
            self.kept = 0
        return commands

    def forget(self) -> Request:
        """Lets go of all that came. Returns the items of an incomplete command, which may be many
        objects to free.
        """
        items, self._items = self._items, []
        self._data, self._later, self._rest = b"", bytearray(), bytearray()
        self.unread = self.kept = 0
        return items

    def _read(self, data: bytes, position: int, commands: list[Request]) -> int:
        """Reads from `position` on; returns where it stopped."""
        if self._rest:
            return self._complete(data, position, commands)
        if not self._missing:
            limits = self.limits
            found = scan(
                data,
                position,
                min(len(data), position + _PIECE),
                commands,
                limits.arguments,
                limits.request_bytes,
                limits.argument_bytes,
            )
            if found > position:
                return found
        piece = data[position : position + (_ITEMS if self._missing else _PIECE)]
        done = 0
        for _ in range(_STEPS):
            done = self._step(piece, done, commands)
            if done >= len(piece) or piece[done] == _STAR:  # which may be one for `scan`
                break
        return position + done

    def _complete(self, data: bytes, position: int, commands: list[Request]) -> int:
        """Goes on with the incomplete item, and reads nothing beyond it."""
        rest, size = self._rest, len(data) - position
        if self._need:
            size = min(size, self._need - len(rest))
            rest += data[position : position + size]
            if len(rest) == self._need:
                self._rest = bytearray()
                with memoryview(rest) as view:
                    self._add_item(bytes(view[self._start : -2]), len(rest), commands)
            return position + size
        inline = not self._missing and rest[0] != _STAR
        room = (self.limits.inline_bytes if inline else _COUNT_LINE) - len(rest)
        end = data.find(b"\n", position, position + room) + 1
        if end:
            size = end - position
        elif size >= room:
            size = room
        rest += data[position : position + size]
        if end or size == room:
            self._rest = bytearray()
            self._step(bytes(rest), 0, commands)
        return position + size

    def _step(self, data: bytes, position: int, commands: list[Request]) -> int:
        """Reads one command, or as much of it as is there; returns where it stopped."""
        if not self._missing:
            if data[position] != _STAR:
                return self._read_inline(data, position, commands)
            line_end = self._line(data, position, "mbulk")
            if line_end < 0:
                return self._wait(data, position)
            count = self._count(data, position + 1, line_end)
            self._taken = line_end + 2 - position
            position = line_end + 2
            if count <= 0:
                self._taken = 0
                return position
            self._missing = count
        return self._read_items(data, position, commands)

    def _read_items(self, data: bytes, position: int, commands: list[Request]) -> int:
        end = len(data)
        limits = self.limits
        while self._missing:
            if position >= end:
                return end
            if data[position] != _DOLLAR:
                raise ProtocolError(f"expected '$', got {_shown(data[position])}")
            line_end = self._line(data, position, "bulk")
            if line_end < 0:
                return self._wait(data, position)
            length = self._length(data, position + 1, line_end)
            start = line_end + 2
            size = start - position + length + 2
            if self._taken + size > limits.request_bytes:
                raise ProtocolError(
                    f"request above the limit of {limits.request_bytes} bytes (request_bytes)"
                )
            if start + length + 2 > end:
                return self._wait(data, position, size, start - position)
            self._add_item(data[start : start + length], size, commands)
            position = start + length + 2
        return position

    def _add_item(self, item: bytes, size: int, commands: list[Request]) -> None:
        self._items.append(item)
        self._taken += size
        self._missing -= 1
        if not self._missing:
            commands.append(self._items)
            self._items = []
            self._taken = 0

    def _wait(self, data: bytes, position: int, need: int = 0, start: int = 0) -> int:
        """Keeps the incomplete item that begins at `position`."""
        self._rest += data[position:]
        self._need = need
        self._start = start
        return len(data)

    @staticmethod
    def _line(data: bytes, position: int, kind: str) -> int:
        """Where the count line that begins at `position` ends, -1 when it is not whole."""
        line_end = data.find(b"\r\n", position, position + _COUNT_LINE)
        if line_end < 0 and len(data) - position >= _COUNT_LINE:
            raise ProtocolError(f"too big {kind} count string")
        return line_end

    def _count(self, data: bytes, start: int, end: int) -> int:
        count = _integer(data[start:end])
        if count is None or count > self.limits.arguments:
            raise ProtocolError("invalid multibulk length")
        return count

    def _length(self, data: bytes, start: int, end: int) -> int:
        length = _integer(data[start:end])
        if length is None or length < 0 or length > self.limits.argument_bytes:
            raise ProtocolError("invalid bulk length")
        return length

    def _read_inline(self, data: bytes, position: int, commands: list[Request]) -> int:
        line_end = data.find(b"\n", position, position + self.limits.inline_bytes)
        if line_end < 0:
            if len(data) - position >= self.limits.inline_bytes:
                raise ProtocolError("too big inline request")
            return self._wait(data, position)
        stop = (
            line_end - 1
            if data[line_end - 1 : line_end] == b"\r" and line_end > position
            else line_end
        )
        command = split_inline(data[position:stop])
        if command:
            commands.append(command)
        return line_end + 1


def _integer(text: bytes) -> int | None:
    """A decimal integer as Redis's string2ll reads it: no plus, no blanks, no leading zeros; else
    None.
    """
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        return None
    return int(text)


_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]*")


def _shown(byte: int) -> str:
    return f"'{chr(byte)}'" if 32 <= byte < 127 else f"byte {byte:#04x}"
