"""A RocksDB that another process may have open, only read here.

Responsibility: do for readers what `Storage` does, with what the owner has flushed so far. What
follows is in the files of the commit log, which others read.

Rule: nothing is written to the store. RocksDB writes into a temporary directory. The binding would
also write a file of its own next to the database (rocksdict 0.3.29). So it is shown that directory,
with links to the files that RocksDB looks for by name.

The MANIFEST says which files belong to the database after each flush. RocksDB reads it once, then
opens all of these files, and so holds the state of one flush, whatever the owner removes after
that. The owner may remove a file a moment before it is opened. Then there is a newer state to open.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rocksdict import AccessType, DBPath

from timeline.errors import CorruptError, ReadOnlyError, StorageError, reason
from timeline.options import Options
from timeline.storage.rocks import Batch, Storage
from timeline.storage.scratch import Scratch
from timeline.storage.tuning import block_cache, database_options

_OPENINGS: Final = 20  # how often it is opened at most, while its owner is changing it


class ReadOnlyStorage(Storage):
    """What a RocksDB held when it was opened or last caught up with, whoever has it open."""

    _read_only = True

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path
        self.failed = None
        self._options = options
        self._families = {}
        self._handles = {}
        self._own = Scratch()
        self._shown = self._own.path / "shown"
        try:
            self._open_newest()
        except BaseException:
            self._own.remove()
            raise

    def catch_up(self) -> None:
        """Move on to what is there now. Every scan must be closed before."""
        if self._files() != self._opened:
            self._open_newest()

    def _open_newest(self) -> None:
        """Raises `CorruptError` when a file is missing or damaged, and none has taken its place."""
        for left in reversed(range(_OPENINGS)):
            self._release()
            self._opened = self._files()
            try:
                self._open_shown()
            except (CorruptError, StorageError) as error:
                if left and self._files() != self._opened:
                    continue
                if "deleted the old one" in str(error):
                    raise CorruptError(
                        f"{self.path}: the MANIFEST that CURRENT names is missing"
                    ) from error
                raise
            else:
                return

    def _open_shown(self) -> None:
        """Open it, and all of its files."""
        whole = database_options(self._options, salvage=False)
        whole.create_if_missing(False)
        whole.create_missing_column_families(False)
        whole.set_wal_dir(str(self._own.path))  # which has none
        whole.set_db_paths([DBPath(str(self.path), 1 << 62)])
        whole.set_max_open_files(-1)
        for name in ("CURRENT", *self._opened):
            if name.startswith(("CURRENT", "MANIFEST-")):
                self._own.show(self.path, name, "shown")
        cache = block_cache(self._options.block_cache_bytes)
        self._open(self._shown, whole, self._options, AccessType.read_only(), cache)

    def _files(self) -> set[str]:
        """The files that hold the store, by name."""
        try:
            names = [file.name for file in self.path.iterdir()]
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {reason(error)}") from error
        return {name for name in names if name.endswith(".sst") or "MANIFEST-" in name}

    def write(self, _: Batch) -> None:
        raise _read_only(self.path)

    def compact(self, *_: object, force: bool = False) -> bool:  # noqa: ARG002
        raise _read_only(self.path)

    def close(self) -> None:
        self._release()
        self._own.remove()


def _read_only(path: Path) -> ReadOnlyError:
    return ReadOnlyError(f"{path} was opened read only: nothing was done")
