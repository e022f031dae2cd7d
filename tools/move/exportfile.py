"""The file of an export: lines of JSON or the binary form.

Responsibility: write records to a file that appears when it is whole; go on with one that was
interrupted; read records back, and find what is missing or damaged.

Rule: the last record holds the number of records and the CRC-32C of every byte before it. Until it
is written, the file is called FILE.part. The same export goes on after the last whole record of
FILE.part, if its header is the same, that is, if nothing was written to the store since. A
FILE.part that does not begin as an export is not ours, and stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from crc32c import crc32c

from timeline.errors import CorruptError, ExistsError, TimelineError, shown
from timeline.formats.export import End, ExportRecord, decode_line, encode_line
from timeline.formats.export_binary import HEAD, MAGIC, decode_binary, encode_binary
from timeline.storage.lock import Lock

_LARGEST_RECORD_BYTES: Final = 1 << 30  # a record beyond it is damage
_BEGINNINGS: Final = (MAGIC, b'{"export": ')  # of a file that is binary, or lines

Stream = BufferedReader | BufferedRandom


class Reader:
    """The records of a file, checked against its last one."""

    def __init__(self, file: Stream) -> None:
        self._file = file
        self.crc = 0
        self.count = 0
        self.position = 0  # after the last whole record

    def __iter__(self) -> Iterator[ExportRecord]:
        """Raises `CorruptError` if a record is damaged, or the end is missing or does not fit."""
        for record in self._records():
            if isinstance(record, End):
                if record.records != self.count or record.crc not in (None, self.crc):
                    raise CorruptError(
                        f"the export is damaged: it ends after {self.count:,} records with "
                        f"checksum {self.crc}, not {record.records:,} with {record.crc}"
                    )
                return
            self.count += 1
            yield record
        raise CorruptError(f"the export is cut off after {self.count:,} records: export it again")

    def whole(self) -> Iterator[ExportRecord]:
        """The whole records at the beginning of a file that was interrupted."""
        try:
            for record in self._records():
                if isinstance(record, End):
                    return
                self.count += 1
                yield record
        except TimelineError:
            return

    def _records(self) -> Iterator[ExportRecord]:
        if self._file.peek(len(MAGIC))[: len(MAGIC)] == MAGIC:
            self._take(self._file.read(len(MAGIC)))
            return self._binary()
        return self._lines()

    def _lines(self) -> Iterator[ExportRecord]:
        while (line := self._file.readline()).endswith(b"\n"):
            record = decode_line(line) if line.strip() else None
            if not isinstance(record, End):
                self._take(line)
            if record is not None:
                yield record

    def _binary(self) -> Iterator[ExportRecord]:
        while head := self._file.read(HEAD.size):
            if len(head) < HEAD.size:
                return
            kind, size = HEAD.unpack(head)
            if size > _LARGEST_RECORD_BYTES:
                raise CorruptError(f"the export is damaged after record {self.count:,}")
            body = self._file.read(size)
            if len(body) < size:
                return
            record = decode_binary(kind, body)
            if not isinstance(record, End):
                self._take(head, body)
            yield record

    def _take(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.crc = crc32c(piece, self.crc)
            self.position += len(piece)


def write(
    path: Path,
    records: Iterator[ExportRecord],
    *,
    binary: bool,
    overwrite: bool,
    tell: Callable[[int], None],
) -> tuple[int, int]:
    """Write `records` and their end to `path`. Returns how many, and how many were there before.

    `tell` is called with the number so far. A failure removes what was written; Ctrl-C keeps it.
    Raises `ExistsError` where `path` is there already, unless it is a file to `overwrite`, and
    where its FILE.part is no export.
    """
    partial = path.with_name(path.name + ".part")
    refuse_existing(path, overwrite=overwrite)  # before the lock makes a file next to it
    lock = Lock(partial, path, "wait until it has written that, or name another")
    try:
        refuse_existing(path, overwrite=overwrite)
        _refuse_foreign(partial)
        try:
            counts = _write(partial, records, binary=binary, tell=tell)
            partial.replace(path)
        except Exception:
            partial.unlink(missing_ok=True)
            raise
    finally:
        lock.release()
    return counts


def _write(
    partial: Path,
    records: Iterator[ExportRecord],
    *,
    binary: bool,
    tell: Callable[[int], None],
) -> tuple[int, int]:
    count = before = 0
    with partial.open("a+b") as file:
        there = _Earlier(file, binary=binary)
        writer: Writer | None = None
        for count, record in enumerate(records, 1):
            if writer is None:
                if there.holds(record):
                    before = count
                    continue
                writer = Writer(file, binary=binary, crc=there.cut())
            writer.add(record)
            if count % 1_000 == 0:
                tell(count)
        (writer or Writer(file, binary=binary, crc=there.cut())).end(count)
        file.flush()
        os.fsync(file.fileno())
    return count, before


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raises `ExistsError` where an export may not be written."""
    if path.exists() and not path.is_file():
        raise ExistsError(f"{shown(bytes(path))} is no file: name one, or - for standard output")
    if os.path.lexists(path) and not overwrite:
        raise ExistsError(
            f"{shown(bytes(path))} is there already: name another file, or say --overwrite"
        )


def _refuse_foreign(partial: Path) -> None:
    """Raises `ExistsError` for what no interrupted export left. It may have left any beginning of
    an export, also none.
    """
    if partial.is_file():
        with partial.open("rb") as file:
            head = file.read(max(map(len, _BEGINNINGS)))
        if any(head.startswith(each) or each.startswith(head) for each in _BEGINNINGS):
            return
    raise ExistsError(
        f"{shown(bytes(partial))} is no export that was interrupted: move it away, or name "
        "another file"
    )


class _Earlier:
    """What an interrupted export left in its file."""

    def __init__(self, file: Stream, *, binary: bool) -> None:
        self._file = file
        file.seek(0)
        same = (file.peek(1)[:1] == MAGIC[:1]) == binary
        self._reader = Reader(file)
        self._records = self._reader.whole() if same else iter(())
        self._position = 0
        self._crc: int | None = None

    def holds(self, record: ExportRecord) -> bool:
        """Whether the next record in the file is this one."""
        if next(self._records, None) != record:
            return False
        self._position, self._crc = self._reader.position, self._reader.crc
        return True

    def cut(self) -> int | None:
        """Keep only the records that `holds` found. Returns their CRC, None if there are none."""
        self._file.truncate(self._position)
        return self._crc


class Writer:
    """Writes records to a file or a pipe: from its beginning, or after those whose checksum is
    `crc`.
    """

    def __init__(self, file: BinaryIO | Stream, *, binary: bool, crc: int | None = None) -> None:
        self._file = file
        self._encode: Callable[[ExportRecord], bytes] = encode_binary if binary else encode_line
        self._crc = crc or 0
        if binary and crc is None:
            self._put(MAGIC)

    def add(self, record: ExportRecord) -> None:
        self._put(self._encode(record))

    def _put(self, piece: bytes) -> None:
        self._crc = crc32c(piece, self._crc)
        self._file.write(piece)

    def end(self, count: int) -> None:
        """The last record, after `count` others."""
        self._file.write(self._encode(End(count, self._crc)))
        self._file.flush()
