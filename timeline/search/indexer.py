"""The indexer: keeps an index up with the store, on a thread of its own.

Responsibility: open the index or begin to build it, follow the log, commit by age and size, keep
the checkpoint `index` of the log, tell who waits for a position, and begin anew after any failure.

Rule: nobody loses anything by what happens here. Whatever goes wrong with the index is logged, and
met by opening it again or by building it anew; the store knows nothing of it but the checkpoint.
While an index is built, the one before it serves and is followed too; what failed serves until
another takes its place, unless it is damaged: that is looked for after opening it, and again when a
search failed, for one question must not take the index from everybody. The thread takes
in what has come at most so often, so that it seldom contends with who writes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import ClosedError, IndexLagError, TimelineError, TrimmedError
from timeline.options import Options
from timeline.search.build import Build
from timeline.search.follower import Follower
from timeline.search.index.documents import Documents
from timeline.search.index.index import Index, IndexFaultError, hold, is_panic
from timeline.search.serving import Reached, Serving
from timeline.storage.lock import Lock
from timeline.storage.probe import disk_takes_bytes

CONSUMER: Final = b"index"  # its checkpoint in the log

_log = logging.getLogger("timeline.search")

_DOCUMENTS: Final = 20_000  # waiting, that are committed whatever their age
_QUIET: Final = 5.0  # seconds of log with nothing to index, after which that is noted
_TURN: Final = 0.1  # seconds of building, or of verifying, between looks at the log
_END: Final = object()
_BACK_OFF: Final = 1.0  # seconds before another try after a failure, twice as long after each
_PATIENCE: Final = 3  # times, that is
_TRIES: Final = 3  # failures in a row, after which the index is given up
_DOUBT: Final = 60.0  # seconds between looks at all files because searches fail
_REPORT: Final = 5.0  # seconds between lines about a build


class Indexer(Serving):
    def __init__(self, engine: Engine, options: Options, prefixes: tuple[bytes, ...]) -> None:
        super().__init__(engine, options, prefixes)
        self._prefixes = prefixes
        self._pause = options.search_commit_ms / 1000
        self._documents = Documents(options.search_fields, prefixes)
        self._lock = threading.Condition()
        self._waiting: list[tuple[int, Reached]] = []
        self._urgent = False
        self._ended = threading.Event()
        self._rebuild = False
        self._current: Follower | None = None
        self._build: Build | None = None
        self._verifying: Iterator[None] | None = None
        self._doubted = False  # a search failed since the files were looked at
        self._look_again = 0.0  # when they may be looked at because of that
        self._reported = 0.0
        self._committed = 0.0
        self._newest = 0  # ms, of the newest commit that can be found, as far as it was seen
        self._went_on = time.monotonic()  # when something was taken in, or there was nothing
        self._in_a_row = 0  # failures since the last commit
        # How far an index may reach, and in which store: what was there before anybody could write,
        # then what was committed here.
        self._store, self._most = engine.store, engine.applied
        self._hold: Lock | None = None
        self._hold_log()
        try:
            self._open()
        except (TimelineError, OSError) as error:  # the thread tries again, and goes on from there
            self._fail(str(error))
        self._thread = threading.Thread(target=self._run, name="timeline-index", daemon=True)
        self._thread.start()

    # --- what others ask ----------------------------------------------------------------------

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

    def rebuild(self) -> None:
        with self._lock:
            self._rebuild = True
            self._lock.notify_all()

    def _distrust(self, index: Index, error: IndexFaultError) -> IndexLagError:
        """It is searched no more, and built anew."""
        _log.warning("the search index is damaged and built anew: %s", error)
        self.failure = str(error)
        if self._serving is index:
            self._serving = None
        self.rebuild()
        return IndexLagError("the search index is damaged and being built anew")

    def _doubt(self, index: Index, error: IndexFaultError) -> IndexLagError:
        """It serves on; whether it is whole is looked at soon."""
        _log.warning("a search failed, so the files of the index are looked at: %s", error)
        self.failure = str(error)
        with self._lock:
            self._doubted = self._doubted or index is self._serving
        return IndexLagError(
            "this search failed, and the index is being looked at: try again later; where INFO "
            "timeline has an index_last_failure, that is why"
        )

    def stop(self) -> None:
        with self._lock:
            self._ended.set()
            self._lock.notify_all()
        self._thread.join()
        self._tell()

    def _building(self) -> int | None:
        build = self._build
        return None if build is None else build.index.added

    def _lag_ms(self) -> int:
        """But for the time in which nothing was committed."""
        if self.reached >= self._engine.applied:
            return 0
        since = int((time.monotonic() - self._went_on) * 1000)
        return min(since, max(0, self._engine.stage.last_time - self._newest))

    def _forget(self, entry: tuple[int, Reached]) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._go_on()
        finally:
            if self._hold is not None:
                self._hold.release()

    def _go_on(self) -> None:
        while not self._ended.is_set():
            try:
                if self._current is None and self._build is None:
                    self._open()
                while not self._ended.is_set():
                    self._work()
                    self._rest()
                if self._current is not None:
                    self._commit(self._current)
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
        self._let_go()
        with self._lock:
            self._ended.set()
        self._tell()

    def _open(self) -> None:
        """Open the index, or begin to build one."""
        engine = self._engine
        if self._hold is not None and not self._hold.stands:
            self._hold.release()
            self._hold = None
        if self._hold is None:
            self._hold = hold(self._directory)
        index = Index.find(self._directory, self._made, self._memory, engine.store.epoch)
        if index is not None and index.checkpoint is not None:
            lsn = index.checkpoint.lsn
            with engine.lock:
                engine.check_usable()
                if engine.store is not self._store:  # it was opened again
                    self._store = engine.store
                    self._most = min(self._most, engine.store.opened_at)
                known = engine.log.first() - 1 <= lsn <= self._most
                follower = Follower(engine, index, self._documents, lsn)
            if known:
                self._current = follower
                self._serving = index
                self._verifying = index.verify()
                self._doubted = False
                self._keep_log(lsn)
                return
            index.discard()
        self._begin_build()

    def _work(self) -> None:
        """Take in what there is."""
        with self._lock:
            rebuild, self._rebuild = self._rebuild, False
        if rebuild and self._build is None:
            self._begin_build()
        if self._current is not None:
            self._follow(self._current)
            self._verify(self._current.index)
        if self._build is not None:
            self._build_on(self._build)
        self._tell()

    def _follow(self, current: Follower) -> None:
        with self._lock:
            self._urgent = False
        begun = time.monotonic()
        while not self._ended.is_set() and current.step():
            # Under load there is always more: what was taken in must not wait for the end of it.
            late = time.monotonic() - begun >= 2 * self._pause
            if late or current.index.waiting >= _DOCUMENTS:
                self._commit(current)
                self._tell()
                begun = time.monotonic()
        if not current.index.waiting:
            self._went_on = time.monotonic()
        quiet = time.monotonic() - self._committed >= _QUIET
        if current.index.waiting or quiet:
            self._commit(current)

    def _verify(self, index: Index) -> None:
        """Go on looking whether what was there when it was opened, or doubted, is whole."""
        until = time.monotonic() + _TURN
        try:
            if self._verifying is None and self._doubted and time.monotonic() >= self._look_again:
                self._doubted = False
                self._look_again = time.monotonic() + _DOUBT
                self._verifying = index.verify()
            while self._verifying is not None and time.monotonic() < until:
                if self._ended.is_set() or next(self._verifying, _END) is _END:
                    self._verifying = None
        except IndexFaultError as error:
            self._verifying = None
            self._distrust(index, error)

    def _commit(self, current: Follower) -> None:
        known = current.index.checkpoint
        if known is None or known.lsn != current.position:
            self._note(current)
            self._keep_log(current.position)
            self._committed = time.monotonic()

    def _note(self, follower: Follower) -> None:
        """What was taken in is durable, and can be found."""
        follower.commit(follower.store.epoch, self._made)
        self._store, self._most = follower.store, follower.position
        self._newest = follower.time or self._newest
        self._went_on = time.monotonic()
        self._in_a_row = 0

    def _keep_log(self, lsn: int) -> None:
        """The log is needed above `lsn`, and by a build above where it is."""
        if self._build is not None:
            lsn = min(lsn, self._build.follower.position)
        try:
            self._engine.move_checkpoint(CONSUMER, lsn)
        except ClosedError:
            raise
        except TimelineError:
            return  # writing is off; the next commit tries again

    def _hold_log(self) -> None:
        """From the first moment on, the log is kept for whatever index there will be."""
        with self._engine.lock:
            known = CONSUMER in self._engine.log.checkpoints()
            applied = self._engine.applied
        if not known:
            self._keep_log(applied)

    def _rest(self) -> None:
        """Let time pass, unless somebody waits."""
        with self._lock:
            if not (self._urgent or self._ended.is_set() or self._rebuild or self._build):
                self._lock.wait(self._pause)

    # --- building -----------------------------------------------------------------------------

    def _begin_build(self) -> None:
        index = Index.make(self._directory, self._fields, self._memory)
        self._build = build = Build(self._engine, index, self._documents, self._prefixes)
        self._reported = time.monotonic()
        if self._current is None:
            self._keep_log(build.position)

    def _build_on(self, build: Build) -> None:
        until = time.monotonic() + _TURN
        try:
            while time.monotonic() < until and not self._ended.is_set():
                if not build.step():
                    self._finish(build)
                    return
        except TrimmedError as error:
            _log.warning("the search index that is being built is begun again: %s", error)
            self._build = None
            build.index.discard()
            self._begin_build()
            return
        if time.monotonic() - self._reported >= _REPORT:
            self._reported = time.monotonic()
            _log.info(
                "building the search index: %d timelines, %d documents so far",
                build.timelines, build.index.added,
            )  # fmt: skip

    def _finish(self, build: Build) -> None:
        """Put the new index in place of the old."""
        follower = build.follower
        self._note(follower)
        before, self._current, self._build = self._current, follower, None
        self._serving = build.index
        self._verifying, self._doubted = None, False
        self.builds += 1
        self._keep_log(follower.position)
        if before is not None:
            before.index.discard()
        if build.index.added:
            _log.info("the search index was built: %d documents", build.index.added)

    # --- failing ------------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        """The index there is leads nowhere: build another."""
        _log.warning("the search index is built anew: %s", why)
        current = self._current
        self._let_go()
        if current is not None:
            current.index.discard()

    def _fail(self, why: str) -> None:
        """Open the index again; when that does not help, build it anew, unless it is the disk that
        takes nothing: then what there is serves on, and is gone on with.
        """
        self.failures += 1
        self._in_a_row += 1
        self.failure = why
        _log.warning("the search index failed and is opened again: %s", why)
        if (
            self._current is not None
            and self._in_a_row >= _TRIES
            and disk_takes_bytes(self._directory)
        ):
            self._lose(f"it failed {self._in_a_row} times in a row")
        else:
            self._let_go()

    def _stand_by(self, why: str) -> None:
        """The store cannot be read at the moment, and the index cannot help it."""
        self.failures += 1
        self.failure = why
        _log.warning("the search index waits for the store: %s", why)
        self._let_go()

    def _back_off(self) -> None:
        """Wait before another try; no longer than the disk takes nothing, if that is why."""
        full = not disk_takes_bytes(self._directory)
        until = time.monotonic() + _BACK_OFF * 2 ** min(max(0, self._in_a_row - 1), _PATIENCE)
        while (left := until - time.monotonic()) > 0:
            if self._ended.wait(min(left, _BACK_OFF)):
                return
            if full and disk_takes_bytes(self._directory):
                return

    def _let_go(self) -> None:
        for part in (self._current, self._build):
            if part is not None:
                part.index.close()
        self._current = self._build = None

    def _tell(self) -> None:
        """Tell those whose position is reached, and at the end all."""
        with self._lock:
            reached = self.reached
            told = [each for each in self._waiting if each[0] <= reached or self._ended.is_set()]
            self._waiting = [each for each in self._waiting if each not in told]
            self._urgent = self._urgent or bool(self._waiting)
        for lsn, tell in told:
            tell(lsn <= reached)


def let_log_go(engine: Engine, opened_at: int) -> None:
    """When the store was written to without an index since LSN `opened_at`: the checkpoint that an
    index left behind holds no log any more. Whoever only looked into a store leaves it.
    """
    with engine.lock:
        if engine.poisoned:  # its storage may be closed, and takes nothing anyway
            return
        left = engine.applied > opened_at and CONSUMER in engine.log.checkpoints()
    if left:
        engine.move_checkpoint(CONSUMER, None)
