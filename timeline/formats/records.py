"""Records of the commit log: one value holds every commit of a group.

    header      version u8 · flags u8 · reserved u16 · appends u32 · operations u32 · commits u32
                first LSN u64 · time u64
    appends     timeline ids u64 × n · sequence numbers u64 × n · sizes u32 × n
                · [LSN − first LSN u32 × n, when SPREAD] · the entries in stored form
    operations  each: kind u8 · LSN − first LSN u32 · id u64 · argument u64 · size u32 · body
    crc32c      u32 over everything before it

Little-endian. A record is known by its last LSN (first + commits − 1). Without SPREAD every commit
of the group is one append, in order. A record may hold no commit, only moves of checkpoints.

A record is applied in three steps, each in order: its puts and removals, its appends, its other
operations. The result is the same as commit by commit, since deliveries go by LSN, and patches and
trims by number.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple, Self

from crc32c import crc32c

from timeline.errors import CorruptError
from timeline.formats.numbers import Lsn, TimelineId

VERSION: Final = 1
SPREAD: Final = 1

_HEADER: Final = Struct("<BBHIIIQQ")
_OPERATION: Final = Struct("<BIQQI")
_CRC: Final = Struct("<I")

# Kinds of operations, and what id, argument and body mean.
PUT: Final = 1  # state: argument = size of the key, body = key ‖ value
REMOVE: Final = 2  # state: body = key
PATCH: Final = 3  # timeline, seq; body = the entry's new stored form, empty to delete it
TRIM: Final = 4  # timeline, lowest number that stays
DROP: Final = 5  # timeline
DELIVER: Final = 6  # audience, seq; body = target · ids of in-boxes that are left out u64 × n
NOTIFY: Final = 7  # 0, seq; body = target · in-box ids u64 × n
CHECKPOINT: Final = 8  # 1, LSN reached; or 0, 0 to forget it; body = name of the follower
OPENING: Final = 9  # 0, tag of the opening that makes the commits from this one on

_ALL: Final = -1  # families
_STATE: Final = bytes((PUT, REMOVE))
_BESIDES: Final = bytes((DELIVER, NOTIFY, CHECKPOINT, OPENING))  # neither timelines nor state


class Operation(NamedTuple):
    kind: int
    lsn: Lsn
    id: TimelineId
    argument: int
    body: bytes


def operation(kind: int, lsn: Lsn, target: TimelineId, argument: int, body: bytes) -> Operation:
    """As `Operation(…)`, at a quarter of the cost: Python makes a named tuple by interpreted code,
    also for what is compiled.
    """
    return tuple.__new__(Operation, (kind, lsn, target, argument, body))


class Appends(NamedTuple):
    """The appends of a group as columns, in order: timeline ids, sequence numbers, sizes of the
    entries, and LSNs counted from the group's first (None: each append is a commit of its own).
    """

    timelines: array[int]
    seqs: array[int]
    sizes: array[int]
    offsets: array[int] | None

    @classmethod
    def none(cls) -> Self:
        """Those of a record that appends nothing."""
        return cls(array("Q"), array("Q"), array("I"), None)

    def lsns(self, first: int) -> Sequence[int]:
        """The LSN of each append in a group whose first is `first`."""
        if self.offsets is None:
            return range(first, first + len(self.seqs))
        return [first + offset for offset in self.offsets]


class Record(NamedTuple):
    """A decoded group. Its entries lie in `value` from `start` on, one after another."""

    first: Lsn
    last: Lsn
    time: int
    appends: Appends
    value: bytes
    start: int
    operations: Sequence[Operation]

    @property
    def payloads(self) -> list[bytes]:
        """The entries in stored form."""
        ends = accumulate(self.appends.sizes, initial=self.start)
        pairs = zip(ends, self.appends.sizes, strict=False)
        return [self.value[at : at + size] for at, size in pairs]


def entries_start(appends: Appends) -> int:
    """Where in an encoded record its entries begin."""
    columns = 20 if appends.offsets is None else 24
    return _HEADER.size + columns * len(appends.seqs)


def encode_record(
    first: Lsn,
    commits: int,
    time: int,
    appends: Appends,
    payloads: Iterable[bytes],
    operations: Sequence[Operation],
) -> bytes:
    """One group of `commits` commits that begins at LSN `first`.

    `payloads` are the entries in stored form, cut anywhere.
    """
    flags = 0 if appends.offsets is None else SPREAD
    count = len(appends.seqs)
    parts: list[bytes | array[int]] = [
        _HEADER.pack(VERSION, flags, 0, count, len(operations), commits, first, time),
        *[column for column in appends if column is not None],
        *payloads,
    ]
    for kind, lsn, target, argument, body in operations:
        parts.append(_OPERATION.pack(kind, lsn - first, target, argument, len(body)))
        parts.append(body)
    whole = b"".join(parts)
    return whole + _CRC.pack(crc32c(whole))


def decode_record(last: Lsn, value: bytes, family: int = _ALL) -> Record:
    """The record whose last LSN is `last`. Raises `CorruptError`.

    With `family`, the first byte of a key, only what changes timelines and the state of that family
    is among its operations: to decode all of the others takes most of the time.
    """
    try:
        (crc,) = _CRC.unpack_from(value, len(value) - 4)
        if crc != crc32c(memoryview(value)[:-4]):
            raise ValueError
        version, flags, _, count, more, commits, first, time = _HEADER.unpack_from(value)
        if version != VERSION or first + commits - 1 != last:
            raise ValueError
        appends = _decode_appends(value, count, flags & SPREAD)
        start = entries_start(appends)
        position = start + sum(appends.sizes)
        operations = []
        for _ in range(more):
            if family != _ALL and (
                value[position] in _BESIDES
                or (value[position] in _STATE and value[position + _OPERATION.size] != family)
            ):
                position += _OPERATION.size + _size_of(value, position)
                continue
            kind, offset, target, argument, size = _OPERATION.unpack_from(value, position)
            position += _OPERATION.size
            body = value[position : position + size]
            position += size
            operations.append(Operation(kind, first + offset, target, argument, body))
        if position + 4 != len(value):
            raise ValueError
    except (StructError, ValueError, IndexError):
        raise CorruptError(
            f"the log record that ends at LSN {last} is damaged: restore a backup, "
            "or keep the whole prefix with `timeline repair`"
        ) from None
    return Record(first, last, time, appends, value, start, operations)


def _size_of(value: bytes, position: int) -> int:
    """The size of the body of the operation at `position`."""
    end = position + _OPERATION.size
    return int.from_bytes(value[end - 4 : end], "little")


def _decode_appends(value: bytes, count: int, spread: int) -> Appends:
    position = _HEADER.size
    if position + (24 if spread else 20) * count > len(value):
        raise ValueError

    def column(code: str, width: int) -> array[int]:
        nonlocal position
        begin, position = position, position + width * count
        return array(code, value[begin:position])

    return Appends(
        column("Q", 8), column("Q", 8), column("I", 4), column("I", 4) if spread else None
    )


_TARGET: Final = Struct("<QBI")
_OLD_TARGET: Final = Struct("<QB")  # which had no ordinal


class Target(NamedTuple):
    """What a DELIVER or NOTIFY refers to; its commit made `ordinal` things before it. `inboxes` are
    those that a NOTIFY reaches, or the members of the audience that a DELIVER leaves out.
    """

    timeline_id: TimelineId
    kind: int
    ordinal: int
    inboxes: Sequence[int]


def encode_target(
    timeline_id: TimelineId, kind: int, ordinal: int = 0, inboxes: Sequence[int] = ()
) -> bytes:
    """Body of DELIVER and NOTIFY."""
    head = _TARGET.pack(timeline_id, kind, ordinal)
    return head + array("Q", inboxes).tobytes() if inboxes else head


def decode_target(body: bytes) -> Target:
    """What the body of a DELIVER or NOTIFY says."""
    if len(body) == _TARGET.size:  # nearly all
        timeline_id, kind, ordinal = _TARGET.unpack(body)
        return Target(timeline_id, kind, ordinal, ())
    if len(body) % 8 == _OLD_TARGET.size % 8:
        timeline_id, kind = _OLD_TARGET.unpack_from(body)
        return Target(timeline_id, kind, 0, array("Q", body[_OLD_TARGET.size :]))
    timeline_id, kind, ordinal = _TARGET.unpack_from(body)
    return Target(timeline_id, kind, ordinal, array("Q", body[_TARGET.size :]))


def split_put(operation: Operation) -> tuple[bytes, bytes]:
    """(key, value) of a PUT."""
    return operation.body[: operation.argument], operation.body[operation.argument :]
