"""The Redis request protocol without I/O: bytes in, whole commands out.

Rule: `feed` takes what a socket gave, however it was cut, and returns the commands that are
complete; what is not waits inside, bounded by `Limits`. "Need more" is an empty list. Garbage
raises `ProtocolError` and nothing else, and the parser is then of no further use.

There are two readers of the same grammar. Whole pipelines go through hiredis, which is made for
replies, not requests: it takes types that no request may have, allocates an announced array before
its items are there and does not say where it stopped. So it is given only bytes that begin at a
command and announce no large array, followed by a sentinel that comes back exactly when they end at
a command; in all other cases its answer is dropped and `_step` reads the same bytes item by item,
checking every announced length first.

Sentences of errors are those of Redis (networking.c), which clients know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import hiredis

from .errors import ProtocolError

Command = list[bytes]

_STAR, _DOLLAR, _TILDE, _ANGLE, _BAR = b"*$~>|"
_SENTINEL = b":1\r\n"
_PIECE = 32 * 1024  # hiredis moves its whole buffer at each kibibyte read: small pieces are cheap
_COUNT_LINE = 64  # longer than any announced length
_LARGE_ARRAY = re.compile(rb"\*\d{5}")
_LARGE = 10_000  # the smallest count that `_LARGE_ARRAY` matches
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
    # Clients that have not said who they are may announce little (Redis: 10 arguments of 16 KiB).
    authenticated: bool = True


UNAUTHENTICATED = Limits(
    arguments=10,
    request_bytes=64 * 1024,
    argument_bytes=16 * 1024,
    inline_bytes=16 * 1024,
    authenticated=False,
)


class Parser:
    """Turns the byte stream of one connection into commands."""

    __slots__ = (
        "_items",
        "_missing",
        "_need",
        "_reader",
        "_rest",
        "_rest_bytes",
        "_taken",
        "limits",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._reader = hiredis.Reader()
        # An incomplete item: its pieces, their bytes, and how many bytes it takes at least to go
        # on.
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._need = 0
        # An incomplete command: the items that are whole, how many are to come, bytes taken so far.
        self._items: Command = []
        self._missing = 0
        self._taken = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes held of a command that is not complete."""
        return self._rest_bytes + self._taken

    def feed(self, data: bytes) -> list[Command]:
        """Returns the commands completed by `data`; raises `ProtocolError` with those before the
        fault.
        """
        if self._rest:
            self._rest.append(data)
            self._rest_bytes += len(data)
            if self._rest_bytes < self._need:
                return []
            data = b"".join(self._rest)
            self._rest = []
            self._rest_bytes = 0
        commands: list[Command] = []
        position = 0
        end = len(data)
        if self._missing:
            position = self._step(data, 0, commands)
        if position < end and data[position] == _STAR and self._trusted(data):
            position += self._read_fast(data[position:] if position else data, commands)
        while position < end:
            position = self._step(data, position, commands)
        return commands

    def _trusted(self, data: bytes) -> bool:
        """Whether hiredis may see these bytes: no limit can be broken unseen, no memory taken on
        credit.
        """
        limits = self.limits
        return (
            limits.arguments >= _LARGE
            and len(data) <= limits.argument_bytes
            and len(data) <= limits.request_bytes
            and _LARGE_ARRAY.search(data) is None
            # Tested as integers: `bytes in bytes` costs a raised and dropped exception.
            and not (
                (_TILDE in data or _ANGLE in data or _BAR in data)
                and _OTHER_AGGREGATE.search(data) is not None
            )
        )

    def _read_fast(self, data: bytes, commands: list[Command]) -> int:
        """Reads the whole commands that `data` begins with; returns how many bytes they take.

        Zero means that nothing was read, since hiredis met what it takes and Redis does not, or the
        reverse.
        """
        reader = self._reader
        gets = reader.gets
        found: list[Command] = []
        add = found.append
        try:
            if len(data) <= _PIECE:
                reader.feed(data)
            else:
                for start in range(0, len(data), _PIECE):
                    reader.feed(data[start : start + _PIECE])
                    reply = gets()
                    while type(reply) is list:
                        add(reply)
                        reply = gets()
                    if reply is not False:
                        raise TypeError
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
    def _whole(found: list[Command], end: int, commands: list[Command]) -> int:
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

    def _step(self, data: bytes, position: int, commands: list[Command]) -> int:
        """Reads one command, or as much of it as is there; returns where it stopped."""
        try:
            if not self._missing:
                if data[position] != _STAR:
                    return self._read_inline(data, position, commands)
                line_end = self._line(data, position, "mbulk")
                if line_end < 0:
                    return self._wait(data, position, 0)
                count = self._count(data, position + 1, line_end)
                self._taken = line_end + 2 - position
                position = line_end + 2
                if count <= 0:
                    self._taken = 0
                    return position
                self._missing = count
            return self._read_items(data, position, commands)
        except ProtocolError as error:
            error.commands = commands
            raise

    def _read_items(self, data: bytes, position: int, commands: list[Command]) -> int:
        end = len(data)
        items = self._items
        limits = self.limits
        while self._missing:
            if position >= end:
                return end
            if data[position] != _DOLLAR:
                raise ProtocolError(f"expected '$', got {_shown(data[position])}")
            line_end = self._line(data, position, "bulk")
            if line_end < 0:
                return self._wait(data, position, 0)
            length = self._length(data, position + 1, line_end)
            start = line_end + 2
            size = start - position + length + 2
            if self._taken + size > limits.request_bytes:
                raise ProtocolError(
                    f"request above the limit of {limits.request_bytes} bytes (request_bytes)"
                )
            if start + length + 2 > end:
                return self._wait(data, position, size)
            items.append(data[start : start + length])
            self._taken += size
            self._missing -= 1
            position = start + length + 2
        commands.append(items)
        self._items = []
        self._taken = 0
        return position

    def _wait(self, data: bytes, position: int, need: int) -> int:
        """Keeps the incomplete item that begins at `position`."""
        rest = data[position:] if position else data
        self._rest = [rest]
        self._rest_bytes = len(rest)
        self._need = need
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
        if count is not None and count > self.limits.arguments and not self.limits.authenticated:
            raise ProtocolError("unauthenticated multibulk length")
        if count is None or count > self.limits.arguments:
            raise ProtocolError("invalid multibulk length")
        return count

    def _length(self, data: bytes, start: int, end: int) -> int:
        length = _integer(data[start:end])
        if (
            length is not None
            and length > self.limits.argument_bytes
            and not self.limits.authenticated
        ):
            raise ProtocolError("unauthenticated bulk length")
        if length is None or length < 0 or length > self.limits.argument_bytes:
            raise ProtocolError("invalid bulk length")
        return length

    def _read_inline(self, data: bytes, position: int, commands: list[Command]) -> int:
        line_end = data.find(b"\n", position, position + self.limits.inline_bytes)
        if line_end < 0:
            if len(data) - position >= self.limits.inline_bytes:
                raise ProtocolError("too big inline request")
            return self._wait(data, position, 0)
        stop = (
            line_end - 1
            if data[line_end - 1 : line_end] == b"\r" and line_end > position
            else line_end
        )
        command = split_inline(data[position:stop])
        if command:
            commands.append(command)
        return line_end + 1


def _exhaust(items: Iterable[object]) -> None:
    """Runs an iterator at C speed, keeping nothing."""
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


_WORD = re.compile(rb"[^\s\"'\0]+")
_ESCAPES = {ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t", ord("b"): b"\b", ord("a"): b"\a"}
_HEX = re.compile(rb"\\x([0-9a-fA-F]{2})")


def split_inline(line: bytes) -> Command:
    """Splits a line as a shell would (Redis: sdssplitargs): blanks, "…" with escapes, '…'.

    Raises `ProtocolError` when a quote is not closed or not followed by a blank.
    """
    words: Command = []
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
    """Adds the quoted text that opens at `position` to `word`; returns the position behind it."""
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
