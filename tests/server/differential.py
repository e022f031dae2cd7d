"""The same random stream commands for the daemon and for redis-server, and what may differ.

Responsibility: draw bursts of commands, right ones and wrong ones, in and out of MULTI; send them
to ours first and then to Redis; compare the replies, errors included, byte for byte.

Rule: what ours numbers by itself, Redis is told: its `*` becomes the id that ours gave. Where the
two differ as docs/commands.md says, `MASKED` and `left_out` name it, one entry a difference; all
else is compared.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

Command = list[bytes]

KEYS = (b"a", b"b", b"c", b"k:1")
FIELDS = (b"f", b"g", b"\xe6\x81\xaf", b"")
VALUES = (b"v", b"", b"w" * 30, b"\r\n", b"\xff\x00")
JUNK = (
    b"x", b"-", b"+", b"$", b">", b"*", b"=", b"", b"1-", b"-1", b"1-x", b"-1-1", b"1-2-3",
    b"(1", b"((1", b"(", b"(-", b"(+", b"0", b"0-0", b"1.5", b" 1", b"1 ", b"01", b"-0", b"+1",
    b"99999999999999999999", b"18446744073709551616", b"9223372036854775808", b"COUNT", b"BLOCK",
    b"STREAMS", b"FULL", b"LIMIT", b"MAXLEN", b"MINID", b"NOMKSTREAM", b"GROUP", b"NOACK", b"MATCH",
    b"TYPE", b"ENTRIESADDED", b"MAXDELETEDID", b"ASYNC", b"HELP",
)  # fmt: skip


class Reply(NamedTuple):
    """One reply: its kind, as the first byte says, and what it holds."""

    kind: str
    value: Any

    def __repr__(self) -> str:
        return f"{self.kind}{self.value!r}"


class Link:
    """A connection that reads replies as they are, and tells `*-1` from `$-1`."""

    def __init__(self, address: tuple[str, int] | str, protocol: int) -> None:
        if isinstance(address, str):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address)
        else:
            self._socket = socket.create_connection(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(30)
        self._file = self._socket.makefile("rb")
        if protocol == 3:
            self.ask([[b"HELLO", b"3"]])

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Sends all of them at once; their replies."""
        self.send(*commands)
        return [self.reply() for _ in commands]

    def send(self, *commands: Command) -> None:
        self._socket.sendall(b"".join(map(encoded, commands)))

    def reply(self) -> Reply:
        line = self._file.readline()
        assert line.endswith(b"\r\n"), f"the connection was closed: {line!r}"
        kind, rest = chr(line[0]), line[1:-2]
        if rest == b"-1" and kind in "$*":
            return Reply(kind, None)
        if kind == "$":
            return Reply(kind, self._file.read(int(rest) + 2)[:-2])
        if kind in "*%~>":
            count = int(rest) * (2 if kind == "%" else 1)
            return Reply(kind, [self.reply() for _ in range(count)])
        return Reply(kind, rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._socket.close()


def encoded(command: Command) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in command)


# --- drawing --------------------------------------------------------------------------------------


class Draw:
    """Commands, and the highest numbers of streams as far as replies told them."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.heads: dict[bytes, int] = {}

    def burst(self) -> list[Command]:
        dice = self.random
        commands = [self.command() for _ in range(dice.choice((1, 1, 1, 2, 3, 8)))]
        if dice.random() < 0.25:
            commands = [[b"MULTI"], *commands, [b"EXEC"]]
        return commands

    def command(self) -> Command:
        while apart(command := self._any()):
            pass
        return command

    def _any(self) -> Command:
        verb, words = self.random.choices(_DRAWN, _WEIGHTS)[0]
        command = [verb, *words(self)]
        if self.random.random() < 0.12:
            command = self.spoilt(command)
        if self.random.random() < 0.05:
            command[0] = command[0].lower()
        return command

    def spoilt(self, command: Command) -> Command:
        """The same with something wrong with it, perhaps."""
        dice = self.random
        place = dice.randrange(1, len(command) + 1)
        how = dice.randrange(4)
        if how == 0:
            return command[:place]
        if how == 1:
            return [*command[:place], dice.choice(JUNK), *command[place:]]
        if how == 2:
            return [*command[:place], dice.choice(JUNK), *command[place + 1 :]]
        return [*command[:place], *command[place + 1 :]]

    def key(self) -> bytes:
        return self.random.choice(KEYS)

    def number(self, key: bytes) -> int:
        """One that is, was or will be in the stream."""
        return max(0, self.random.randint(-3, 2) + self.random.randint(0, self.heads.get(key, 0)))

    def id(self, key: bytes) -> bytes:
        number = self.number(key)
        rest = self.random.choices((b"", b"-0", b"-%d" % self.random.randint(1, 9)), (4, 4, 1))[0]
        return b"%d" % number + rest

    def bound(self, key: bytes) -> bytes:
        sign = self.random.choices((b"-", b"+", b"(", b""), (2, 2, 1, 4))[0]
        return sign if sign in (b"-", b"+") else sign + self.id(key)

    def count(self) -> list[bytes]:
        dice = self.random
        number = dice.choice((-1, 0, 1, 1, 2, 3, 100))
        return [dice.choice((b"COUNT", b"count")), b"%d" % number] if dice.random() < 0.5 else []

    def trim(self, key: bytes) -> list[bytes]:
        dice = self.random
        sign = [b"="] if dice.random() < 0.3 else []
        if dice.random() < 0.5:
            return [b"MAXLEN", *sign, b"%d" % dice.randint(0, 12)]
        return [b"MINID", *sign, self.id(key)]


def _add(draw: Draw) -> list[bytes]:
    dice, key = draw.random, draw.key()
    words = [key]
    if dice.random() < 0.1:
        words.append(b"NOMKSTREAM")
    if dice.random() < 0.15:
        words += draw.trim(key)
    head = draw.heads.get(key, 0)
    given = [b"*", b"%d-0", b"%d", b"%d-*"]
    number = dice.choices(given, (60, 20, 5, 3))[0]
    words.append(number % (max(0, head + dice.randint(-1, 4))) if b"%" in number else number)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        words += [dice.choice(FIELDS), dice.choice(VALUES)]
    return words


def _read(draw: Draw) -> list[bytes]:
    dice = draw.random
    names = dice.choices(KEYS, k=dice.choice((1, 1, 2, 3)))
    block = [b"BLOCK", b"1"] if dice.random() < 0.1 else []
    ids = [b"$" if dice.random() < 0.1 else draw.id(name) for name in names]
    return [*draw.count(), *block, dice.choice((b"STREAMS", b"streams")), *names, *ids]


def _range(draw: Draw) -> list[bytes]:
    key = draw.key()
    return [key, draw.bound(key), draw.bound(key), *draw.count()]


def _delete(draw: Draw) -> list[bytes]:
    key = draw.key()
    return [key, *(draw.id(key) for _ in range(draw.random.choice((1, 1, 3))))]


def _set_id(draw: Draw) -> list[bytes]:
    dice, key = draw.random, draw.key()
    words = [key, b"%d-0" % (draw.heads.get(key, 0) + dice.randint(-2, 4))]
    if dice.random() < 0.4:
        words += [b"ENTRIESADDED", b"%d" % dice.randint(-1, 60)]
    if dice.random() < 0.4:
        words += [b"MAXDELETEDID", draw.id(key)]
    return words


def _info(draw: Draw) -> list[bytes]:
    full = [b"FULL", *draw.count()] if draw.random.random() < 0.5 else []
    return [b"STREAM", draw.key(), *full]


def _scan(draw: Draw) -> list[bytes]:
    dice = draw.random
    words = [b"0", b"COUNT", b"1000"]
    if dice.random() < 0.5:
        words += [b"MATCH", dice.choice((b"*", b"?", b"k:*", b"[a-b]", b"z*"))]
    if dice.random() < 0.2:
        words += [b"TYPE", dice.choice((b"stream", b"STREAM", b"string"))]
    return words


def _nothing(_: Draw) -> list[bytes]:
    return []


def _some_keys(draw: Draw) -> list[bytes]:
    return draw.random.choices(KEYS, k=draw.random.choice((1, 1, 2, 3)))


_COMMANDS: tuple[tuple[float, bytes, Callable[[Draw], list[bytes]]], ...] = (
    (40, b"XADD", _add),
    (4, b"XLEN", lambda draw: [draw.key()]),
    (12, b"XRANGE", _range),
    (8, b"XREVRANGE", _range),
    (10, b"XREAD", _read),
    (6, b"XDEL", _delete),
    (4, b"XTRIM", lambda draw: [key := draw.key(), *draw.trim(key)]),
    (3, b"XSETID", _set_id),
    (8, b"XINFO", _info),
    (1, b"DEL", _some_keys),
    (1, b"UNLINK", _some_keys),
    (2, b"EXISTS", _some_keys),
    (2, b"TYPE", lambda draw: [draw.key()]),
    (2, b"KEYS", lambda draw: [draw.random.choice((b"*", b"?", b"k*", b"[^a]", b"\\a"))]),
    (2, b"SCAN", _scan),
    (2, b"DBSIZE", _nothing),
    (0.2, b"FLUSHALL", lambda draw: draw.random.choice(([], [b"SYNC"], [b"ASYNC"]))),
    (0.2, b"FLUSHDB", _nothing),
    (0.5, b"PING", _nothing),
)
_DRAWN = [(verb, words) for _, verb, words in _COMMANDS]
_WEIGHTS = [weight for weight, _, _ in _COMMANDS]


# --- what may differ ------------------------------------------------------------------------------

OWN_REFUSALS = (
    b"-ERR ids are <seq>-0 here",  # a second part that is not 0
    b"-ERR the highest sequence number is",  # from 2**63 on
    b"-ERR a timeline's name is",  # an empty name
    b"-ERR the head is",  # XSETID below what was given out
    b"-EXECABORT Transaction discarded, nothing was done",  # one refusal undoes all
)


def apart(command: Command) -> bool:
    """Whether a command means something else to Redis; it is not drawn."""
    verb, *words = command
    if verb.upper() == b"XREAD":
        return b"+" in words  # Redis 7.4
    if verb.upper() == b"SCAN":  # a cursor is a position in another order
        return words[:1] != [b"0"] and bool(words) and not words[0].strip(b" +-0123456789")
    return False


def left_out(command: Command, ours: Reply) -> bool:
    """Whether Redis is not asked, since it would do what ours refuses."""
    refusal = ours.value if ours.kind == "-" else b""
    if (b"-" + refusal).startswith(OWN_REFUSALS):
        return True
    # Redis takes blanks and a sign before an id.
    if b"Invalid stream ID" in refusal and not {b" 1", b"+1"}.isdisjoint(command):
        return True
    # Redis goes on with 5-1 where 5-0 is there; ours has no such ids.
    added = command[0].upper() == b"XADD" and b"equal or smaller" in refusal
    return added and any(word.endswith(b"-*") for word in command)


def masked(command: Command, reply: Reply) -> Reply:
    """The reply without what differs: the inside of a radix tree, the order of names."""
    verb = command[0].upper()
    if not isinstance(reply.value, list):
        return reply
    if verb == b"KEYS":
        return reply._replace(value=sorted(reply.value))
    if verb == b"SCAN":
        cursor, names = reply.value
        return reply._replace(value=[cursor, names._replace(value=sorted(names.value))])
    if verb == b"XINFO":
        items = [
            Reply(":", "any")
            if at and reply.value[at - 1].value in (b"radix-tree-keys", b"radix-tree-nodes")
            else item
            for at, item in enumerate(reply.value)
        ]
        return reply._replace(value=items)
    return reply


def as_told(command: Command, ours: Reply) -> Command:
    """The command for Redis: the id that ours gave in the place of `*` or `5-*`."""
    if command[0].upper() != b"XADD" or ours.kind != "$" or ours.value is None:
        return command
    at = 2
    while (word := command[at].upper()) in (b"NOMKSTREAM", b"MAXLEN", b"MINID", b"LIMIT"):
        at += 1 if word == b"NOMKSTREAM" else 3 if command[at + 1] == b"=" else 2
    if command[at].endswith(b"*"):
        return [*command[:at], ours.value, *command[at + 1 :]]
    return command


# --- comparing ------------------------------------------------------------------------------------


class Pair:
    """One client of each, which are asked the same."""

    def __init__(self, ours: Link, theirs: Link, draw: Draw) -> None:
        self._ours, self._theirs = ours, theirs
        self._draw = draw

    def step(self) -> None:
        burst = self._draw.burst()
        found = self._ours.ask(burst)
        asked, answers = self._for_redis(burst, found)
        theirs = self._theirs.ask(asked) if asked else []
        for command, ours, reply in zip(asked, answers, theirs, strict=True):
            self._compare(burst, command, ours, reply)
        self._note(burst, found)

    def _for_redis(
        self, burst: list[Command], found: list[Reply]
    ) -> tuple[list[Command], list[Reply]]:
        """What Redis is asked, and what ours answered to it."""
        if burst[0] == [b"MULTI"]:
            last = found[-1]
            if last.kind == "-":
                return ([], []) if left_out(burst[-1], last) else (burst, found)
            queued = [c for c, r in zip(burst, found, strict=True) if r.value == b"QUEUED"]
            told = map(as_told, queued, last.value)
            if any(map(left_out, queued, last.value)):
                raise AssertionError(f"ours carried out {queued} as {last.value}")
            fitting = [next(told) if r.value == b"QUEUED" else c
                       for c, r in zip(burst, found, strict=True)]  # fmt: skip
            return fitting, found
        pairs = [
            (as_told(command, reply), reply)
            for command, reply in zip(burst, found, strict=True)
            if not left_out(command, reply)
        ]
        return [command for command, _ in pairs], [reply for _, reply in pairs]

    def _compare(self, burst: list[Command], command: Command, ours: Reply, theirs: Reply) -> None:
        if command == [b"EXEC"] and ours.kind == theirs.kind == "*" and ours.value is not None:
            inside = burst[1:-1]
            assert len(ours.value) == len(theirs.value), (burst, ours, theirs)
            for each, own, other in zip(inside, ours.value, theirs.value, strict=True):
                assert masked(each, own) == masked(each, other), (burst, each, own, other)
            return
        assert masked(command, ours) == masked(command, theirs), (burst, command, ours, theirs)

    def _note(self, burst: list[Command], found: list[Reply]) -> None:
        """Learn which numbers there are."""
        heads = self._draw.heads
        for command, reply in _carried_out(burst, found):
            if command[0].upper() == b"XADD" and reply.kind == "$" and reply.value:
                heads[command[1]] = int(reply.value.partition(b"-")[0])
            elif command[0].upper() in (b"DEL", b"UNLINK") and reply.kind == ":":
                for name in command[1:]:
                    heads.pop(name, None)
            elif command[0].upper().startswith(b"FLUSH") and reply.kind == "+":
                heads.clear()


def _carried_out(burst: list[Command], found: list[Reply]) -> Iterator[tuple[Command, Reply]]:
    if burst[0] != [b"MULTI"]:
        yield from zip(burst, found, strict=True)
    elif found[-1].kind == "*":
        yield from zip(burst[1:-1], found[-1].value, strict=True)
