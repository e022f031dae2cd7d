"""The Redis request protocol without I/O: bytes in, whole commands out.

Rule: `feed` takes what a socket gave, however it was cut. `next` returns commands that are
complete, some at a time. What is not complete waits inside, bounded by `Limits`. Garbage raises
`ProtocolError` and nothing else, and the parser cannot be used after that.

A call of `next` looks at a bounded number of bytes, so that one client's pipeline keeps nobody
waiting. As long as `unread` is not zero there is more to look at, whatever was returned. Every byte
is looked at one time and copied a bounded number of times, also where bytes come one by one.

There are two readers of the same grammar. Whole pipelines go through hiredis, which is fast. It was
made for replies: it takes types that no request may have, allocates an announced array before its
items are there, and does not say where it stopped. So it is only given bytes that begin at a
command and announce no large array. A sentinel follows them, which comes back exactly when the
bytes end at a command. Otherwise its answer is dropped, and `_step` reads the same bytes item by
item and checks every announced length first.

Sentences of errors are those of Redis (networking.c), which clients know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import hiredis

from ..errors import ProtocolError
from .inline import split_inline

Request = list[bytes]  # the words of one command

_STAR, _DOLLAR, _TILDE, _ANGLE, _BAR = b"*$~>|"
_SENTINEL = b":1\r\n"
_PIECE = 32 * 1024  # bytes looked at by one call; hiredis moves its whole buffer at each kibibyte
_ITEMS = 8 * 1024  # bytes looked at by one call that reads item by item
_STEPS = 256  # commands read by one call without hiredis
_TRIES = 4  # to find the beginning of a command
OBJECT_BYTES = 56  # of memory that an argument takes besides its own bytes, about
_COUNT_LINE = 64  # bytes, longer than any line with a length
_LARGE_ARRAY = re.compile(rb"\*\d{5}")
_LARGE = 10_000  # items: the smallest count that `_LARGE_ARRAY` matches
_OTHER_AGGREGATE = re.compile(rb"\n[~>|%]")


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
        "_reader",
        "_rest",
        "_start",
        "_taken",
        "_trusts",
        "kept",
        "limits",
        "unread",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # How many bytes hiredis may see in one go: as many as break no limit, whatever they are.
        self._trusts = (
            min(limits.argument_bytes, limits.request_bytes) if limits.arguments >= _LARGE else -1
        )
        self._reader = hiredis.Reader()
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
            if begin or self.kept or len(data) > _PIECE:
                position = self._read_piece(data, begin, commands)
            elif data[0] == _STAR:  # as it mostly is
                position = self._read_fast(data, commands)
                if position == self.unread:
                    self._data, self.unread = b"", 0
                    return commands
                position = self._read_steps(data, position, commands)
            else:
                position = self._read_steps(data, 0, commands)
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

    def _read_piece(self, data: bytes, position: int, commands: list[Request]) -> int:
        """Reads from `position` on; returns where it stopped."""
        if self._rest:
            return self._complete(data, position, commands)
        end = position + (_ITEMS if self._missing else _PIECE)
        if end < len(data):
            end = _boundary(data, position, end)
        return position + self._read(data[position:end], commands)

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

    def _read(self, data: bytes, commands: list[Request]) -> int:
        """Reads what `data` begins with; returns how many bytes of it."""
        position, end = 0, len(data)
        if self._missing:
            position = self._step(data, 0, commands)
        if position < end and data[position] == _STAR:
            position += self._read_fast(data[position:] if position else data, commands)
        return self._read_steps(data, position, commands)

    def _read_steps(self, data: bytes, position: int, commands: list[Request]) -> int:
        """Reads from `position` on without hiredis; returns where it stopped."""
        for _ in range(_STEPS):
            if position >= len(data):
                break
            position = self._step(data, position, commands)
        return position

    def _read_fast(self, data: bytes, commands: list[Request]) -> int:
        """Reads the whole commands that `data` begins with; returns how many bytes they take.

        Zero means that nothing was read. Either hiredis may not see these bytes, since a limit
        could be broken unseen, or memory taken before it is needed. Or it met what it takes and
        Redis does not, or the reverse.
        """
        if (
            len(data) > self._trusts
            or _LARGE_ARRAY.search(data) is not None
            # Tested as integers: `bytes in bytes` costs a raised and dropped exception.
            or (
                (_TILDE in data or _ANGLE in data or _BAR in data)
                and _OTHER_AGGREGATE.search(data) is not None
            )
        ):
            return 0
        reader = self._reader
        gets = reader.gets
        found: list[Request] = []
        add = found.append
        try:
            reader.feed(data)
            reader.feed(_SENTINEL)
            reply = gets()
            while type(reply) is list:
                add(reply)
                reply = gets()
            # Joining is the cheapest way to see that every argument is bytes.
            if len(found) == 1:
                b"".join(found[0])
            else:
                _exhaust(map(b"".join, found))
        except (hiredis.ProtocolError, TypeError, MemoryError):
            self._reader = hiredis.Reader()
            return 0
        if type(reply) is int and reply == 1 and not reader.has_data():
            commands += found if all(found) else [command for command in found if command]
            return len(data)
        self._reader = hiredis.Reader()
        if reply is not False:
            return 0
        return self._whole(found, len(data), commands)

    @staticmethod
    def _whole(found: list[Request], end: int, commands: list[Request]) -> int:
        """Keeps those of `found` that lie within `end` bytes (the sentinel may have completed one
        more).
        """
        position = 0
        for command in found:
            size = 3 + len(str(len(command)))
            for argument in command:
                length = len(argument)
                size += 5 + len(str(length)) + length
            if position + size > end:
                break
            position += size
            if command:
                commands.append(command)
        return position

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


def _boundary(data: bytes, position: int, end: int) -> int:
    """Where a command seems to begin before `end`, so that mostly none is cut."""
    cut = end
    for _ in range(_TRIES):
        cut = data.rfind(b"\r\n*", position, cut)
        if cut < 0:
            break
        if data[cut + 3 : cut + 4].isdigit():  # and not an argument `*`
            return cut + 2
    return end


def _exhaust(items: Iterable[object]) -> None:
    """Runs an iterator at the speed of C, and keeps nothing."""
    for _ in islice(items, 1 << 62, None):
        pass


def _integer(text: bytes) -> int | None:
    """A decimal integer as Redis's string2ll reads it: no plus, no blanks, no leading zeros; else
    None.
    """
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        return None
    return int(text)


_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")


def _shown(byte: int) -> str:
    return f"'{chr(byte)}'" if 32 <= byte < 127 else f"byte {byte:#04x}"
