"""The index view: the index of a store that was opened read only.

Responsibility: open the newest generation that its owner finished, and follow the commits that the
owner makes to it. Not a byte in the directory of the index changes.

Rule: tantivy makes a lock file in the directory that it reads. So it reads through links in a
temporary directory. The files never change once they are written; only `meta.json` is replaced, as
a whole. A file that the owner merges away meanwhile costs another try. The index may lag behind the
store, but what is found is always looked up in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from timeline.engine.engine import Engine
from timeline.engine.writecontrol import OpenedReadOnlyError
from timeline.errors import IndexLagError, StorageError, reason
from timeline.options import Options
from timeline.search.index.index import Index, IndexFaultError, generations, linked
from timeline.search.serving import Reached, Serving, lagging
from timeline.storage.scratch import Scratch

_TRIES: Final = 5  # to open a generation while its owner writes to it
_LOOK_SECONDS: Final = 0.05  # between two looks for what the owner committed


class IndexView(Serving):
    def __init__(self, engine: Engine, options: Options, prefixes: tuple[bytes, ...]) -> None:
        super().__init__(engine, options, prefixes)
        self._own: Scratch | None = None
        self._looked = -1  # the LSN of the store when the index was last opened

    def _open(self) -> None:
        """Open the newest generation as it is now, if there is one."""
        engine = self._engine
        self._looked = engine.applied
        why = (
            f"{self._directory} holds no index: name where it is (search_directory), or have it "
            "built"
        )
        try:
            self._own = self._own or Scratch()
            for _, path in sorted(generations(self._directory).items(), reverse=True):
                index = self._look(path)
                if index is None:
                    why = f"the index in {path} is damaged: let its owner build it again"
                elif index.is_of(self._made, engine.view.epoch):
                    self._serving, self.failure = index, ""
                    return
                else:
                    why = (
                        f"{self._directory} holds no index of the fields "
                        f"{', '.join(self._fields)}: name what is indexed (search_fields, "
                        "search_prefixes), or have it built"
                    )
        except OSError as error:
            raise StorageError(f"the index cannot be read: {reason(error)}") from error
        if self._serving is None:
            self.failure = why

    def _look(self, path: Path) -> Index | None:
        assert self._own is not None
        for _ in range(_TRIES):
            try:
                shown = linked(self._own, path)
            except FileNotFoundError:  # another generation took its place
                return None
            index = Index.open(shown, self._memory)
            if index is not None:
                return index
        return None

    @property
    def index(self) -> Index:
        """The index to search. Raises `IndexLagError` where there is none."""
        applied = self._engine.applied
        if self._looked != applied or self.reached < applied:
            self._open()
        if self._serving is None:
            raise IndexLagError(self.failure)
        return self._serving

    @property
    def alive(self) -> bool:
        return True

    def _distrust(self, _: Index, error: IndexFaultError) -> IndexLagError:
        return IndexLagError(f"the search index is damaged: {error}")

    def _doubt(self, _: Index, error: IndexFaultError) -> IndexLagError:
        return IndexLagError(
            f"the search failed: {error}; `timeline verify` says whether the index is whole"
        )

    def when_reached(self, lsn: int, reached: Reached) -> Callable[[], None]:
        self._open()
        reached(self.reached >= lsn)
        return lambda: None

    def wait(self, lsn: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._open()
        while self.reached < lsn:
            if time.monotonic() >= deadline:
                raise lagging(self.reached, lsn)
            time.sleep(_LOOK_SECONDS)
            self._open()

    def stats(self) -> dict[str, int | str]:
        with suppress(StorageError):
            self._open()
        return super().stats()

    def rebuild(self) -> None:
        raise OpenedReadOnlyError("the store was opened read only: its owner builds the index")

    def stop(self) -> None:
        self._serving = None
        if self._own is not None:
            self._own.remove()
