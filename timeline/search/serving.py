"""Serving: the index that is searched, whoever keeps it up.

Responsibility: name the index to search and how far it reaches, wait for a position, and say what
INFO shows.

Rule: who searches knows no more than this. An `Indexer` keeps an index up with a store that is
written to, an `IndexView` looks at one that somebody else keeps up.
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

# Called once, from any thread: whether the index got there.
Reached = Callable[[bool], None]


class Serving(ABC):
    def __init__(self, engine: Engine, options: Options, prefixes: tuple[bytes, ...]) -> None:
        self._engine = engine
        self._fields = options.search_fields
        self._memory = options.search_memory_bytes
        self._directory = options.index_of(engine.path)
        self._made = fingerprint(options.search_fields, prefixes)
        self._serving: Index | None = None  # the last one that was whole, whatever became of it
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
        """Whether it goes on."""

    @property
    def reached(self) -> int:
        """Everything up to this LSN can be found."""
        serving = self._serving
        return 0 if serving is None else serving.reached

    @abstractmethod
    def when_reached(self, lsn: int, reached: Reached) -> Callable[[], None]:
        """Call `reached(True)` once everything up to `lsn` can be found, soon; `reached(False)` if
        this ends before. Returns what calls that off.
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
        """The index, to search it. What turns out to be damaged is searched no more; what is
        doubted serves until its files were looked at. Raises `IndexLagError`.
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
        """`index` is damaged; what the caller who searched it is told."""

    @abstractmethod
    def _doubt(self, index: Index, error: IndexFaultError) -> IndexLagError:
        """`index` may be damaged; what the caller who searched it is told."""

    @abstractmethod
    def rebuild(self) -> None:
        """Build the index anew; the one there is serves until then."""

    @abstractmethod
    def stop(self) -> None:
        """Commit what was taken in, and end."""

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
        """The documents so far of an index that is being built."""
        return None

    def _lag_ms(self) -> int:
        """From the newest commit that can be found to the newest there is."""
        return 0


def lagging(reached: int, lsn: int) -> IndexLagError:
    return IndexLagError(
        f"the search index has reached commit {reached} and {lsn} was asked for: try again later"
    )
