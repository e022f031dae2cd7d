"""The binary form of an export: entries as they are stored, faster to write than lines of JSON.

    magic     TIMELINE EXPORT, a line feed (16 bytes)
    records   kind u8 · size u32 · body

    kind 1    header, timeline or end: the JSON of its line
    kind 2    entry: seq u64 · time u64 · LSN u64 · the entry in stored form
    kind 3    row: family u8, as numbered in FAMILIES · size of the key u32 · key · value

Little-endian. Rule: it says the same as the lines do, record by record.
"""

from __future__ import annotations

import json
from struct import (
    Struct,
    error as StructError,  # noqa: N812  it is a class
)
from typing import Final

from timeline.errors import CorruptError
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.export import (
    FAMILIES,
    EntryRecord,
    ExportRecord,
    RowRecord,
    as_document,
    from_document,
)

MAGIC: Final = b"TIMELINE EXPORT\n"
HEAD: Final = Struct("<BI")

_DOCUMENT: Final = 1
_ITEM: Final = 2
_ROW: Final = 3
_ITEM_HEAD: Final = Struct("<QQQ")
_ROW_HEAD: Final = Struct("<BI")


def encode_binary(record: ExportRecord) -> bytes:
    match record:
        case EntryRecord(seq, time, lsn, fields):
            kind, body = _ITEM, _ITEM_HEAD.pack(seq, time, lsn) + encode_entry(seq, fields)
        case RowRecord(family, key, value):
            kind = _ROW
            body = _ROW_HEAD.pack(FAMILIES.index(family), len(key)) + key + value
        case _:
            kind, body = _DOCUMENT, json.dumps(as_document(record), ensure_ascii=False).encode()
    return HEAD.pack(kind, len(body)) + body


def decode_binary(kind: int, body: bytes) -> ExportRecord:
    """Raises `CorruptError`, `FormatVersionError`."""
    try:
        if kind == _ITEM:
            seq, time, lsn = _ITEM_HEAD.unpack_from(body)
            return EntryRecord(seq, time, lsn, decode_items(body[_ITEM_HEAD.size :]))
        if kind == _ROW:
            family, size = _ROW_HEAD.unpack_from(body)
            at = _ROW_HEAD.size
            if at + size > len(body):
                raise ValueError
            return RowRecord(FAMILIES[family], body[at : at + size], body[at + size :])
        if kind == _DOCUMENT:
            return from_document(json.loads(body))
        raise ValueError
    except (CorruptError, StructError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise CorruptError(f"no record of an export: kind {kind}, {len(body)} bytes") from None
