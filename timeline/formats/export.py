"""An export: a store, or some raw timelines of one, as a sequence of records.

    Header · (TimelineRecord · EntryRecord … · RowRecord …) … · RowRecord … · End

Responsibility: the records, and their form as lines of JSON. `export_binary` has the binary form.
Bytes that are UTF-8 are written as text, others as {"base64": …}, so that they come back exactly.

Rule: an `exact` export holds the number, time and LSN of every entry, and all that is needed to
make the same store again, except its epoch. A `whole` export holds all of a store. An export that
is not exact has zeros where its source does not tell.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from timeline.errors import CorruptError, FormatVersionError
from timeline.formats.rows import INBOX, NO_RETENTION, RAW, Retention

VERSION: Final = 1
FAMILIES: Final = ("default", "log", "segments", "inboxes", "patches", "state")


class Header(NamedTuple):
    """`lsn`, `time` (ms) and `next_id` are as of the last commit."""

    exact: bool = False
    whole: bool = False
    epoch: int = 0
    lsn: int = 0
    time: int = 0
    next_id: int = 0


class TimelineRecord(NamedTuple):
    """A timeline: its row (FORMAT.md) and its head. Its entries follow."""

    name: bytes
    id: int = 0
    kind: int = RAW
    created: int = 0
    first: int = 0
    head: int = 0
    floor: int = 0
    holes: int = 0
    deleted: int = 0
    metadata: tuple[bytes, ...] = ()  # field, value, …
    retention: Retention = NO_RETENTION
    skipped: int = 0


class EntryRecord(NamedTuple):
    """An entry of the timeline before it. Number 0 means that the importer gives the next one."""

    seq: int
    time: int
    lsn: int
    fields: Sequence[bytes]  # field, value, …


class RowRecord(NamedTuple):
    """Any other row of the store, by column family, as FORMAT.md describes it."""

    family: str
    key: bytes
    value: bytes


class End(NamedTuple):
    """How many records came before, and the CRC-32C of all bytes before (None: not known)."""

    records: int
    crc: int | None


_NUMBERS: Final = ("id", "kind", "created", "first", "head", "floor", "holes", "deleted")

ExportRecord = Header | TimelineRecord | EntryRecord | RowRecord | End


def encode_line(record: ExportRecord) -> bytes:
    """A record as a line of JSON."""
    return json.dumps(as_document(record), ensure_ascii=False).encode() + b"\n"


def decode_line(line: bytes) -> ExportRecord:
    """Raises `CorruptError` for what is no record, `FormatVersionError` for a later version's."""
    try:
        return from_document(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        start = line[:60].decode("utf-8", "backslashreplace").strip()
        raise CorruptError(f"no record of an export: {start!r}") from None


def as_document(record: ExportRecord) -> dict[str, Any]:
    match record:
        case Header():
            return {"export": VERSION, **record._asdict()}
        case TimelineRecord():
            document = record._asdict()
            del document["name"], document["metadata"], document["retention"]
            return {
                "timeline": _text(record.name),
                **document,
                "metadata": _pairs(record.metadata),
                "retention": record.retention._asdict(),
            }
        case EntryRecord():
            return {
                "seq": record.seq,
                "time": record.time,
                "lsn": record.lsn,
                "fields": _pairs(record.fields),
            }
        case RowRecord():
            return {
                "family": record.family,
                "key": b64encode(record.key).decode(),
                "value": b64encode(record.value).decode(),
            }
        case End():
            return {"end": record.records, "crc": record.crc}


def from_document(document: dict[str, Any]) -> ExportRecord:
    if "seq" in document or "fields" in document:
        return EntryRecord(
            _number(document.get("seq", 0)),
            _number(document.get("time", 0)),
            _number(document.get("lsn", 0)),
            _items(document["fields"]),
        )
    if "timeline" in document:
        bounds = document.get("retention", {})
        record = TimelineRecord(
            _bytes(document["timeline"]),
            **{name: _number(document.get(name, 0)) for name in _NUMBERS},
            metadata=tuple(_items(document.get("metadata", []))),
            retention=NO_RETENTION._replace(
                **{name: _number(bound) for name, bound in bounds.items()}
            ),
            skipped=_signed(document.get("skipped", 0)),
        )
        if record.kind not in (RAW, INBOX):
            raise ValueError(record.kind)
        return record
    if "family" in document:
        return RowRecord(
            FAMILIES[FAMILIES.index(document["family"])],
            b64decode(document["key"], validate=True),
            b64decode(document["value"], validate=True),
        )
    if "end" in document:
        crc = document.get("crc")
        return End(_number(document["end"]), None if crc is None else _number(crc))
    version = document.pop("export")
    if version > VERSION:
        raise FormatVersionError(
            f"the export is of version {version}, this version of Timeline reads up to {VERSION}"
        )
    for name, value in document.items():
        if isinstance(value, bool) != (name in ("exact", "whole")):
            raise ValueError(name)
        _number(value)
    return Header(**document)


def _number(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise ValueError(value)
    return value


def _signed(value: object) -> int:
    if not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(value)
    return value


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _bytes(value: str | dict[str, str]) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return b64decode(value["base64"], validate=True)


def _pairs(items: Sequence[bytes]) -> list[list[str | dict[str, str]]]:
    return [
        [_text(name), _text(value)] for name, value in zip(items[::2], items[1::2], strict=True)
    ]


def _items(pairs: Sequence[Sequence[str | dict[str, str]]]) -> list[bytes]:
    found = []
    for name, value in pairs:
        found += [_bytes(name), _bytes(value)]
    return found
