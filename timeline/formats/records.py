"""Records of the commit log: one value holds every commit of a group.

    header      version u8 · flags u8 · reserved u16 · appends u32 · operations u32 · commits u32
                first LSN u64 · time u64
    appends     timeline ids u64 × n · sequence numbers u64 × n · sizes u32 × n
                · [LSN − first LSN u32 × n, when SPREAD] · the entries in stored form
    operations  each: kind u8 · LSN − first LSN u32 · id u64 · argument u64 · size u32 · body
    crc32c      u32 over everything before it

Little-endian. A record is stored under its last LSN (first + commits − 1). Without SPREAD every
commit of the group is one append, in order. A record is applied in three steps: its puts and
removals, its appends, the other operations, each step in order. What a commit delivers is decided
by LSN and what it patches or trims by number, so that this gives what order of LSNs would.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple

from crc32c import crc32c

from timeline.errors import CorruptError
from timeline.formats.segments import Row

VERSION: Final = 1
SPREAD: Final = 1

_HEADER = Struct("<BBHIIIQQ")
_OPERATION = Struct("<BIQQI")
_CRC = Struct("<I")

# Kinds of operations, and what id, argument and body mean.
PUT: Final = 1  # state: argument = size of the key, body = key ‖ value
REMOVE: Final = 2  # state: body = key
PATCH: Final = 3  # timeline, seq; body = the entry's new stored form, empty to delete it
TRIM: Final = 4  # timeline, lowest number that stays
DROP: Final = 5  # timeline
DELIVER: Final = 6  # audience, seq; body = target: timeline u64 · kind u8
NOTIFY: Final = 7  # 0, seq; body = target · in-box ids u64 × n


class Operation(NamedTuple):
    kind: int
    lsn: int
    id: int
    argument: int
    body: bytes


class Record(NamedTuple):
    """A decoded group: columns of appends, then operations, each with its LSN."""

    first: int
    last: int
    time: int
    timelines: Sequence[int]
    rows: Sequence[Row]
    operations: Sequence[Operation]


def encode_record(
    first: int,
    commits: int,
    time: int,
    timelines: Sequence[int],
    rows: Sequence[Row],
    operations: Sequence[Operation],
) -> bytes:
    """One group of `commits` commits that begins at LSN `first`."""
    flags = 0
    parts: list[bytes | array[int]] = [b""]
    if rows:
        # Not zip(*rows): that makes an iterator for every row, and the collector look at them.
        payloads = [row[3] for row in rows]
        parts.append(array("Q", timelines))
        parts.append(array("Q", [row[0] for row in rows]))
        parts.append(array("I", map(len, payloads)))
        if len(rows) != commits or rows[-1][1] - rows[0][1] != commits - 1 or operations:
            flags = SPREAD
            parts.append(array("I", [row[1] - first for row in rows]))
        parts.extend(payloads)
    for kind, lsn, target, argument, body in operations:
        parts.append(_OPERATION.pack(kind, lsn - first, target, argument, len(body)))
        parts.append(body)
    parts[0] = _HEADER.pack(VERSION, flags, 0, len(rows), len(operations), commits, first, time)
    body = b"".join(parts)
    return body + _CRC.pack(crc32c(body))


def decode_record(last: int, value: bytes) -> Record:
    """The record stored under LSN `last`. Raises `CorruptError`."""
    try:
        (crc,) = _CRC.unpack_from(value, len(value) - 4)
        if crc != crc32c(memoryview(value)[:-4]):
            raise ValueError
        version, flags, _, appends, count, commits, first, time = _HEADER.unpack_from(value)
        if version != VERSION or first + commits - 1 != last:
            raise ValueError
        timelines, rows, position = _decode_appends(value, appends, flags & SPREAD, first, time)
        operations = []
        for _ in range(count):
            kind, offset, target, argument, size = _OPERATION.unpack_from(value, position)
            position += _OPERATION.size
            body = value[position : position + size]
            position += size
            operations.append(Operation(kind, first + offset, target, argument, body))
        if position + 4 != len(value):
            raise ValueError
    except (StructError, ValueError):
        raise CorruptError(
            f"the log record that ends at LSN {last} is damaged: restore a backup, "
            "or keep the whole prefix with `timeline repair`"
        ) from None
    return Record(first, last, time, timelines, rows, operations)


def _decode_appends(
    value: bytes, count: int, spread: int, first: int, time: int
) -> tuple[Sequence[int], list[Row], int]:
    position = _HEADER.size
    if not count:
        return (), [], position
    columns = memoryview(value)

    def column(code: str, width: int) -> list[int]:
        nonlocal position
        begin, position = position, position + width * count
        if position > len(value):
            raise ValueError
        return columns[begin:position].cast(code).tolist()  # type: ignore[call-overload, no-any-return]

    timelines = column("Q", 8)
    seqs = column("Q", 8)
    sizes = column("I", 4)
    lsns = [first + offset for offset in column("I", 4)] if spread else range(first, first + count)
    rows: list[Row] = []
    for seq, lsn, end in zip(seqs, lsns, accumulate(sizes, initial=position), strict=False):
        rows.append((seq, lsn, time, value[end : end + sizes[len(rows)]]))
    return timelines, rows, position + sum(sizes)


_TARGET = Struct("<QB")


def encode_target(timeline_id: int, kind: int, inboxes: Sequence[int] = ()) -> bytes:
    """Body of DELIVER (no in-boxes) and NOTIFY."""
    return _TARGET.pack(timeline_id, kind) + array("Q", inboxes).tobytes()


def decode_target(body: bytes) -> tuple[int, int, Sequence[int]]:
    """(timeline id, kind, in-box ids) of a DELIVER or NOTIFY body."""
    timeline_id, kind = _TARGET.unpack_from(body)
    return timeline_id, kind, array("Q", body[_TARGET.size :])


def split_put(operation: Operation) -> tuple[bytes, bytes]:
    """(key, value) of a PUT."""
    return operation.body[: operation.argument], operation.body[operation.argument :]
