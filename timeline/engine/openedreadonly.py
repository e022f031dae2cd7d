"""A store that was opened to be read: one that stopped, or one that another process has open.

Responsibility: open a directory without changing a byte in it, and follow what its owner writes.

Rule: a reader sees the store as of one moment, until `refresh` moves on. Memory holds what the
owner has not yet sealed, as after a crash. Nothing is sealed, marked or healed, and every write is
refused. While the owner writes, a commit may be seen a moment before its fsync returned. Over the
wire only durable commits are seen.

How writing is turned off in a store that takes writes is in `writecontrol`.
"""

from __future__ import annotations

from typing import ClassVar

from timeline.engine.committer import Driver, refuse_after_fork
from timeline.engine.engine import Engine
from timeline.engine.store.directory import ROCKS, no_store
from timeline.engine.store.openedreadonly import ReadOnlyStore, look, marked_in
from timeline.errors import StorageError, reason


class ReadOnlyEngine(Engine):
    read_only: ClassVar[bool] = True
    store: ReadOnlyStore

    def _open(self) -> None:
        """Raises `NotFoundError`, `FormatVersionError`, `CorruptError`, `StorageError`."""
        try:
            found = (self.path / ROCKS / "CURRENT").is_file()
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {reason(error)}") from error
        if not found:
            raise no_store(self.path)
        self.threaded = False
        self._driver = Driver(self, threaded=False)
        self._load()
        self.control.only_read()
        refuse_after_fork(self)

    def _load(self) -> None:
        self._adopt(look(self._open_store))

    def _open_store(self) -> ReadOnlyStore:
        return ReadOnlyStore(self.path, self.options, self._outliving, marked_in(self.path))

    def refresh(self) -> bool:
        """Move on to what is written by now; whether there are commits that were not seen yet."""
        with self.woken:
            self.check_usable()
            before = self.applied
            self.store.refresh()
            self._adopt(self.store)
            self.woken.notify_all()
            more = self.applied > before
        self.observers.tell_of_reload()
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
