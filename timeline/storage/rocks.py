"""RocksDB, and the only place that knows it.

Responsibility: open and lock the directory, keep its column families, write batches, read,
iterate, fsync, and translate RocksDB's errors into ours.

Rule: what is written is unsynced until `sync` returns, and a crash loses a suffix of the writes
only (the WAL is replayed as written, and all column families are flushed together). The WAL holds
the commit log and little else: what sealing and compaction write can be made again from the log.
Nothing here retries, and nothing outside sees an object of the binding, so that closing really
closes.

How it fails: `LockedError` when another process holds the directory, `CorruptError` when RocksDB
finds damage, `StallError` when it asks for a pause (nothing was written), `StorageError` for the
rest.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    BottommostLevelCompaction,
    Cache,
    Checkpoint,
    CompactOptions,
    DbClosedError,
    DBCompressionType,
    DBPath,
    DBRecoveryMode,
    Options as RocksOptions,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from timeline.errors import (
    ClosedError,
    CorruptError,
    LockedError,
    ReadOnlyError,
    StallError,
    StorageError,
    TimelineError,
    UsageError,
)
from timeline.options import KIB, MIB, Options
from timeline.storage.descriptors import keep_standard
from timeline.storage.files import seclude
from timeline.storage.scratch import Scratch

META: Final = "default"  # what the store is, progress of sealing, checkpoints
LOG: Final = "log"  # last LSN → record
SEGMENTS: Final = "segments"  # timeline ‖ last seq → entries
INBOXES: Final = "inboxes"  # in-box ‖ last LSN → references; in-box ‖ 0 → its floor
PATCHES: Final = "patches"  # timeline ‖ seq → the entry as it now is, empty when deleted
STATE: Final = "state"  # names, rows of timelines, memberships, and what is built above
_ALL: Final = ""  # the database itself, among its families
FAMILIES: Final = (META, LOG, SEGMENTS, INBOXES, PATCHES, STATE)
_FEW_KEYS: Final = 64
_TABLES: Final = 512  # that are kept open
_TRIES: Final = 20  # to open what its owner is changing


class Batch:
    """Writes that take effect together. Belongs to the storage that made it."""

    __slots__ = ("_batch", "_handles")

    def __init__(self, handles: dict[str, object]) -> None:
        self._batch = WriteBatch(raw_mode=True)
        self._handles = handles

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self._batch.put(key, value, self._handles[family])  # type: ignore[arg-type]

    def delete(self, family: str, key: bytes) -> None:
        self._batch.delete(key, self._handles[family])  # type: ignore[arg-type]

    def delete_range(self, family: str, start: bytes, stop: bytes) -> None:
        """Delete the keys from `start` up to, without, `stop`."""
        self._batch.delete_range(start, stop, self._handles[family])  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._batch)


class Storage:
    """An open RocksDB. Not thread-safe by itself, except `sync`, `sync_busy` and `compact`."""

    _read_only = False

    def __init__(
        self, path: Path, options: Options, *, salvage: bool = False, read_only: bool = False
    ) -> None:
        """Open `path`; with `salvage` accept a WAL that is damaged, up to the damage.

        With `read_only` neither is it locked nor does a damaged file keep the rest from being read;
        all files are opened at once, so that it does not matter if they are removed afterwards.
        """
        self.path = path
        whole = _database_options(options, salvage=salvage)
        if read_only:
            whole.create_missing_column_families(False)
            whole.set_paranoid_checks(False)
            whole.set_max_open_files(-1)
        else:
            seclude(path)  # a kill left its files as the umask has them
        access = AccessType.read_only() if read_only else AccessType.read_write()
        self._read_only = read_only
        # What is read to be checked is read from the disk, not from what others have of it.
        cache = Cache(MIB) if read_only else _block_cache(options.block_cache_bytes)
        self._open(path, whole, options, access, cache)

    def _open(
        self, where: Path, whole: RocksOptions, options: Options, access: AccessType, cache: Cache
    ) -> None:
        if _process.threads_left_behind and not self._read_only:
            raise UsageError(
                "this process was forked from one that had opened a store, and has not the threads "
                "that one needs: fork before opening any, or start the process by spawn"
            )
        families = {name: _family_options(name, options, cache) for name in FAMILIES}
        _process.opened = True
        keep_standard()
        try:
            database = Rdict(str(where), whole, families, access)
        except Exception as error:
            _translate(error, self.path)
        # Everything that keeps RocksDB open, so that letting go of it closes.
        self._families = {name: database.get_column_family(name) for name in FAMILIES}
        self._families[_ALL] = database
        self._handles: dict[str, object] = {
            name: database.get_column_family_handle(name) for name in FAMILIES
        }
        self._no_slowdown = WriteOptions()
        self._no_slowdown.no_slowdown = True
        self._unlogged = WriteOptions()
        self._unlogged.no_slowdown = True
        self._unlogged.disable_wal = True  # type: ignore[assignment,method-assign]
        # What a write or an fsync, anybody's, failed with first: RocksDB takes no more writes then.
        self.failed: TimelineError | None = None

    def batch(self) -> Batch:
        return Batch(self._handles)

    def write(self, batch: Batch, *, logged: bool = True) -> None:
        """Write unsynced. Raises `StallError` (nothing was written) or another error (unknown).

        What is not `logged` stays out of the WAL and becomes durable when RocksDB flushes its
        memory, all families at once; until then a crash loses it, as a suffix of such writes. For
        what can be made again from the log.
        """
        options = self._no_slowdown if logged else self._unlogged
        try:
            self._families[_ALL].write(batch._batch, options)  # noqa: SLF001  one module, two halves
        except Exception as error:
            self._fail(error)

    def sync(self) -> None:
        """Make everything written so far durable; other threads run meanwhile."""
        try:
            self._families[_ALL].flush_wal(True)
        except Exception as error:
            self._fail(error)

    def get(self, family: str, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as error:
            _translate(error, self.path)
        return value

    def at_or_after(self, family: str, key: bytes, stop: bytes) -> tuple[bytes, bytes] | None:
        """The first pair from `key` up to, without, `stop`."""
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        try:
            iterator = self._families[family].iter(bounds)
            iterator.seek(key)
            if iterator.valid():
                return iterator.key(), iterator.value()
            iterator.status()
        except Exception as error:
            _translate(error, self.path)
        return None

    def at_or_before(self, family: str, key: bytes, start: bytes) -> tuple[bytes, bytes] | None:
        """The last pair from `start` up to and with `key`.

        The binding's lower bound acts as an upper one (rocksdict 0.3.29), so `start` is checked
        here; a run of deleted keys before `key` is walked over.
        """
        try:
            iterator = self._families[family].iter()
            iterator.seek_for_prev(key)
            if iterator.valid():
                found = iterator.key()
                return (found, iterator.value()) if found >= start else None
            iterator.status()
        except Exception as error:
            _translate(error, self.path)
        return None

    def scan(self, family: str, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs from `start` up to, without, `stop`, as they were when the scan began.

        Close the iterator (or exhaust it) before closing the storage.
        """
        for iterator in self._walk(family, start, stop):
            yield iterator.key(), iterator.value()

    def keys(self, family: str, start: bytes, stop: bytes) -> Iterator[bytes]:
        """Keys from `start` up to, without, `stop`."""
        for iterator in self._walk(family, start, stop):
            yield iterator.key()

    def _walk(self, family: str, start: bytes, stop: bytes) -> Iterator[RdictIter]:
        """An iterator on each pair in turn. The binding's own `items` and `keys` end without a
        word at a damaged block (rocksdict 0.3.29); here the end must be a real one.
        """
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(stop)
        try:
            iterator = self._families[family].iter(bounds)
            iterator.seek(start)
            while iterator.valid():
                yield iterator
                iterator.next()
            iterator.status()
        except Exception as error:
            _translate(error, self.path)

    def clear(self, batch: Batch, family: str, start: bytes, stop: bytes) -> bool:
        """Delete in `batch` the keys from `start` up to, without, `stop`: few of them one by one,
        which costs later reads less, many as a range. Whether there were any.
        """
        found = list(islice(self.keys(family, start, stop), _FEW_KEYS + 1))
        if len(found) > _FEW_KEYS:
            batch.delete_range(family, found[0], stop)
        else:
            for key in found:
                batch.delete(family, key)
        return bool(found)

    def compact(
        self, family: str, start: bytes | None, stop: bytes | None, *, force: bool = False
    ) -> bool:
        """Rewrite the files of a key range, so that what was deleted leaves the disk; whether that
        is known to be done, which it is not while RocksDB is too busy to say.

        Only with `force` is every file of the range written anew, once: otherwise RocksDB may move
        one with a deletion beside the one with what it deletes, and leave both at that.

        The binding does not say when that failed, on a full disk or for damage that it met; the
        next write does, and would be refused (rocksdict 0.3.29).
        """
        try:
            how = CompactOptions()
            if force:
                how.set_bottommost_level_compaction(BottommostLevelCompaction.force_optimized())
            self._families[family].compact_range(start, stop, how)
            self._families[_ALL].write(self.batch()._batch, self._unlogged)  # noqa: SLF001
        except Exception as error:
            with suppress(StallError):  # it is only busy
                self._fail(error)
            return False
        return True

    def checkpoint(self, path: Path) -> None:
        """A consistent copy as of now at `path`, by hard links where the file system can."""
        try:
            Checkpoint(self._families[_ALL]).create_checkpoint(str(path))
        except Exception as error:
            _translate(error, self.path)

    def measure(self, name: str, family: str = META) -> int:
        """An integer property of RocksDB (`rocksdb.<name>`), 0 where it has none."""
        try:
            return self._families[family].property_int_value(f"rocksdb.{name}") or 0
        except Exception as error:
            _translate(error, self.path)

    def tables(self) -> list[str]:
        """Names of the files that rows are in."""
        try:
            live = self._families[_ALL].live_files()
        except Exception as error:
            _translate(error, self.path)
        return [str(file["name"]).lstrip("/") for file in live]

    def missing(self) -> list[str]:
        """Names of files that belong to the database and are not there."""
        return [name for name in self.tables() if not (self.path / name).exists()]

    def flush(self) -> None:
        """Have RocksDB put what it holds in memory on the disk, all families at one point.

        Compacting a family begins with that; the binding's own `flush` (and its `close`) would
        flush a single family, and tear apart what belongs together.
        """
        self.compact(META, None, None)

    def _fail(self, error: Exception) -> NoReturn:
        try:
            _translate(error, self.path)
        except StallError:
            raise
        except TimelineError as failure:
            self.failed = self.failed or failure
            raise

    def close(self) -> None:
        """Release the directory. Every scan must be closed before.

        What was written outside the WAL is flushed; where that fails, on a full disk or for damage,
        it is made again from the log at the next opening.
        """
        if not self._families:
            return
        if self.failed is None and not self._read_only:
            with suppress(CorruptError, StorageError):
                self.flush()
        self._release()
        if not self._read_only:
            seclude(self.path)

    def _release(self) -> None:
        # RocksDB closes when the last reference goes, without the binding's flush by family.
        self._handles.clear()
        self._families.clear()


class ReadOnlyStorage(Storage):
    """What a RocksDB held when it was opened or last caught up with, whoever has it open.

    RocksDB calls that a secondary. It writes below a directory of its own only, which is temporary;
    the binding would also write its own file beside the database (rocksdict 0.3.29), so what it is
    shown is that directory, with links to the files that RocksDB looks for by name.

    Rule: it is caught up with along one file of the WAL only. Once its owner has flushed, what was
    read from the WAL before would hide what was written past it (RocksDB believes memory to be
    newer than files), so it is opened anew when files came or went.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path
        self.failed = None
        self._options = options
        self._families = {}
        self._handles = {}
        self._own = Scratch()
        self._shown = self._own.path / "shown"
        try:
            self._open_between_changes()
        except BaseException:
            self._own.remove()
            raise

    def catch_up(self) -> None:
        """Move on to what is there now. Every scan must be closed before."""
        caught_up = False
        with suppress(Exception):  # opening it anew tells what is wrong
            self._families[_ALL].try_catch_up_with_primary()
            caught_up = True
        if not caught_up or self._files() != self._opened:
            self._open_between_changes()

    def _open_between_changes(self) -> None:
        """Open it, again where files came or went meanwhile: what the owner moves from one to
        another would be in neither. Raises `CorruptError` when files stay left out.
        """
        before: list[str] = []
        for left in reversed(range(_TRIES)):
            self._release()
            try:
                self._open_secondary()
                if self._files() != self._opened:
                    continue
                missing = self._left_out()
            except CorruptError:
                raise
            except StorageError as error:  # a file was gone when its turn came
                if left:
                    continue
                if "deleted the old one" in str(error):
                    raise CorruptError(
                        f"{self.path}: the MANIFEST that CURRENT names is missing"
                    ) from error
                raise
            if not missing or self._files() != self._opened:  # what came since is not missed
                return
            if missing == before:
                self._check_files()
            before = missing

    def _left_out(self) -> list[str]:
        """Files that belong to the database and cannot be opened. A secondary takes a family with
        one of them for empty and says nothing, since its owner may be about to write it.
        """
        listing = _database_options(self._options, salvage=False)
        listing.set_paranoid_checks(False)
        listed = self._list(listing)
        try:
            opened = self._families[_ALL].live_files()
        except Exception as error:
            _translate(error, self.path)
        return sorted(listed - {str(file["name"]) for file in opened})

    def _check_files(self) -> None:
        """Raises, with what RocksDB says of it, when a file cannot be opened."""
        checking = _database_options(self._options, salvage=False)
        checking.set_max_open_files(-1)
        self._list(checking)

    def _list(self, options: RocksOptions) -> set[str]:
        """The files of the database, opened another time without its WAL."""
        options.create_if_missing(False)
        options.create_missing_column_families(False)
        options.set_wal_dir(str(self._own.path / "secondary"))  # which has none
        options.set_db_paths([DBPath(str(self.path), 1 << 62)])
        families = {name: _family_options(name, self._options, Cache(MIB)) for name in FAMILIES}
        try:
            found = Rdict(str(self._shown), options, families, AccessType.read_only()).live_files()
        except Exception as error:
            _translate(error, self.path)
        return {str(file["name"]) for file in found}

    def _open_secondary(self) -> None:
        whole = _database_options(self._options, salvage=False)
        whole.create_if_missing(False)
        whole.set_wal_dir(str(self.path))
        whole.set_db_paths([DBPath(str(self.path), 1 << 62)])
        whole.set_max_open_files(-1)  # what the owner deletes stays readable while it is open
        self._opened = self._files()
        for name in ("CURRENT", *self._opened):
            if name.startswith(("CURRENT", "MANIFEST-")):
                self._own.show(self.path, name, "shown")
        access = AccessType.secondary(str(self._own.path / "secondary"))
        cache = _block_cache(self._options.block_cache_bytes)
        self._open(self._shown, whole, self._options, access, cache)

    def _files(self) -> set[str]:
        """The files that hold the store, by name."""
        try:
            names = [file.name for file in self.path.iterdir()]
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}") from error
        return {name for name in names if name.endswith((".sst", ".log")) or "MANIFEST-" in name}

    def write(self, _: Batch, *, logged: bool = True) -> None:  # noqa: ARG002
        raise _read_only(self.path)

    def sync(self) -> None:
        raise _read_only(self.path)

    def compact(self, *_: object, force: bool = False) -> bool:  # noqa: ARG002
        raise _read_only(self.path)

    def close(self) -> None:
        self._release()
        self._own.remove()


def _read_only(path: Path) -> ReadOnlyError:
    return ReadOnlyError(f"{path} was opened read only: nothing was done")


def sort_files(path: Path, options: Options) -> list[str]:
    """Have RocksDB make a new list of the files in `path` that it can read from end to end; names
    of the others.
    """
    try:
        Rdict.repair(str(path), _database_options(options, salvage=True))
    except Exception as error:
        _translate(error, path)
    return sorted(file.name for file in (path / "lost").glob("*.sst"))


def rebuild_files(path: Path, options: Options) -> None:
    """Have RocksDB make a database again of the files in `path` that it can read."""
    sort_files(path, options)
    Storage(path, options, salvage=True).close()  # makes the families of which nothing is left


def table_files(limit: int) -> int:
    """How many tables RocksDB keeps open in a process that may have `limit` open files."""
    return _TABLES if limit == resource.RLIM_INFINITY else min(_TABLES, limit // 4)


def _database_options(options: Options, *, salvage: bool) -> RocksOptions:
    rocks = RocksOptions(raw_mode=True)
    rocks.create_if_missing(options.create)
    rocks.create_missing_column_families(True)
    # All families reach the disk together; otherwise a lost WAL file leaves one newer than another.
    rocks.set_atomic_flush(True)
    # A torn tail is a crash and is cut; damage before it is not, and RocksDB's default would pass.
    rocks.set_wal_recovery_mode(
        DBRecoveryMode.point_in_time()
        if salvage
        else DBRecoveryMode.tolerate_corrupted_tail_records()
    )
    rocks.set_max_background_jobs(2)
    rocks.set_keep_log_file_num(4)
    rocks.set_max_log_file_size(4 * MIB)
    rocks.set_bytes_per_sync(MIB)
    rocks.set_max_total_wal_size(8 * options.write_buffer_bytes)
    rocks.set_max_open_files(table_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    rocks.set_stats_dump_period_sec(0)
    rocks.set_stats_persist_period_sec(0)
    return rocks


def _family_options(name: str, options: Options, cache: Cache) -> RocksOptions:
    rocks = RocksOptions(raw_mode=True)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_format_version(5)
    table.set_block_size(16 * KIB)
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    if name in (STATE, PATCHES):
        table.set_bloom_filter(10, False)  # most look-ups of names and keys find nothing
    rocks.set_block_based_table_factory(table)
    # When the log's is full all families are flushed, so it bounds what an opening must replay.
    buffer = options.write_buffer_bytes
    rocks.set_write_buffer_size(min(buffer, options.unsealed_bytes) if name == LOG else buffer)
    rocks.set_max_write_buffer_number(4)
    rocks.set_level_compaction_dynamic_level_bytes(True)
    rocks.set_compression_type(DBCompressionType.none() if name == LOG else DBCompressionType.lz4())
    # Sealing writes over all timelines, so every merge rewrites the bottom: merge seldom.
    rocks.set_level_zero_file_num_compaction_trigger(12)
    if name != LOG:
        rocks.set_bottommost_compression_type(DBCompressionType.zstd())
    return rocks


_caches: dict[int, Cache] = {}


def _block_cache(size: int) -> Cache:
    """One cache for all families, shared by the storages of a process that ask for one size."""
    return _caches.setdefault(size, Cache(size))


class _Process:
    """RocksDB has threads for a whole process, which a fork leaves behind: a child would wait for
    them for ever when it flushes.
    """

    opened = False  # a store, some time
    threads_left_behind = False

    def note_fork(self) -> None:
        self.threads_left_behind = self.opened


_process = _Process()
os.register_at_fork(after_in_child=_process.note_fork)


_LOCKED = re.compile(r"lock hold by current process|While lock file|lock file", re.IGNORECASE)
_KINDS = re.compile(r"^(?:(?:Corruption|IO error|Invalid argument|Not implemented): )+")
_MISSING = re.compile(r"(/[^:]*): No such file or directory")


def _translate(error: Exception, path: Path) -> NoReturn:
    """Raise ours for RocksDB's; its errors are told apart by their text only."""
    if isinstance(error, TimelineError):
        raise error
    said = str(error).partition("  The file ")[0]  # its guess at another that may be to blame
    text = _KINDS.sub("", said).strip()
    if isinstance(error, (DbClosedError, KeyError)) or "DB already closed" in text:
        raise ClosedError(
            "the store is not open: it was closed, or is to be opened again after a failure"
        ) from error
    if _LOCKED.search(text):
        raise LockedError(
            f"{path} is in use by another process: stop it, or talk to it over the network"
        ) from error
    if "Write stall" in text:
        raise StallError("the disk cannot keep up: try again later") from error
    if "Permission denied" in text:
        raise StorageError(
            f"no permission for a file in {path}: run as its owner, or have root give back what it "
            f"made there ({text})"
        ) from error
    if missing := _MISSING.search(text):
        raise CorruptError(f"{path}: a file of the store is missing: {missing[1]}") from error
    if "Column family not found" in text:
        raise CorruptError(
            f"{path}: its MANIFEST does not know all of the store: {text}"
        ) from error
    if "Corruption" in said or "checksum mismatch" in text.lower():
        raise CorruptError(f"{path}: RocksDB found damage: {text}") from error
    if "No space left on device" in text:
        raise StorageError(f"{_room_for(path)} ({text})") from error
    if "File too large" in text:
        raise StorageError(
            f"a file in {path} may not grow any more: raise the limit of file sizes (`ulimit -f`, "
            f"LimitFSIZE) ({text})"
        ) from error
    raise StorageError(f"{path}: {text}") from error


def _room_for(path: Path) -> str:
    """What there is none of on a disk that takes no more, and what to do."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return f"the disk of {path} is full: free some space"
    if disk.f_files and not disk.f_ffree:
        return f"the disk of {path} takes no more files: remove some, or make it with more inodes"
    return f"the disk of {path} is full: free some space"
