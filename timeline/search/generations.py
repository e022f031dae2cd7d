"""Generations: the index in use, which follows the log, and the index that is built to replace it.

Responsibility: open the index or begin to build one, follow the log, commit by age and size, check
files against their checksums, and keep the log as long as an index needs it. Everything here runs
on the thread of the indexer (`indexer`), which decides what a failure means.

Rule: an index is used only while its checkpoint lies in the log of this store, else another is
built. During a build the index in use serves and follows on. It is removed when the new one takes
its place.

    log      … 40 ──────────── 90     kept from 40 on
    in use        follows to 90
    build         began at 40, has followed to 70

Every `search_commit_ms` the thread indexes what has come, so that it seldom competes with writers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from timeline.engine.engine import Engine
from timeline.errors import ClosedError, TimelineError, TrimmedError
from timeline.options import Options
from timeline.search.build import Build
from timeline.search.follower import Follower
from timeline.search.index.documents import Documents
from timeline.search.index.index import Index, IndexFaultError, hold
from timeline.storage.lock import Lock

CONSUMER: Final = b"index"  # its checkpoint in the log

_WAITING_DOCUMENTS: Final = 20_000  # that are committed whatever their age
_QUIET_SECONDS: Final = 5.0  # of log with nothing to index, after which the position is committed
_TURN_SECONDS: Final = 0.1  # of building, or of checking files, between two looks at the log
_RECHECK_SECONDS: Final = 60.0  # at least, between two checks of all files because searches fail
_REPORT_SECONDS: Final = 5.0  # between two lines in the log about a build

_END: Final = object()

_log = logging.getLogger("timeline.search")


class Generations:
    """The indexes of `engine` in `directory`.

    `serve` hears of each index that is to be searched, and whether it was built just now. Long work
    stops soon after `ended` says so. `made` is the fingerprint that an index must have.
    """

    def __init__(
        self,
        engine: Engine,
        options: Options,
        prefixes: tuple[bytes, ...],
        made: str,
        serve: Callable[[Index, bool], None],
        ended: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._fields = options.search_fields
        self._memory = options.search_memory_bytes
        self._directory = options.index_of(engine.path)
        self._pause = options.search_commit_ms / 1000
        self._prefixes = prefixes
        self._made = made
        self._documents = Documents(options.search_fields, prefixes)
        self._serve = serve
        self._ended = ended
        self.current: Follower | None = None
        self.build: Build | None = None
        self.checking: Iterator[None] | None = None  # of the files of the index in use
        self.doubted = False  # a search failed since the files were last checked
        self.newest = 0  # ms, the time of the newest commit that can be found, 0 for not known
        self.caught_up = time.monotonic()  # when the index last took something in or lacked nothing
        self.failures = 0  # in a row, since the last commit of an index
        self._next_check = 0.0  # when doubt may have the files checked again
        self._reported = 0.0
        self._committed = 0.0
        # An index may reach up to this commit of this store: what was there before anybody could
        # write here, then what was committed here.
        self._opening, self._most = engine.view.opening, engine.applied
        self._hold: Lock | None = None
        self._hold_log()

    @property
    def idle(self) -> bool:
        """Whether there is neither an index nor a build."""
        return self.current is None and self.build is None

    # --- the index in use ---------------------------------------------------------------------

    def open(self) -> None:
        """Open the index, or begin to build one."""
        engine = self._engine
        if self._hold is not None and not self._hold.stands:
            self._hold.release()
            self._hold = None
        if self._hold is None:
            self._hold = hold(self._directory)
        index = Index.find(self._directory, self._made, self._memory, engine.view.epoch)
        if index is not None and index.checkpoint is not None:
            lsn = index.checkpoint.lsn
            with engine.lock:
                engine.check_usable()
                if engine.view.opening != self._opening:  # it was opened again
                    self._opening = engine.view.opening
                    self._most = min(self._most, engine.view.opened_at)
                known = engine.log.first() - 1 <= lsn <= self._most
                follower = Follower(engine, index, self._documents, lsn)
            if known:
                self.current = follower
                self._serve(index, False)
                self.checking = index.verify()
                self.doubted = False
                self._keep_log(lsn)
                return
            index.discard()
        self.begin_build()

    def follow(self) -> bool:
        """Take in what is new. True when that was committed and there is more: under load there
        always is, and what was taken in must not wait for the end of it.
        """
        current = self.current
        if current is None:
            return False
        begun = time.monotonic()
        while not self._ended() and current.step():
            late = time.monotonic() - begun >= 2 * self._pause
            if late or current.index.waiting >= _WAITING_DOCUMENTS:
                self.commit()
                return True
        if not current.index.waiting:
            self.caught_up = time.monotonic()
        quiet = time.monotonic() - self._committed >= _QUIET_SECONDS
        if current.index.waiting or quiet:
            self.commit()
        return False

    def commit(self) -> None:
        """Make what the index in use took in durable."""
        current = self.current
        if current is None:
            return
        known = current.index.checkpoint
        if known is None or known.lsn != current.position:
            self._commit(current)
            self._keep_log(current.position)
            self._committed = time.monotonic()

    def _commit(self, follower: Follower) -> None:
        """Make what was taken in durable and searchable."""
        follower.commit(self._engine.view.epoch, self._made)
        self._opening, self._most = follower.opening, follower.position
        self.newest = follower.time or self.newest
        self.caught_up = time.monotonic()
        self.failures = 0

    def check_files(self) -> None:
        """Check some more files of the index in use: all once after it was opened, and again after
        a search failed. Raises `IndexFaultError` when one is damaged.
        """
        current = self.current
        if current is None:
            return
        until = time.monotonic() + _TURN_SECONDS
        try:
            if self.checking is None and self.doubted and time.monotonic() >= self._next_check:
                self.doubted = False
                self._next_check = time.monotonic() + _RECHECK_SECONDS
                self.checking = current.index.verify()
            while self.checking is not None and time.monotonic() < until:
                if self._ended() or next(self.checking, _END) is _END:
                    self.checking = None
        except IndexFaultError:
            self.checking = None
            raise

    # --- building -----------------------------------------------------------------------------

    def begin_build(self) -> None:
        index = Index.make(self._directory, self._fields, self._memory)
        self.build = Build(self._engine, index, self._documents, self._prefixes)
        self._reported = time.monotonic()
        if self.current is None:
            self._keep_log(self.build.position)

    def build_on(self) -> None:
        """Build for one turn."""
        build = self.build
        if build is None:
            return
        until = time.monotonic() + _TURN_SECONDS
        try:
            while time.monotonic() < until and not self._ended():
                if not build.step():
                    self._finish(build)
                    return
        except TrimmedError as error:
            _log.warning("the search index that is being built is begun again: %s", error)
            self.build = None
            build.index.discard()
            self.begin_build()
            return
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            _log.info(
                "building the search index: %d timelines, %d documents so far",
                build.timelines, build.index.added,
            )  # fmt: skip

    def _finish(self, build: Build) -> None:
        """Put the new index in place of the old."""
        follower = build.follower
        self._commit(follower)
        before, self.current, self.build = self.current, follower, None
        self.checking, self.doubted = None, False
        self._serve(build.index, True)
        self._keep_log(follower.position)
        if before is not None:
            before.index.discard()
        if build.index.added:
            _log.info("the search index was built: %d documents", build.index.added)

    # --- removing -----------------------------------------------------------------------------

    def close(self) -> None:
        """Close the index and the build; what was not committed is lost."""
        for part in (self.current, self.build):
            if part is not None:
                part.index.close()
        self.current = self.build = None

    def discard(self) -> None:
        """Close both, and remove the index from disk."""
        current = self.current
        self.close()
        if current is not None:
            current.index.discard()

    def release(self) -> None:
        """Let other stores keep an index in the directory."""
        if self._hold is not None:
            self._hold.release()

    # --- the log ------------------------------------------------------------------------------

    def _keep_log(self, lsn: int) -> None:
        """Keep the log above `lsn`, and above the position of a build."""
        if self.build is not None:
            lsn = min(lsn, self.build.follower.position)
        try:
            self._engine.move_checkpoint(CONSUMER, lsn)
        except ClosedError:
            raise
        except TimelineError:
            return  # the store takes no writes now: the next commit tries again

    def _hold_log(self) -> None:
        """Keep the log for the first index, from before there is one."""
        with self._engine.lock:
            known = CONSUMER in self._engine.log.checkpoints()
            applied = self._engine.applied
        if not known:
            self._keep_log(applied)


def release_log(engine: Engine, opened_at: int) -> None:
    """Drop the checkpoint of an index that is not kept up, so that it holds no log any more.

    Nothing happens where nothing was written since LSN `opened_at`: an opening that only reads
    leaves the store as it was.
    """
    with engine.lock:
        if engine.refusal is not None:  # its storage may be closed, and takes nothing anyway
            return
        left = engine.applied > opened_at and CONSUMER in engine.log.checkpoints()
    if left:
        engine.move_checkpoint(CONSUMER, None)
