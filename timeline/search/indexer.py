"""The indexer: a thread that keeps an index up to date with the store.

Responsibility: drive the work of `generations`, tell callers that wait for a position, and decide
what follows from a failure.

Rule: nothing that happens to the index costs the user anything. Every failure is logged. The thread
then opens the index again, or builds another. Meanwhile the index that failed serves on, unless it
is damaged. One failed search does not count as damage, or one strange query would make search
unavailable for everybody. It only makes the thread check the files.

    the log no longer reaches back to the index   build another
    a file is damaged                             build another, serve none until then
    a write fails                                 open again; after 3 in a row build another
    the disk is full                              wait until it takes bytes
    the store cannot be read now                  wait for the store
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import IndexLagError, TimelineError, TrimmedError
from timeline.options import Options
from timeline.search.generations import Generations
from timeline.search.index.index import Index, IndexFaultError, is_panic
from timeline.search.serving import Reached, Serving
from timeline.storage.probe import disk_takes_bytes

_log = logging.getLogger("timeline.search")

_PAUSE_SECONDS: Final = 1.0  # before another try after a failure, twice as long after each
_MOST_DOUBLINGS: Final = 3  # of that pause
_TRIES: Final = 3  # failures in a row, after which the index is given up


class Indexer(Serving):
    def __init__(self, engine: Engine, options: Options, prefixes: tuple[bytes, ...]) -> None:
        super().__init__(engine, options, prefixes)
        self._pause = options.search_commit_ms / 1000
        self._lock = threading.Condition()
        self._waiting: list[tuple[int, Reached]] = []
        self._urgent = False  # somebody waits
        self._rebuild = False  # another index is to be built
        self._ended = threading.Event()
        self._generations = Generations(
            engine, options, prefixes, self._made, self._serve, self._ended.is_set
        )
        try:
            self._generations.open()
        except (TimelineError, OSError) as error:  # the thread tries again, and goes on from there
            self._fail(str(error))
        self._thread = threading.Thread(target=self._run, name="timeline-index", daemon=True)
        self._thread.start()

    # --- what callers ask ---------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def when_reached(self, lsn: int, reached: Reached) -> Callable[[], None]:
        entry = (lsn, reached)
        with self._lock:
            if not self._ended.is_set() and self.reached < lsn:
                self._waiting.append(entry)
                self._urgent = True
                self._lock.notify_all()
                return lambda: self._forget(entry)
            there = self.reached >= lsn
        reached(there)
        return lambda: None

    def _forget(self, entry: tuple[int, Reached]) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def rebuild(self) -> None:
        with self._lock:
            self._rebuild = True
            self._lock.notify_all()

    def stop(self) -> None:
        with self._lock:
            self._ended.set()
            self._lock.notify_all()
        self._thread.join()
        self._tell()

    def _distrust(self, index: Index, error: IndexFaultError) -> IndexLagError:
        _log.warning("the search index is damaged and will be built again: %s", error)
        self.failure = str(error)
        if self._serving is index:
            self._serving = None
        self.rebuild()
        return IndexLagError("the search index is damaged and is built again: try again later")

    def _doubt(self, index: Index, error: IndexFaultError) -> IndexLagError:
        _log.warning("a search failed, so the files of the index are checked: %s", error)
        self.failure = str(error)
        with self._lock:
            if index is self._serving:
                self._generations.doubted = True
        return IndexLagError(
            "this search failed, and the index is being checked: try again later; "
            "index_last_failure in INFO timeline says why"
        )

    def _building(self) -> int | None:
        build = self._generations.build
        return None if build is None else build.index.added

    def _lag_ms(self) -> int:
        if self.reached >= self._engine.applied:
            return 0
        # An index that had caught up lags no longer than it has since, however old its last commit.
        since = int((time.monotonic() - self._generations.caught_up) * 1000)
        return min(since, max(0, self._engine.view.clock.time - self._generations.newest))

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._go_on()
        finally:
            self._generations.release()

    def _go_on(self) -> None:
        generations = self._generations
        while not self._ended.is_set():
            try:
                if generations.idle:
                    generations.open()
                while not self._ended.is_set():
                    self._work()
                    self._rest()
                generations.commit()
            except TrimmedError as error:
                self._lose(str(error))
            except (IndexFaultError, OSError) as error:
                self._fail(str(error))
                self._back_off()
            except TimelineError as error:
                if self._engine.closed:
                    break
                self._stand_by(str(error))
                self._back_off()
            except BaseException as error:
                if not (isinstance(error, Exception) or is_panic(error)):
                    raise
                _log.exception("the indexer met what it did not expect")
                self._fail(repr(error))
                self._back_off()
        generations.close()
        with self._lock:
            self._ended.set()
        self._tell()

    def _work(self) -> None:
        """Take in what is new, check some files, build for a turn."""
        generations = self._generations
        with self._lock:
            rebuild, self._rebuild = self._rebuild, False
            self._urgent = False
        if rebuild and generations.build is None:
            generations.begin_build()
        while generations.follow():
            self._tell()
        self._check_files()
        generations.build_on()
        self._tell()

    def _check_files(self) -> None:
        current = self._generations.current
        try:
            self._generations.check_files()
        except IndexFaultError as error:
            if current is not None:
                self._distrust(current.index, error)

    def _serve(self, index: Index, built: bool) -> None:
        self._serving = index
        self.builds += built

    def _rest(self) -> None:
        """Let time pass, unless somebody waits."""
        with self._lock:
            hurry = self._urgent or self._rebuild or self._generations.build is not None
            if not (hurry or self._ended.is_set()):
                self._lock.wait(self._pause)

    def _tell(self) -> None:
        """Call those whose position is reached; at the end call all."""
        with self._lock:
            reached = self.reached
            due = [each for each in self._waiting if each[0] <= reached or self._ended.is_set()]
            self._waiting = [each for each in self._waiting if each not in due]
            self._urgent = self._urgent or bool(self._waiting)
        for lsn, tell in due:
            tell(lsn <= reached)

    # --- failing ------------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        """Give the index up and build another."""
        _log.warning("the search index is built again: %s", why)
        self._generations.discard()

    def _fail(self, why: str) -> None:
        """Open the index again. After some failures in a row build another, unless the disk is
        full: then the index that is there serves and goes on later.
        """
        generations = self._generations
        self.failures += 1
        generations.failures += 1
        self.failure = why
        _log.warning("the search index failed and is opened again: %s", why)
        if (
            generations.current is not None
            and generations.failures >= _TRIES
            and disk_takes_bytes(self._directory)
        ):
            self._lose(f"it failed {generations.failures} times in a row")
        else:
            generations.close()

    def _stand_by(self, why: str) -> None:
        """The store cannot be read now, which the index cannot help."""
        self.failures += 1
        self.failure = why
        _log.warning("the search index waits for the store: %s", why)
        self._generations.close()

    def _back_off(self) -> None:
        """Wait before another try. If the disk was full, go on as soon as it takes bytes again."""
        full = not disk_takes_bytes(self._directory)
        doublings = min(max(0, self._generations.failures - 1), _MOST_DOUBLINGS)
        until = time.monotonic() + _PAUSE_SECONDS * 2**doublings
        while (left := until - time.monotonic()) > 0:
            if self._ended.wait(min(left, _PAUSE_SECONDS)):
                return
            if full and disk_takes_bytes(self._directory):
                return
