"""Small rows of state: what the store keeps about a timeline, about memberships, about itself.

All little-endian. Encoders and decoders are pairs; a decoder raises `CorruptError`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final, NamedTuple

from crc32c import crc32c

from timeline.errors import CorruptError
from timeline.formats.entries import decode_items, encode_entry

MAGIC: Final = b"TIMELINE"
FORMAT: Final = 2

RAW: Final = 0
INBOX: Final = 1

_ROW: Final = Struct("<BQQQQQ")
_SKIPPED: Final = Struct("<q")
_SKIPS: Final = 0x80  # added to the kind: `skipped` stands before the name
_RETENTION: Final = Struct("<QQQ")
_STORE: Final = Struct("<8sIQ")
_PROGRESS: Final = Struct("<QQQQ")
_EXPIRY: Final = Struct("<QQ")
_LSN: Final = Struct("<Q")
_STEP: Final = Struct("<QQ")
_RANGE: Final = Struct("16s16s")
_MARK: Final = Struct("<QI")


class TimelineRow(NamedTuple):
    """The row of a timeline, written when it is made, trimmed, holed or moved.

    `first` is the lowest number that may exist, `floor` the highest number known to have been given
    out besides those of stored entries, `holes` how many numbers from `first` to the head have no
    entry. `skipped` is by how much the head exceeds the number of entries ever added.
    """

    kind: int
    created: int
    first: int
    floor: int
    holes: int
    deleted: int  # highest number deleted singly (XINFO max-deleted-entry-id)
    name: bytes
    skipped: int = 0  # below zero where XSETID says that more were added


def encode_row(row: TimelineRow) -> bytes:
    if not row.skipped:
        return _ROW.pack(*row[:6]) + row.name
    fixed = _ROW.pack(row.kind | _SKIPS, *row[1:6])
    return fixed + _SKIPPED.pack(row.skipped) + row.name


def decode_row(value: bytes) -> TimelineRow:
    try:
        kind, created, first, floor, holes, deleted = _ROW.unpack_from(value)
        if kind & _SKIPS:
            (skipped,) = _SKIPPED.unpack_from(value, _ROW.size)
            name = value[_ROW.size + _SKIPPED.size :]
            kind &= ~_SKIPS
            return TimelineRow(kind, created, first, floor, holes, deleted, name, skipped)
    except StructError:
        raise CorruptError("the row of a timeline is damaged: run `timeline verify`") from None
    return TimelineRow(kind, created, first, floor, holes, deleted, value[_ROW.size :])


def encode_metadata(items: Sequence[bytes]) -> bytes:
    """Metadata, field, value, …, in the stored form of an entry with number 0."""
    return encode_entry(0, items)


def decode_metadata(value: bytes | None) -> dict[bytes, bytes]:
    if value is None:
        return {}
    items = decode_items(value)
    return dict(zip(items[::2], items[1::2], strict=True))


class Retention(NamedTuple):
    """Bounds of a timeline; 0 is no bound. Age in milliseconds, length in entries."""

    age: int
    length: int
    size: int


NO_RETENTION: Final = Retention(0, 0, 0)


def encode_retention(retention: Retention) -> bytes:
    return _RETENTION.pack(*retention)


def decode_retention(value: bytes) -> Retention:
    try:
        return Retention(*_RETENTION.unpack(value))
    except StructError:
        raise CorruptError(
            "the retention of a timeline is damaged: run `timeline verify`"
        ) from None


def encode_spans(spans: Sequence[tuple[int, int]]) -> bytes:
    """Spans of LSNs, both ends inclusive, in which an in-box belongs to an audience."""
    return array("Q", [end for span in spans for end in span]).tobytes()


def decode_spans(value: bytes) -> list[tuple[int, int]]:
    if len(value) % 16:
        raise CorruptError("a row of membership is damaged: run `timeline verify`")
    ends = array("Q", value)
    return list(zip(ends[::2], ends[1::2], strict=True))


_LAST_EPOCH: Final = (1 << 32) - 1
_MOST_FORMATS: Final = 1 << 16


class StoreRow(NamedTuple):
    """What the directory is: format version and epoch (changes when a backup is restored)."""

    format: int
    epoch: int


def encode_store(row: StoreRow) -> bytes:
    return _STORE.pack(MAGIC, *row)


def decode_store(value: bytes) -> StoreRow:
    if len(value) != _STORE.size or value[:8] != MAGIC:
        raise CorruptError("this RocksDB directory is no Timeline store: its magic is missing")
    _, version, epoch = _STORE.unpack(value)
    if version > _MOST_FORMATS:  # no version of ours will ever write that
        raise CorruptError(f"the row of the store is damaged: there is no format {version}")
    if version <= FORMAT and epoch > _LAST_EPOCH:
        raise CorruptError(f"the row of the store is damaged: there is no epoch {epoch}")
    return StoreRow(version, epoch)


class ProgressRow(NamedTuple):
    """How far sealing has come, written with every slice.

    Everything up to LSN `sealed` is in segments, in-boxes, patches and state. `upto` is the LSN at
    which the pass ends that is under way, or was when the process ended; 0: there is none. Part of
    what lies between the two may be there too. `next_id` is the lowest id never given out, `time`
    that of the last commit, both as of `upto`.
    """

    sealed: int
    upto: int
    next_id: int
    time: int


def encode_progress(progress: ProgressRow) -> bytes:
    return _PROGRESS.pack(*progress)


def decode_progress(value: bytes) -> ProgressRow:
    try:
        return ProgressRow(*_PROGRESS.unpack(value))
    except StructError:
        raise CorruptError(
            "the progress of sealing is damaged: restore a backup or run `timeline repair`"
        ) from None


class ExpiryRow(NamedTuple):
    """What in-boxes have forgotten: everything up to LSN `floor`. Up to `swept` it is gone from the
    disk, too. Each of `marks` says that the commits up to an LSN were made by a time.
    """

    floor: int
    swept: int
    marks: tuple[tuple[int, int], ...]


def encode_expiry(row: ExpiryRow) -> bytes:
    pairs = ((row.floor, row.swept), *row.marks)
    return b"".join([_EXPIRY.pack(*pair) for pair in pairs])


def decode_expiry(value: bytes) -> ExpiryRow:
    try:
        (floor, swept), *marks = _EXPIRY.iter_unpack(value)
    except (StructError, ValueError):
        raise CorruptError(
            "the row of expiry is damaged: restore a backup or run `timeline repair`"
        ) from None
    return ExpiryRow(floor, swept, tuple((lsn, time) for lsn, time in marks))


class Step(NamedTuple):
    """The commits from LSN `lsn` on were made at `time`, which is below that of some before."""

    lsn: int
    time: int


def encode_clock(steps: Sequence[Step]) -> bytes:
    return b"".join([_STEP.pack(*step) for step in steps])


def decode_clock(value: bytes) -> tuple[Step, ...]:
    try:
        return tuple(Step(lsn, time) for lsn, time in _STEP.iter_unpack(value))
    except StructError:
        raise CorruptError(
            "the row of the clock is damaged: restore a backup or run `timeline repair`"
        ) from None


class Opening(NamedTuple):
    """An opening of the store made the commits from LSN `first` on, under `tag`."""

    first: int
    tag: int


def encode_openings(openings: Sequence[Opening]) -> bytes:
    return b"".join([_STEP.pack(*opening) for opening in openings])


def decode_openings(value: bytes) -> tuple[Opening, ...]:
    try:
        found = tuple(Opening(first, tag) for first, tag in _STEP.iter_unpack(value))
    except StructError:
        found = ()
    if not found or any(one.first >= other.first for one, other in pairwise(found)):
        raise CorruptError(
            "the row of openings is damaged: restore a backup or run `timeline repair`"
        )
    return found


class ErasureRow(NamedTuple):
    """Where files still hold bytes that no reader may see: in `ranges` of keys of segments and
    patches, in order, each from its first key up to, without, its second; and in the log up to LSN
    `log`.
    """

    log: int
    ranges: tuple[tuple[bytes, bytes], ...]


def encode_erasure(row: ErasureRow) -> bytes:
    return _LSN.pack(row.log) + b"".join([_RANGE.pack(*pair) for pair in row.ranges])


def decode_erasure(value: bytes) -> ErasureRow:
    try:
        (log,) = _LSN.unpack_from(value)
        ranges = tuple((start, stop) for start, stop in _RANGE.iter_unpack(value[_LSN.size :]))
    except StructError:
        raise CorruptError(
            "the row of erasure is damaged: restore a backup or run `timeline repair`"
        ) from None
    return ErasureRow(log, ranges)


def encode_mark(lsn: int) -> bytes:
    """A slot of the durable mark: LSN u64 · crc32c u32 over it."""
    body = lsn.to_bytes(8, "little")
    return _MARK.pack(lsn, crc32c(body))


def decode_mark(slot: bytes) -> int | None:
    """The LSN of a slot, or None when it was never written or was torn."""
    try:
        lsn, crc = _MARK.unpack(slot)
    except StructError:
        return None
    return int(lsn) if crc == crc32c(slot[:8]) else None
