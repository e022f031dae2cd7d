"""An engine that only reads: a store that stopped, or one that another process has open.

Responsibility: open a directory without changing a byte in it, and follow what its owner writes.

Rule: a reader sees the store as of one moment, until `refresh` moves on. The log above the sealed
LSN is replayed in memory, so memory holds what the owner has not yet sealed, as after a crash.
Nothing is sealed, marked or healed, and every write is refused. While the owner writes, a commit
may be seen a moment before its fsync returned: over the wire only durable commits are seen.
"""

from __future__ import annotations

import time
from typing import ClassVar

from timeline.engine.committer import Driver, refuse_after_fork
from timeline.engine.engine import Engine
from timeline.engine.store.directory import MARK, ROCKS, STORE_KEY, check_store, damaged, no_store
from timeline.engine.store.store import Store
from timeline.errors import CorruptError, NotFoundError, StorageError
from timeline.lsm.openings import Openings
from timeline.storage.mark import read_mark
from timeline.storage.rocks import META
from timeline.storage.secondary import ReadOnlyStorage

# What looks like damage may be a file of the log that the owner moved into another, between two
# looks at the directory: only what stays damaged is.
_TRIES = 5
_PAUSE = 0.02  # seconds


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
        if value is None and self._marked:
            raise damaged(CorruptError(f"{self.path}: everything in its log has gone"))
        if value is None:
            raise NotFoundError(f"{self.path} is no Timeline store")
        return check_store(value, self.path)

    def _replay_log(self) -> None:
        """Nothing is cut here. Its owner does that, and knows how durable it was to be."""
        self._replay.run(self.log, self._relieve)

    def _begin_opening(self) -> None:
        """Nothing is committed here."""

    def _relieve(self) -> None:
        """Nothing is sealed here: memory holds what is replayed."""

    def refresh(self) -> None:
        """Move on to what is written by now."""
        before = self.log.applied
        for left in reversed(range(_TRIES)):
            self.storage.catch_up()
            try:
                self._move_on(before)
            except CorruptError:
                if not left:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _move_on(self, before: int) -> None:
        if self.stored_progress() != self.sealing.progress:
            self._build()
        else:
            self._replay.run(self.log, self._relieve)
            self.log.applied = self._replay.lsn
            self.openings = Openings(self.storage)
            self._begin_staging()
        if self.log.applied < before:
            raise CorruptError(
                f"{self.path}: the log ends at LSN {self.log.applied}, but commits up to {before} "
                "were seen: the store was replaced by an older one"
            )


class ReadOnlyEngine(Engine):
    read_only: ClassVar[bool] = True
    store: ReadOnlyStore

    def _open(self) -> None:
        """Raises `NotFoundError`, `FormatVersionError`, `CorruptError`, `StorageError`."""
        try:
            found = (self.path / ROCKS / "CURRENT").is_file()
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}") from error
        if not found:
            raise no_store(self.path)
        self.threaded = False
        self._driver = Driver(self, threaded=False)
        self._load()
        self.control.only_read()
        refuse_after_fork(self)

    def _load(self) -> None:
        for left in reversed(range(_TRIES)):
            mark = read_mark(self.path / MARK)  # before the log, which only grows
            marked = 0 if mark is None else mark.lsn
            try:
                store = ReadOnlyStore(self.path, self.options, self._outliving, marked)
            except CorruptError:
                if not left:
                    raise
                time.sleep(_PAUSE)
            else:
                self._adopt(store)
                return

    def refresh(self) -> bool:
        """Move on to what is written by now; whether there are commits that were not seen yet."""
        with self.woken:
            self.check_usable()
            before = self.applied
            self.store.refresh()
            self._adopt(self.store)
            self.woken.notify_all()
            more = self.applied > before
        self._tell_of_reload()
        return more

    def work(self, _: float | None = None) -> bool:
        return False

    def seal(self) -> None:
        self.stage.gate.check()

    def leave(self) -> None:
        """Nobody waits for a reader."""

    def _release(self) -> None:
        with self.woken:
            self.control.close()
            self.store.close()
            self.woken.notify_all()
