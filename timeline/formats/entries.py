r"""An entry as it is stored, which is as it is sent: a RESP array `[id, [field, value, …]]`.

    *2\r\n $4\r\n17-0\r\n *2\r\n $4\r\ntext\r\n $5\r\nhello\r\n      (line breaks added)

Rule: the id is `<seq>-0` and comes first, so that a reply to XADD is a slice of the entry, and a
range of a timeline is a slice of a segment. Fields keep their order and their duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Final

from timeline.errors import CorruptError

# Joining ready parts takes half the time of formatting.
KNOWN_IDS: Final = 16_384  # below this number ids are ready
IDS: Final = [b"$%d\r\n%d-0\r\n" % (len(str(seq)) + 2, seq) for seq in range(KNOWN_IDS)]
_OPENINGS: Final = [b"*2\r\n" + identity for identity in IDS]
KNOWN_SIZES: Final = 4_096  # bytes below which heads of items are ready
SIZES: Final = [b"\r\n$%d\r\n" % size for size in range(KNOWN_SIZES)]
_SPANS: Final = [size + len(head) for size, head in enumerate(SIZES)]  # of a value with its size


def resp_id(seq: int) -> bytes:
    """The id of entry `seq` as a RESP bulk string: `$4` CRLF `17-0` CRLF."""
    return IDS[seq] if seq < KNOWN_IDS else b"$%d\r\n%d-0\r\n" % (len(str(seq)) + 2, seq)


def resp_ids(seqs: Sequence[int]) -> list[bytes]:
    """The same of several entries, one at least."""
    if max(seqs) < KNOWN_IDS:
        return [IDS[seq] for seq in seqs]
    return list(map(resp_id, seqs))


def resp_size(size: int) -> bytes:
    """What stands between an item and the next, which is `size` bytes long."""
    return SIZES[size] if size < KNOWN_SIZES else b"\r\n$%d\r\n" % size


def seq_of(payload: bytes) -> int:
    """The number of an encoded entry."""
    start = payload.index(b"\n", 4) + 1
    return int(payload[start : payload.index(b"-", start)])


def encode_entry(seq: int, items: Sequence[bytes]) -> bytes:
    """The entry of number `seq` with `items` (field, value, field, value, …)."""
    opening = _OPENINGS[seq] if seq < KNOWN_IDS else b"*2\r\n" + resp_id(seq)
    if len(items) == 2:
        field, value = items
        name, size = len(field), len(value)
        return b"".join(
            (
                opening,
                b"*2",
                SIZES[name] if name < KNOWN_SIZES else resp_size(name),
                field,
                SIZES[size] if size < KNOWN_SIZES else resp_size(size),
                value,
                b"\r\n",
            )
        )
    parts = [opening, b"*%d" % len(items)]
    for item in items:
        size = len(item)
        parts += (SIZES[size] if size < KNOWN_SIZES else resp_size(size), item)
    parts.append(b"\r\n")
    return b"".join(parts)


def encode_shown(identity: bytes, items: Sequence[bytes]) -> bytes:
    """What is no entry and is shown as one, under an id of its own."""
    parts = [b"*2\r\n$%d\r\n%b\r\n*%d" % (len(identity), identity, len(items))]
    for item in items:
        parts += (resp_size(len(item)), item)
    parts.append(b"\r\n")
    return b"".join(parts)


def encode_run(
    seqs: Sequence[int], columns: Sequence[Sequence[bytes]]
) -> tuple[list[bytes], list[int]]:
    """Many entries with equally many items each: the parts that they make when joined, in order,
    and the size of each.

    `columns` are the first items of all entries, their second items, and so on. What `encode_entry`
    does for one, at a third of the cost each.
    """
    count = len(seqs)
    if max(seqs) < KNOWN_IDS:
        openings = [_OPENINGS[seq] for seq in seqs]
    else:
        openings = [b"*2\r\n" + resp_id(seq) for seq in seqs]
    sizes = list(map(len, openings))
    strands: list[Sequence[bytes]] = [openings]
    constant = b"*%d" % len(columns)  # what all entries have at this place
    for column in columns:
        first = column[0]
        if column.count(first) == count:
            constant += resp_size(len(first)) + first
            continue
        if constant:
            strands.append([constant] * count)
            sizes = [size + len(constant) for size in sizes]
            constant = b""
        lengths = list(map(len, column))
        if max(lengths) < KNOWN_SIZES:
            strands.append([SIZES[length] for length in lengths])
            sizes = list(map(add, sizes, [_SPANS[length] for length in lengths]))
        else:
            heads = list(map(resp_size, lengths))
            strands.append(heads)
            sizes = [sum(three) for three in zip(sizes, map(len, heads), lengths, strict=True)]
        strands.append(column)
    constant += b"\r\n"
    strands.append([constant] * count)
    width = len(strands)
    parts = [constant] * (width * count)
    for place, strand in enumerate(strands[:-1]):
        parts[place::width] = strand
    return parts, [size + len(constant) for size in sizes]


def decode_id(payload: bytes) -> bytes:
    """The id of an encoded entry. Raises `CorruptError`."""
    parts = payload.split(b"\r\n", 3)
    if len(parts) < 4 or parts[0] != b"*2":
        raise CorruptError(f"an entry of {len(payload)} bytes is not in stored form")
    return parts[2]


def decode_items(payload: bytes) -> list[bytes]:
    """Field, value, field, value, … of an encoded entry. Raises `CorruptError`."""
    try:
        if payload[:5] != b"*2\r\n$":
            raise ValueError
        position = payload.index(b"*", 5)
        end = payload.index(b"\r\n", position)
        items = []
        for _ in range(int(payload[position + 1 : end])):
            start = end + 3
            end = payload.index(b"\r\n", start)
            size = int(payload[start:end])
            start = end + 2
            end = start + size
            items.append(payload[start:end])
        if end + 2 != len(payload):
            raise ValueError
    except ValueError:
        raise CorruptError(f"an entry of {len(payload)} bytes is not in stored form") from None
    return items


def split_items(payload: bytes) -> list[bytes]:
    """As `decode_items`, in a third of the time for most entries: of an entry that a checksum
    covers, so that the size of each item need not be compared.
    """
    parts = payload.split(b"\r\n")
    # As many as this only where no item has the end of a line in it.
    if len(parts) > 5 and parts[0] == b"*2" and parts[3] == b"*%d" % (len(parts) // 2 - 2):
        return parts[5:-1:2]
    return decode_items(payload)
