"""Every call that a store makes to its disk, one at a time, with a hook before and after it.

The calls are: what the system is asked to do with files of the log (`log.pwritev`, `log.fdatasync`,
`log.rename`, …), `rocks.write`, `rocks.flush` and `mark.write`.

Rule: a thread that is in a call, or in a hook, keeps all others out of theirs. So a copy of the
directory that a hook makes is what a kill at that moment would leave, whichever thread makes the
call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engine.stores import copy_files, wait_for_background
from timeline.engine.store.store import Store
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import Storage

Hook = Callable[[str], None]
ROCKS: list[tuple[type, str, str]] = [
    (Storage, "write", "rocks.write"),
    (Storage, "flush", "rocks.flush"),
    (Storage, "compact", ""),  # kept from running beside a copy, and told to nobody
    (DurableMark, "write", "mark.write"),
]
BY_HANDLE = ("pwritev", "pwrite", "fdatasync", "fsync")


def nothing(_: str) -> None:
    """What a hook does that does nothing."""


class DiskCalls:
    """Of the store in `path`. `before` and `after` are called with the name of each call."""

    def __init__(self, path: Path, before: Hook = nothing, after: Hook = nothing) -> None:
        self._log = path / "log"
        self._before, self._after = before, after
        self._one = threading.RLock()
        self._within = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in BY_HANDLE:
                patch.setattr(os, name, self._by_handle(name, getattr(os, name)))
            for name in ("rename", "unlink"):
                patch.setattr(Path, name, self._by_path(name, getattr(Path, name)))
            for owner, name, label in ROCKS:
                patch.setattr(owner, name, self._labelled(label, getattr(owner, name)))
            yield

    def _labelled(self, label: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def labelled(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            return self._call(label, call, *arguments, **options)

        return labelled

    def _by_handle(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def by_handle(handle: int, *arguments: Any) -> Any:  # noqa: ANN401
            if not self._is_log(handle):
                return call(handle, *arguments)
            return self._call(f"log.{name}", call, handle, *arguments)

        return by_handle

    def _by_path(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def by_path(path: Path, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            if path.parent != self._log or not path.exists():
                return call(path, *arguments, **options)
            return self._call(f"log.{name}", call, path, *arguments, **options)

        return by_path

    def _is_log(self, handle: int) -> bool:
        """Whether it is of a file of the log, or of its directory."""
        inode = os.fstat(handle).st_ino
        with suppress(FileNotFoundError):  # before it is made
            if inode == self._log.stat().st_ino:
                return True
            with os.scandir(self._log) as files:  # which does not ask for what goes meanwhile
                return any(inode == each.inode() for each in files)
        return False

    def _call(self, label: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        with self._one:
            if self._within or not label:  # of a hook, or of a call
                return call(*arguments, **options)
            self._hook(self._before, label)
            done = self._plainly(call, *arguments, **options)
            self._hook(self._after, label)
            return done

    def _hook(self, hook: Hook, label: str) -> None:
        self._plainly(hook, label)

    def _plainly(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        self._within = True
        try:
            return call(*arguments, **options)
        finally:
            self._within = False


def copy_in_call(store: Store | None, path: Path, target: Path) -> Path:
    """In a hook: copy the directory `path`, of `store` if it is open by now, as a kill at this
    moment would leave it.
    """
    if store is not None:
        wait_for_background(store)
    return copy_files(path, target)
