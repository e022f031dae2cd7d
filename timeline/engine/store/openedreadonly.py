"""What a store that was opened to be read is made of, as of one moment.

Responsibility: open the storage without changing a byte in it, replay the log above the sealed LSN
into memory, and move on to what its owner has written since.

Rule: nothing is cut, sealed or committed here. The owner does that, and may do it at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from timeline.engine.store.directory import (
    FORMER_FORMAT,
    LOG,
    MARK,
    ROCKS,
    STORE_KEY,
    check_never_used,
    damaged,
    store_row,
    to_move_on,
)
from timeline.engine.store.store import Store
from timeline.errors import CorruptError, NotFoundError, StorageError
from timeline.log.ledger import Ledger, Records
from timeline.log.reader import LogReader
from timeline.storage.mark import read_mark
from timeline.storage.readonly import ReadOnlyStorage
from timeline.storage.rocks import META

_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.02

Seen = TypeVar("Seen")


def look(at: Callable[[], Seen]) -> Seen:
    """What `at` returns. What looks like damage to it, or like a missing file, may be what the
    owner writes, or lets go, between two looks at the directory: only what stays so is.
    """
    for _ in range(_TRIES - 1):
        with suppress(CorruptError, StorageError):
            return at()
        time.sleep(_PAUSE_SECONDS)
    return at()


def marked_in(path: Path) -> int:
    """The LSN that the mark of the store at `path` tells. Read it before the log, which only grows.
    Raises `StorageError`.
    """
    mark = read_mark(path / MARK)
    return 0 if mark is None else mark.lsn


class ReadOnlyStore(Store):
    """One opening of a store that is not this process's to change."""

    storage: ReadOnlyStorage

    def _open_storage(self) -> ReadOnlyStorage:
        try:
            return ReadOnlyStorage(self.path / ROCKS, self.options)
        except CorruptError as error:
            raise damaged(error) from error

    def _check_store(self) -> int:
        value = self.storage.get(META, STORE_KEY)
        if value is None:
            check_never_used(self.path, self._marked)
            raise NotFoundError(f"{self.path} is no Timeline store")
        row = store_row(value, self.path)
        if row.format == FORMER_FORMAT:
            raise to_move_on(self.path)
        return row.epoch

    def _open_log(self, after: int) -> tuple[Records, Ledger | None]:
        self._reader = LogReader(self.path / LOG, after=after, marked=self._marked, read_only=True)
        return self._reader, None

    def _begin_opening(self) -> None:
        """Nothing is committed here."""

    def _relieve(self) -> None:
        """Nothing is sealed here: memory holds what is replayed."""

    def refresh(self) -> None:
        """Move on to what is written by now."""
        before = self.log.applied
        look(lambda: self._move_on(before))

    def _move_on(self, before: int) -> None:
        self._marked = marked_in(self.path)
        self.storage.catch_up()
        if self.stored_progress() != self.sealing.progress:
            self._build()
        else:
            self._reader.refresh(self._marked)
            self._replay.run(self.log, self._relieve)
            self.log.applied = self._replay.lsn
            self._begin_staging()
        if self.log.applied < before:
            raise CorruptError(
                f"{self.path}: the log ends at LSN {self.log.applied}, but commits up to {before} "
                "were seen: the store was replaced by an older one"
            )
