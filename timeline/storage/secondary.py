"""A RocksDB that another process may have open, only read here; RocksDB calls that a secondary.

Responsibility: do for readers what `Storage` does, with what the owner has written so far.

Rule: nothing is written to the store. RocksDB writes into a temporary directory. The binding would
also write a file of its own next to the database (rocksdict 0.3.29). So it is shown that directory,
with links to the files that RocksDB looks for by name.

It holds what the owner has flushed. What follows is in the files of the commit log, which others
read. The database is opened again when files came or went: a secondary that catches up may take a
file that has gone for damage.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from rocksdict import (
    AccessType,
    Cache,
    DBPath,
    Options as RocksOptions,
    Rdict,
)

from timeline.errors import CorruptError, ReadOnlyError, StorageError
from timeline.options import MIB, Options
from timeline.storage.failures import translate
from timeline.storage.rocks import WHOLE, Batch, Storage, families_options
from timeline.storage.scratch import Scratch
from timeline.storage.tuning import block_cache, database_options

_OPENINGS: Final = 20  # how often it is opened at most, while its owner is changing it


class ReadOnlyStorage(Storage):
    """What a RocksDB held when it was opened or last caught up with, whoever has it open."""

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
        with suppress(Exception):  # opening it again tells what is wrong
            self._families[WHOLE].try_catch_up_with_primary()
            caught_up = True
        if not caught_up or self._files() != self._opened:
            self._open_between_changes()

    def _open_between_changes(self) -> None:
        """Open the database at a moment when no files come or go: what the owner moves from one
        file to another meanwhile would be in neither. Raises `CorruptError` when files stay left
        out.
        """
        before: list[str] = []
        for left in reversed(range(_OPENINGS)):
            self._release()
            try:
                self._open_secondary()
                if self._files() != self._opened:
                    continue
                missing = self._left_out()
                if not missing or self._files() != self._opened:  # what came since is not missed
                    return
                if missing == before:
                    self._check_files()
            except CorruptError:
                if left and self._files() != self._opened:  # what is missing was replaced
                    continue
                raise
            except StorageError as error:  # a file was gone when its turn came
                if left:
                    continue
                if "deleted the old one" in str(error):
                    raise CorruptError(
                        f"{self.path}: the MANIFEST that CURRENT names is missing"
                    ) from error
                raise
            before = missing

    def _left_out(self) -> list[str]:
        """Files that belong to the database and cannot be opened.

        A secondary takes a family with such a file for empty and says nothing: the owner may be
        about to write the file.
        """
        listing = database_options(self._options, salvage=False)
        listing.set_paranoid_checks(False)
        listed = self._list(listing)
        try:
            opened = self._families[WHOLE].live_files()
        except Exception as error:
            translate(error, self.path)
        return sorted(listed - {str(file["name"]) for file in opened})

    def _check_files(self) -> None:
        """Raise what RocksDB says of a file that cannot be opened, if there is one."""
        checking = database_options(self._options, salvage=False)
        checking.set_max_open_files(-1)
        self._list(checking)

    def _list(self, options: RocksOptions) -> set[str]:
        """The files of the database, found by opening it once more without its WAL."""
        options.create_if_missing(False)
        options.create_missing_column_families(False)
        options.set_wal_dir(str(self._own.path / "secondary"))  # which has none
        options.set_db_paths([DBPath(str(self.path), 1 << 62)])
        try:
            families = families_options(self._options, Cache(MIB), self._shown)
            found = Rdict(str(self._shown), options, families, AccessType.read_only()).live_files()
        except Exception as error:
            translate(error, self.path)
        return {str(file["name"]) for file in found}

    def _open_secondary(self) -> None:
        whole = database_options(self._options, salvage=False)
        whole.create_if_missing(False)
        whole.set_wal_dir(str(self.path))
        whole.set_db_paths([DBPath(str(self.path), 1 << 62)])
        whole.set_max_open_files(-1)  # what the owner deletes stays readable while it is open
        self._opened = self._files()
        for name in ("CURRENT", *self._opened):
            if name.startswith(("CURRENT", "MANIFEST-")):
                self._own.show(self.path, name, "shown")
        access = AccessType.secondary(str(self._own.path / "secondary"))
        cache = block_cache(self._options.block_cache_bytes)
        self._open(self._shown, whole, self._options, access, cache)

    def _files(self) -> set[str]:
        """The files that hold the store, by name."""
        try:
            names = [file.name for file in self.path.iterdir()]
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}") from error
        return {name for name in names if name.endswith((".sst", ".log")) or "MANIFEST-" in name}

    def write(self, _: Batch) -> None:
        raise _read_only(self.path)

    def compact(self, *_: object, force: bool = False) -> bool:  # noqa: ARG002
        raise _read_only(self.path)

    def close(self) -> None:
        self._release()
        self._own.remove()


def _read_only(path: Path) -> ReadOnlyError:
    return ReadOnlyError(f"{path} was opened read only: nothing was done")
