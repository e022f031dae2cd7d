"""A database made again of what can be read of its files."""

from __future__ import annotations

from pathlib import Path

from rocksdict import Rdict

from timeline.options import Options
from timeline.storage.failures import translate
from timeline.storage.rocks import Storage
from timeline.storage.tuning import database_options


def sort_files(path: Path, options: Options) -> list[str]:
    """Have RocksDB make a new list of the files in `path` that it can read from end to end; names
    of the others.
    """
    try:
        Rdict.repair(str(path), database_options(options, salvage=True))
    except Exception as error:
        translate(error, path)
    return sorted(file.name for file in (path / "lost").glob("*.sst"))


def rebuild_files(path: Path, options: Options) -> None:
    """Have RocksDB make a database again of the files in `path` that it can read."""
    sort_files(path, options)
    Storage(path, options, salvage=True).close()  # makes the families of which nothing is left
