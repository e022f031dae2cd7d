"""Backups: a consistent copy of a store that goes on being written, and a store made from one.

    TARGET/manifest.json    what it is, and each file with its size and checksum; written last
    TARGET/files/           the files of a RocksDB checkpoint, and one with the log above it and
                            what followers have yet to read

Rule: a backup holds every commit up to one LSN and nothing of a later one. The manifest is written
last: a directory without one is no backup. RocksDB never changes a table once it is written. So a
table is linked, not copied, where the store or an earlier backup next to the target has it on the
same file system. A restored store has an epoch of its own: cursors of the original resync.

The search index is no part of a backup. It is built again from the store.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from timeline.admin.progress import Progress, ignore
from timeline.engine.engine import Engine
from timeline.engine.store.directory import CHECKPOINT, FORMER_FORMAT, LOG, MARK, ROCKS
from timeline.errors import (
    BusyError,
    CorruptError,
    FormatVersionError,
    NotFoundError,
    StorageError,
    reason,
)
from timeline.formats.manifest import (
    MANIFEST,
    BackupFile,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from timeline.formats.rows import FORMAT
from timeline.log.copy import write_records
from timeline.log.file import first_of
from timeline.options import Options, anchored
from timeline.storage.files import (
    PRIVATE,
    checksum,
    copy,
    link,
    new_directory,
    seclude,
    sync_directory,
    write_durably,
)
from timeline.storage.mark import DurableMark

FILES: Final = "files"
_IMMUTABLE: Final = ".sst"


def back_up(engine: Engine, target: Path, progress: Progress = ignore) -> Manifest:
    """Back up to the new directory `target` while writes go on. `progress` counts bytes.

    Raises `ExistsError`, `BusyError` while another backup is under way, `StorageError`.
    """
    target = anchored(target)
    with _checkpoint(engine) as (kept, lsn, records), new_directory(target) as partial:
        sources = sorted(kept.iterdir())
        (partial / FILES).mkdir(mode=PRIVATE)
        log = _copy_log(engine, partial / FILES, records, lsn)
        moved = _Meter(sum(path.stat().st_size for path in (log, *sources)), progress)
        files = [BackupFile(log.name, log.stat().st_size, checksum(log, moved))]
        earlier = _earlier(target)
        for source in sources:
            size, crc = source.stat().st_size, checksum(source, moved)
            place = partial / FILES / source.name
            shared = [source, *earlier.get((size, crc), ())] if source.suffix == _IMMUTABLE else []
            if not any(link(each, place) for each in shared) and copy(source, place) != crc:
                raise CorruptError(f"{source} changed while it was copied: back up again")
            files.append(BackupFile(source.name, size, crc))
        sync_directory(partial / FILES)
        now = time.time_ns() // 1_000_000
        manifest = Manifest(FORMAT, engine.view.epoch, lsn, now, tuple(files))
        write_durably(partial / MANIFEST, encode_manifest(manifest))
    return manifest


def _copy_log(
    engine: Engine, directory: Path, records: Iterator[tuple[int, int, bytes]], lsn: int
) -> Path:
    now = time.time_ns() // 1_000_000
    return write_records(directory, records, last=lsn, epoch=engine.view.epoch, now=now)


@contextmanager
def _checkpoint(
    engine: Engine,
) -> Iterator[tuple[Path, int, Iterator[tuple[int, int, bytes]]]]:
    """The files of the store as of one LSN, that LSN, and the log above what is sealed in them.
    Writes go on, but these files stay as they are while the block runs. Raises `BusyError` while
    another backup is under way.
    """
    engine.check_writable()  # a read-only opening leaves the owner's files alone
    if not engine.copying.acquire(blocking=False):
        raise BusyError("a backup is under way: try again when it is done")
    directory = engine.path / CHECKPOINT  # RocksDB makes one next to `files` first
    files = directory / "files"
    try:
        shutil.rmtree(directory, ignore_errors=True)
        try:
            directory.mkdir(mode=PRIVATE)
        except OSError as error:
            raise StorageError(f"{directory} cannot be made: {reason(error)}") from error
        engine.store.flush()  # so that little is left to flush under the lock
        with engine.standing_still():
            engine.check_writable()
            engine.store.storage.checkpoint(files)
            records = engine.log.copied(engine.store.sealing.sealed)
            lsn = engine.applied
        seclude(engine.store.storage.path)  # the files of the checkpoint are its files
        yield files, lsn, records
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        engine.copying.release()


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup. Raises `NotFoundError`, `CorruptError`, `FormatVersionError`."""
    try:
        value = (backup / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        found = (backup / ROCKS).is_dir()
        problem = "is a store, no backup" if found else "is no backup"
        raise NotFoundError(
            f"{backup} {problem}: it has no {MANIFEST}, which is written last"
        ) from None
    except OSError as error:
        raise StorageError(f"{backup / MANIFEST} cannot be read: {reason(error)}") from error
    manifest = decode_manifest(value)
    if manifest.format not in (FORMER_FORMAT, FORMAT):
        raise FormatVersionError(
            f"{backup} is of a store of format {manifest.format}, this version reads "
            f"{FORMER_FORMAT} and {FORMAT}: restore it with the version of Timeline that made it"
        )
    return manifest


def restore(
    backup: str | os.PathLike[str], target: str | os.PathLike[str], progress: Progress = ignore
) -> Manifest:
    """Make a store of `backup` in the directory `target`, which is new or empty.

    Every file is compared with its checksum. `progress` counts bytes. Raises `ExistsError`,
    `NotFoundError`, `CorruptError`, `FormatVersionError`, `StorageError`.
    """
    backup, target = anchored(backup), anchored(target)
    manifest = read_manifest(backup)
    moved = _Meter(manifest.size, progress)
    with new_directory(target) as partial:
        (partial / ROCKS).mkdir(mode=PRIVATE)
        (partial / LOG).mkdir(mode=PRIVATE)
        for file in manifest.files:
            source = backup / FILES / file.name
            if not source.is_file():
                raise CorruptError(f"{source} is missing: restore another backup")
            if copy(source, partial / folder_of(file.name) / file.name, moved) != file.crc:
                raise CorruptError(f"{source} is damaged: restore another backup")
        sync_directory(partial / ROCKS)
        sync_directory(partial / LOG)
        mark = DurableMark(partial / MARK)
        mark.write(manifest.lsn)
        mark.close()
        with Engine(partial, Options(create=False, new_epoch=True)) as engine:
            if engine.store.opened_at != manifest.lsn:
                raise CorruptError(
                    f"{backup} ends at LSN {engine.store.opened_at}, not at {manifest.lsn} as its "
                    "manifest says: restore another backup"
                )
    return manifest


def folder_of(name: str) -> str:
    """In which folder of a store a file of a backup belongs."""
    return ROCKS if first_of(Path(name)) is None else LOG


def _earlier(target: Path) -> dict[tuple[int, int], list[Path]]:
    """The files of the backups next to `target`, by size and checksum."""
    found: dict[tuple[int, int], list[Path]] = {}
    for path in sorted(target.parent.glob(f"[!.]*/{MANIFEST}")):
        try:
            manifest = read_manifest(path.parent)
        except (CorruptError, FormatVersionError, NotFoundError, StorageError):
            continue  # it cannot be linked from: the file is copied
        for file in manifest.files:
            place = path.parent / FILES / file.name
            found.setdefault((file.size, file.crc), []).append(place)
    return found


class _Meter:
    """Adds up the bytes that were moved and tells `progress`."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done = 0
        self._total = total
        self._progress = progress

    def __call__(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)
