"""Serving: the index that is searched, whoever updates it.

Responsibility: give callers the index to search, say how far it reaches, wait until it reaches a
position, and say what INFO shows.

Rule: callers know no more than this interface. There are two kinds:

    Indexer      updates the index of a store that is open for writing
    IndexView    reads the index of a store that is opened read only; its owner updates it
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from timeline.engine.engine import Engine
from timeline.errors import IndexLagError
from timeline.options import Options
from timeline.search.index.index import Index, IndexDamageError, IndexFaultError
from timeline.search.index.schema import fingerprint

# It is called once, from any thread, and told whether the index got there.
Reached = Callable[[bool], None]


class Serving(ABC):
    def __init__(self, engine: Engine, options: Options, prefixes: tuple[bytes, ...]) -> None:
        self._engine = engine
        self._fields = options.search_fields
        self._memory = options.search_memory_bytes
        self._directory = options.index_of(engine.path)
        self._made = fingerprint(options.search_fields, prefixes)
        self._serving: Index | None = None  # the last one that was whole, even when it failed since
        self.builds = 0
        self.failures = 0
        self.failure = ""  # the last one, in words

    @property
    def index(self) -> Index:
        """The index to search. Raises `IndexLagError` while there is none."""
        serving = self._serving
        if serving is None:
            raise IndexLagError(
                f"there is no search index yet, since making it failed: {self.failure}"
                if self.failure
                else "there is no search index yet: it is being made, try again in a moment"
            )
        return serving

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether the index is still kept up."""

    @property
    def reached(self) -> int:
        """The LSN up to which everything can be found."""
        serving = self._serving
        return 0 if serving is None else serving.reached

    @abstractmethod
    def when_reached(self, lsn: int, reached: Reached) -> Callable[[], None]:
        """Call `reached(True)` once everything up to `lsn` can be found, or `reached(False)` if the
        indexing ends before. Returns a function that cancels the call.
        """

    def wait(self, lsn: int, seconds: float) -> None:
        """Return once everything up to `lsn` can be found. Raises `IndexLagError`."""
        done = threading.Event()
        outcome: list[bool] = []

        def tell(there: bool) -> None:
            outcome.append(there)
            done.set()

        call_off = self.when_reached(lsn, tell)
        if not done.wait(seconds):
            call_off()
        if outcome != [True]:
            raise lagging(self.reached, lsn)

    @contextmanager
    def trusting(self) -> Iterator[Index]:
        """The index, to search it in the block. Raises `IndexLagError`.

        An index that contradicts itself is searched no more. After any other fault it serves on
        until its files are checked.
        """
        index = self.index
        try:
            yield index
        except IndexDamageError as error:
            raise self._distrust(index, error) from error
        except IndexFaultError as error:
            raise self._doubt(index, error) from error

    @abstractmethod
    def _distrust(self, index: Index, error: IndexFaultError) -> IndexLagError:
        """Note that `index` is damaged. Returns the error for the caller who searched it."""

    @abstractmethod
    def _doubt(self, index: Index, error: IndexFaultError) -> IndexLagError:
        """Note that `index` may be damaged. Returns the error for the caller who searched it."""

    @abstractmethod
    def rebuild(self) -> None:
        """Build another index. The present one serves until the new one is ready."""

    @abstractmethod
    def stop(self) -> None:
        """Commit what was indexed, and end."""

    def stats(self) -> dict[str, int | str]:
        """What INFO shows."""
        index, building = self._serving, self._building()
        return {
            "index_documents": 0 if index is None else index.documents,
            "index_segments": 0 if index is None else index.segments,
            "index_bytes": 0 if index is None else index.size(),
            "index_lsn": self.reached,
            "index_lag": max(0, self._engine.applied - self.reached),
            "index_lag_ms": self._lag_ms(),
            "index_building": 0 if building is None else 1,
            "index_build_documents": building or 0,
            "index_builds": self.builds,
            "index_failures": self.failures,
            "index_last_failure": " ".join(self.failure.split()),
        }

    def _building(self) -> int | None:
        """How many documents an index has that is being built; None when none is built."""
        return None

    def _lag_ms(self) -> int:
        """The time from the newest commit that can be found to the newest commit of the store."""
        return 0


def lagging(reached: int, lsn: int) -> IndexLagError:
    return IndexLagError(
        f"the search index has reached commit {reached} and {lsn} was asked for: try again later"
    )
