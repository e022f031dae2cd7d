"""RocksDB as a store of keys and values in column families.

Responsibility: open and lock the directory, keep its column families, write batches, read, iterate
and flush. Its options are in `tuning`; its errors become ours in `failures`.

Rule: RocksDB's own WAL is not used. What is written is in memory until `flush` returns, or RocksDB
flushes by itself. All column families are flushed at one point, so a crash loses a suffix of the
writes. It can be made again from the commit log. Nothing here retries. No object of the binding
leaves this folder, so that closing really closes.

How it fails: `LockedError` when another process holds the directory, `CorruptError` when RocksDB
finds damage, `StallError` when it asks for a pause (nothing was written), `StorageError` for the
rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn

from rocksdict import (
    AccessType,
    BottommostLevelCompaction,
    Cache,
    Checkpoint,
    CompactOptions,
    Options as RocksOptions,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from timeline.errors import CorruptError, StallError, StorageError, TimelineError, UsageError
from timeline.formats.keys import MAX, pair, split_pair
from timeline.options import MIB, Options
from timeline.storage.descriptors import keep_standard
from timeline.storage.failures import translate
from timeline.storage.files import seclude
from timeline.storage.owners import Pair, pairs_of_owners
from timeline.storage.tuning import block_cache, database_options, family_options

META: Final = "default"  # what the store is, progress of sealing, checkpoints
SEGMENTS: Final = "segments"  # timeline ‖ last seq → entries
INBOXES: Final = "inboxes"  # in-box ‖ last LSN → references; in-box ‖ 0 → its floor
PATCHES: Final = "patches"  # timeline ‖ seq → the entry as it now is, empty when deleted
STATE: Final = "state"  # names, rows of timelines, memberships, and what is built above
WHOLE: Final = ""  # the database itself, where handles are kept by family
FAMILIES: Final = (META, SEGMENTS, INBOXES, PATCHES, STATE)
_OWNED: Final = (SEGMENTS, INBOXES, PATCHES)  # whose keys begin with an id
_OWNER_BYTES: Final = 8
FORMER_LOG: Final = "log"  # last LSN → record, in a store of format 1
_FEW_KEYS: Final = 64  # the most that are deleted one by one rather than as a range
_BUSY_SECONDS: Final = 0.002  # between two tries of what RocksDB is too busy for


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
    """An open RocksDB. Not thread-safe by itself, except `compact` and `flush`."""

    _read_only = False

    def __init__(
        self, path: Path, options: Options, *, salvage: bool = False, read_only: bool = False
    ) -> None:
        """Open `path`; with `salvage` accept a WAL, which a store of format 1 has, that is damaged,
        up to the damage.

        With `read_only` it is not locked, and a damaged file does not keep the rest from being
        read. All files are opened at once, so that they may be removed afterwards.
        """
        self.path = path
        whole = database_options(options, salvage=salvage)
        if read_only:
            whole.create_missing_column_families(False)
            whole.set_paranoid_checks(False)
            whole.set_max_open_files(-1)
        else:
            seclude(path)  # a kill left its files as the umask has them
        access = AccessType.read_only() if read_only else AccessType.read_write()
        self._read_only = read_only
        # A check reads from the disk, not from a cache that others filled.
        cache = Cache(MIB) if read_only else block_cache(options.block_cache_bytes)
        self._open(path, whole, options, access, cache)

    def _open(
        self, where: Path, whole: RocksOptions, options: Options, access: AccessType, cache: Cache
    ) -> None:
        if _process.threads_left_behind and not self._read_only:
            raise UsageError(
                "this process was forked from one that had opened a store, and has not the threads "
                "that one needs: fork before opening any, or start the process by spawn"
            )
        _process.opened = True
        keep_standard()
        try:
            families = families_options(options, cache, where)
            database = Rdict(str(where), whole, families, access)
        except Exception as error:
            translate(error, self.path)
        # Everything that keeps RocksDB open, so that dropping it closes.
        self._families = {name: database.get_column_family(name) for name in families}
        self._families[WHOLE] = database
        self._handles: dict[str, object] = {
            name: database.get_column_family_handle(name) for name in families
        }
        self._unlogged = WriteOptions()
        self._unlogged.no_slowdown = True
        self._unlogged.disable_wal = True  # type: ignore[assignment,method-assign]
        # The first failure of a write or a flush: RocksDB takes no more writes after one.
        self.failed: TimelineError | None = None
        self.before_write: Callable[[], None] | None = None  # what each write waits for

    def batch(self) -> Batch:
        return Batch(self._handles)

    def write(self, batch: Batch) -> None:
        """Write to memory. Raises `StallError` (nothing was written), another error (unknown), and
        what `before_write` raises.

        It becomes durable when RocksDB flushes its memory, all families at once. Until then a crash
        loses it, and with it all later writes.
        """
        if self.before_write is not None:
            self.before_write()
        try:
            self._families[WHOLE].write(batch._batch, self._unlogged)  # noqa: SLF001  one module, two halves
        except Exception as error:
            self._fail(error)

    @property
    def has_former_log(self) -> bool:
        """Whether it has the column family in which a store of format 1 kept its log."""
        return FORMER_LOG in self._families

    def drop_former_log(self) -> None:
        """Remove that column family and its files."""
        del self._handles[FORMER_LOG], self._families[FORMER_LOG]
        try:
            self._families[WHOLE].drop_column_family(FORMER_LOG)
        except Exception as error:
            self._fail(error)

    def get(self, family: str, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as error:
            translate(error, self.path)
        return value

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key. For ascending keys a fraction of the cost of `get` for each."""
        try:
            values: Any = self._families[family].get(list(keys))
        except Exception as error:
            translate(error, self.path)
        found: list[bytes | None] = values
        return found

    def last_positions(self, family: str, owners: Sequence[int]) -> list[int]:
        """The highest position in a key of each owner, 0 where it has none. For many owners in
        ascending order a fraction of the cost of looking up each.
        """
        how = ReadOptions()
        how.set_total_order_seek(False)  # each look-up is for one owner
        found = []
        try:
            iterator = self._families[family].iter(how)
            for owner in owners:
                last = 0
                iterator.seek_for_prev(pair(owner, MAX))
                if iterator.valid():
                    lies_with, position = split_pair(iterator.key())
                    last = position if lies_with == owner else 0
                else:
                    iterator.status()
                found.append(last)
        except CorruptError:
            raise
        except Exception as error:
            translate(error, self.path)
        return found

    def owned(
        self,
        family: str,
        owners: Sequence[int],
        position: int,
        *,
        most: int,
        most_bytes: int,
    ) -> Iterator[tuple[list[Pair], bool]]:
        """The pairs of each owner in turn, as they were when this began; see `pairs_of_owners`."""
        how = ReadOptions()
        how.set_iterate_upper_bound(pair(owners[-1] + 1, 0))
        how.set_total_order_seek(True)
        try:
            iterator = self._families[family].iter(how)
            yield from pairs_of_owners(iterator, owners, position, most, most_bytes)
        except CorruptError:
            raise
        except Exception as error:
            translate(error, self.path)

    def at_or_after(self, family: str, key: bytes, stop: bytes) -> tuple[bytes, bytes] | None:
        """The first pair from `key` up to, without, `stop`."""
        try:
            iterator = self._families[family].iter(_within(key, stop))
            iterator.seek(key)
            if iterator.valid():
                return iterator.key(), iterator.value()
            iterator.status()
        except Exception as error:
            translate(error, self.path)
        return None

    def at_or_before(self, family: str, key: bytes, start: bytes) -> tuple[bytes, bytes] | None:
        """The last pair from `start` up to and with `key`."""
        return next(self.scan_back(family, key, start), None)

    def scan_back(self, family: str, key: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs from `key` back to `start`, both included, as they were when the scan began.

        The binding's lower bound acts as an upper one (rocksdict 0.3.29), so `start` is checked
        here; a run of deleted keys is walked over. Close it as `scan`.
        """
        try:
            how = ReadOptions()
            how.set_total_order_seek(not _of_one_owner(start, key))
            iterator = self._families[family].iter(how)
            iterator.seek_for_prev(key)
            while iterator.valid():
                found = iterator.key()
                if found < start:
                    return
                yield found, iterator.value()
                iterator.prev()
            iterator.status()
        except Exception as error:
            translate(error, self.path)

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
        try:
            iterator = self._families[family].iter(_within(start, stop))
            iterator.seek(start)
            while iterator.valid():
                yield iterator
                iterator.next()
            iterator.status()
        except Exception as error:
            translate(error, self.path)

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
        """Rewrite the files of a key range, so that what was deleted leaves the disk. Returns
        whether that is known to be done: RocksDB may be too busy to say.

        Only with `force` is every file of the range written again. Otherwise RocksDB may move a
        file with a deletion next to the file with what it deletes, and leave it at that.

        The binding does not report a failure, for a full disk or damage. The next write does, and
        would be refused (rocksdict 0.3.29), so an empty one is made here.
        """
        try:
            how = CompactOptions()
            if force:
                how.set_bottommost_level_compaction(BottommostLevelCompaction.force_optimized())
            self._families[family].compact_range(start, stop, how)
            self._families[WHOLE].write(self.batch()._batch, self._unlogged)  # noqa: SLF001
        except Exception as error:
            with suppress(StallError):  # it is only busy
                self._fail(error)
            return False
        return True

    def checkpoint(self, path: Path) -> None:
        """A consistent copy as of now at `path`, by hard links where the file system can."""
        try:
            Checkpoint(self._families[WHOLE]).create_checkpoint(str(path))
        except Exception as error:
            translate(error, self.path)

    def measure(self, name: str, family: str = META) -> int:
        """An integer property of RocksDB (`rocksdb.<name>`), 0 where it has none."""
        try:
            return self._families[family].property_int_value(f"rocksdb.{name}") or 0
        except Exception as error:
            translate(error, self.path)

    def tables(self) -> list[str]:
        """Names of the files that rows are in."""
        try:
            live = self._families[WHOLE].live_files()
        except Exception as error:
            translate(error, self.path)
        return [str(file["name"]).lstrip("/") for file in live]

    def missing(self) -> list[str]:
        """Names of files that belong to the database and are not there."""
        return [name for name in self.tables() if not (self.path / name).exists()]

    def flush(self) -> None:
        """Have RocksDB put what it holds in memory on the disk, all families at one point; return
        when that is done.

        Compacting a family begins with that. The binding's own `flush` and `close` flush a single
        family, and so tear apart what belongs together.
        """
        while not self.compact(META, None, None):
            time.sleep(_BUSY_SECONDS)

    def _fail(self, error: Exception) -> NoReturn:
        try:
            translate(error, self.path)
        except StallError:
            raise
        except TimelineError as failure:
            self.failed = self.failed or failure
            raise

    def close(self) -> None:
        """Release the directory. Every scan must be closed before.

        What was written is flushed; where that fails, on a full disk or for damage, it is made
        again from the log at the next opening.
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


def families_options(options: Options, cache: Cache, where: Path) -> dict[str, RocksOptions]:
    """How each column family of the database at `where`, which may not be there yet, is opened."""
    names = list(FAMILIES)
    if (where / "CURRENT").exists() and FORMER_LOG in Rdict.list_cf(str(where)):
        names.append(FORMER_LOG)
    return {
        name: family_options(
            options,
            cache,
            mostly_missed=name == STATE,
            owner_bytes=_OWNER_BYTES if name in _OWNED else 0,
            dictionary=name == SEGMENTS,
        )
        for name in names
    }


def _within(start: bytes, stop: bytes) -> ReadOptions:
    """To read from `start` up to, without, `stop`. Where all of that has one owner, tables whose
    filter does not know the owner are passed over; elsewhere that would lose what others have.
    """
    how = ReadOptions()
    how.set_iterate_upper_bound(stop)
    how.set_total_order_seek(not _of_one_owner(start, stop))
    return how


def _of_one_owner(start: bytes, stop: bytes) -> bool:
    """Whether all keys from `start` up to, without, `stop` begin with the same id."""
    if len(start) != 2 * _OWNER_BYTES or len(stop) != 2 * _OWNER_BYTES:
        return False
    first, last = start[:_OWNER_BYTES], stop[:_OWNER_BYTES]
    return first == last or (
        not int.from_bytes(stop[_OWNER_BYTES:], "big")
        and int.from_bytes(last, "big") - int.from_bytes(first, "big") == 1
    )


class _Process:
    """RocksDB has threads for a whole process, which a fork does not copy: a child would wait for
    them for ever when it flushes.
    """

    opened = False  # a store, some time
    threads_left_behind = False

    def note_fork(self) -> None:
        self.threads_left_behind = self.opened


_process = _Process()
os.register_at_fork(after_in_child=_process.note_fork)
