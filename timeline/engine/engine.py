"""The engine: one opening of a store, and the flow of one commit, in reading order.

    open      lock the directory, replay the log above the sealed LSN into memory: `Store`
    append    (or begin … commit) under the lock, stage it in the open group: `appender`, `Draft`
    flush     one record, one write, one fsync; apply to memory; tell those who wait: `Pipeline`
    work      a slice of sealing, compaction and chores, when there is time: `Upkeep`
    heal      open the storage again after a failure, when the disk takes bytes: `WriteControl`
    close     flush, seal, release the directory

Rule: readers see applied groups only, through `view`. In `sync` durability applied means fsynced.
Healing makes another `store`, with another `appender`, `stage` and `log`: ask the engine for them
each time.

`lock` guards memory: hold it for staging and reading. `flush`, `work` and `close` take it
themselves, and must be called without it.

`observers` says who hears what becomes of a commit, and when.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar, Final, Self, TypeVar

from timeline.commit.draft import Draft
from timeline.commit.dropped import DroppedNames
from timeline.commit.gate import Gate
from timeline.commit.group import Group
from timeline.commit.outcomes import Outcomes
from timeline.commit.stage import Outliving
from timeline.engine.callbacks import Callbacks
from timeline.engine.committer import Driver, refuse_after_fork
from timeline.engine.figures import Figures, figures
from timeline.engine.observers import Observers
from timeline.engine.pipeline import Pipeline
from timeline.engine.statistics import Statistics
from timeline.engine.store.directory import CHECKPOINT, LOCK, MARK, prepare_directory
from timeline.engine.store.store import STALL_SECONDS, Store
from timeline.engine.upkeep.chores import Chores
from timeline.engine.upkeep.upkeep import Upkeep
from timeline.engine.view import Applied
from timeline.engine.writecontrol import WriteControl
from timeline.errors import ClosedError, StallError, TimelineError
from timeline.options import Options, anchored
from timeline.storage.lock import Lock, place_of_call
from timeline.storage.mark import DurableMark
from timeline.storage.probe import SLOW_FSYNC_SECONDS, fsync_seconds

_HEAL_PAUSE: Final = 1.0  # seconds between two tries of an engine that nobody calls
_OTHERWISE: Final = "stop it, or talk to it over the network"

T = TypeVar("T")


class Engine:
    read_only: ClassVar[bool] = False

    # --- opening ------------------------------------------------------------------------------

    def __init__(self, path: str | os.PathLike[str], options: Options | None = None) -> None:
        """Open the store at `path`, making it when `options.create` allows.

        Raises `LockedError`, `FormatVersionError`, `CorruptError`, `NotFoundError`.
        """
        self.path = anchored(path)
        self.opened_by = place_of_call()
        self.options = (options or Options()).anchored()
        self.lock = threading.RLock()
        self.staged = threading.Condition(self.lock)  # something was: its driver waits for that
        self.woken = threading.Condition(self.lock)  # a group was applied, or failed
        self.observers = Observers(self.lock)
        self.callbacks = Callbacks()  # of users
        self.statistics = Statistics()
        gate = Gate(self.options.group_bytes)
        self.outcomes = Outcomes(self.lock)
        self.dropped = DroppedNames()
        self._outliving = Outliving(gate, self.outcomes, self.dropped)
        self.control = WriteControl(gate, self.options, self.path, self.lock, self.statistics)
        self.pipeline = Pipeline(
            self.options,
            self.lock,
            self.woken,
            self.control,
            self.outcomes,
            self.statistics,
            self.observers.applied,
            self._note_due,
        )
        self.view = Applied(self.lock, self.control)
        self._closing = threading.RLock()
        self.copying = threading.Lock()  # its files, for a backup
        self.chores = Chores(self.options.retention_check_ms / 1000)
        self._open()

    def _open(self) -> None:
        prepare_directory(self.path, create=self.options.create)
        # Until it is closed, also while the storage is opened again.
        self._lock_file = Lock(
            self.path / LOCK, self.path, _OTHERWISE, signed=True, place=self.opened_by
        )
        try:
            how = self.options.fsync
            self.threaded = how == "thread" or (
                how == "auto" and fsync_seconds(self.path) >= SLOW_FSYNC_SECONDS
            )
            self._driver = Driver(self, threaded=self.threaded)
            self.mark = DurableMark(self.path / MARK)
            try:
                self._load()
            except BaseException:
                self.mark.close()
                raise
        except BaseException:
            self._lock_file.release()
            raise
        shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)  # of a backup that was killed
        refuse_after_fork(self)
        self._driver.start()

    def _load(self) -> None:
        """Open the storage and rebuild memory from it."""
        marked = self.mark.read()
        self._adopt(Store(self.path, self.options, self._outliving, marked, self.mark))
        self.options = replace(self.options, new_epoch=False)  # healing goes on in this one

    def _adopt(self, store: Store) -> None:
        """What is asked from now on is asked of `store`."""
        self.store = store
        self.upkeep = Upkeep(store, self.chores, self.observers.trimmed)
        self.pipeline.adopt(store, self.upkeep)
        self.view.adopt(store, self.upkeep.retention)
        self.stage, self.appender = store.stage, store.appender
        self.timelines, self.inboxes = store.timelines, store.inboxes
        self.state, self.log = store.state, store.log

    # --- staging ------------------------------------------------------------------------------

    def begin(self) -> Draft:
        """A commit that is not staged yet; keep the lock until it is committed or dropped."""
        return Draft(self.stage)

    @property
    def group(self) -> Group:
        """The open group: what was just staged becomes durable with it."""
        return self.stage.open

    def latest(self) -> Group:
        """The group to wait for, to see done what was staged so far."""
        return self.stage.latest()

    @property
    def pending(self) -> bool:
        """Whether something is staged and not yet done."""
        return self.stage.pending is not None or self.stage.open.commits > 0

    @property
    def applied(self) -> int:
        """The last LSN that readers see."""
        return self.log.applied

    def commit(self, work: Callable[[Draft], T]) -> T:
        """Do `work` as one commit and return what it gave, once that is applied. Without the lock
        held. Raises what `work` raises, with nothing staged, and what the group failed with.
        """
        with self.lock:
            draft = self.begin()
            result = work(draft)
            group = draft.commit().group
        self.wait(group)
        return result

    def wait(self, group: Group) -> None:
        """Return once `group` is applied; raise what it failed with. Without the lock held."""
        if not self.threaded or self._driver.is_current:  # nobody else would flush
            while not group.done:
                if not self.flush():
                    time.sleep(STALL_SECONDS)
        else:
            with self.woken:
                self.staged.notify()
                while not group.done:
                    self.woken.wait(1.0)
                    if self.control.closed and not group.done:
                        raise ClosedError("the engine was closed")
        if group.error is not None:
            raise group.error

    def wait_all(self) -> None:
        """Return once everything staged so far is applied; raise what it failed with."""
        with self.lock:
            self.check_usable()
            groups = [group for group in (self.stage.pending, self.stage.open) if group is not None]
        for group in groups:
            if group.commits:
                self.wait(group)

    @property
    def refusal(self) -> TimelineError | None:
        """What writes raise while writing is off."""
        return self.control.refusal

    @property
    def closed(self) -> bool:
        return self.control.closed

    def check_usable(self) -> None:
        """Raise `ClosedError` after `close`, and in a child process."""
        self.control.check_usable()

    def check_writable(self) -> None:
        """Raise also when writing is off, or not this process's."""
        self.check_usable()
        self.stage.gate.check()

    # --- the pipeline -------------------------------------------------------------------------

    def flush(self) -> bool:
        """Write, fsync and apply the open group, and tell those who wait for it.

        Returns False when the disk asked for a pause: nothing was written, call again soon.
        Never raises for what happens to the group: the group carries its error.
        """
        try:
            return self.pipeline.flush()
        finally:
            self.outcomes.tell()

    def work(self, seconds: float | None = None) -> bool:
        """Do about `seconds` (default: a slice) of what waits; True while there is more.

        Call it when idle: in `inline` mode from the caller's loop, in `thread` mode the engine's
        own thread does.
        """
        try:
            if self.control.poisoned:
                self._heal()
                return False
            return self.pipeline.work(self.options.slice_ms / 1000 if seconds is None else seconds)
        finally:
            self.outcomes.tell()  # what failed here ended the groups under way

    def seal(self) -> None:
        """Seal everything applied so far, waiting out write stalls. Without the lock held."""
        try:
            self.pipeline.seal()
        finally:
            self.outcomes.tell()  # what failed here ended the groups under way

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Keep the lock while no group is under way either, to write outside the pipeline."""
        try:
            with self.pipeline.standing_still():
                yield
        finally:
            self.outcomes.tell()  # what fails here ends the groups under way

    def move_checkpoint(self, name: bytes, lsn: int | None) -> None:
        """Set a named checkpoint of the log to `lsn`, or forget it. Not a commit.

        A new one is durable when this returns, since the log is deleted without it; a moved one
        within `interval_ms`.
        """
        try:
            self.pipeline.move_checkpoint(name, lsn)
        finally:
            self.outcomes.tell()  # what failed here ended the groups under way

    # --- what is due --------------------------------------------------------------------------

    def _note_due(self) -> None:
        """Something is to be done soon, and nobody may call `work` then."""
        if not self.control.closed:
            self._driver.note_due()

    @property
    def due_in(self) -> float | None:
        """Seconds until `do_due` is to be called, None when nothing is due."""
        if self.control.closed:
            return None
        if self.poisoned:
            return _HEAL_PAUSE
        return max(0.0, self.pipeline.sync_in) if self.pipeline.unsynced else None

    def do_due(self) -> None:
        """Do what is due: open the storage again, or fsync. Without the lock held."""
        if self.poisoned:
            self._heal()
            return
        self.pipeline.do_due()
        self.outcomes.tell()  # what failed here ended the groups under way

    @property
    def idle_seconds(self) -> float:
        """How long `work` may be left uncalled when nothing happens."""
        if not self.pipeline.unsynced or self.poisoned:
            return 0.25
        return min(0.25, max(0.0, self.pipeline.sync_in))

    # --- healing ------------------------------------------------------------------------------

    @property
    def poisoned(self) -> bool:
        """Whether writing is off until the storage was opened again."""
        return self.control.poisoned

    def _heal(self) -> None:
        """Open the storage again once the disk takes bytes; memory is rebuilt from the log."""
        if not self.control.may_heal():
            return
        self.store.end_rewriting()  # which may take long: readers go on meanwhile
        with self.pipeline.writing, self.woken:
            if self.control.closed or not self.poisoned:
                return
            try:
                self.store.log.heal(self.stage.now())
            except StallError:  # a file of the log is being made: the next try finds it
                return
            except Exception as error:
                self.control.not_healed(error)
                return
            self.store.close()
            try:
                self._load()
                self.store.compaction.erase_later(self.statistics.healed)
                self.pipeline.sync(self.log.applied)
            except Exception as error:  # of whatever type: it is tried again later
                self.control.not_healed(error)
                return
            self.control.healed()
            self.woken.notify_all()
        self.observers.tell_of_reload()

    def figures(self) -> Figures:
        """What is watched of the engine."""
        return figures(
            self.store, self.upkeep, self.view, self.pipeline, self.control, self.statistics
        )

    # --- closing ------------------------------------------------------------------------------

    def leave(self) -> None:
        """Say that `close` comes soon: others of this process wait for it."""
        self._lock_file.leave()

    def close(self) -> None:
        """Make everything staged durable, seal it, and release the directory. Callbacks of users
        have then been called, unless this is one of them, or one does not return.
        """
        with self._closing:
            self._close()
        self.callbacks.finish()

    def _close(self) -> None:
        self.observers.stop()
        with self.lock:
            if self.control.closed:
                return
            self.control.begin_closing()
        self._driver.stop()
        while self.pending and self.control.writes:
            if not self.flush():
                time.sleep(STALL_SECONDS)
        try:
            if self.control.writes:
                self.seal()
        finally:
            self._release()

    def _release(self) -> None:
        self.store.end_rewriting()
        with self.pipeline.writing, self.woken:
            wrote = self.control.writes
            self.control.close()
            try:
                if wrote:
                    self.log.sync(self.log.applied)
                else:
                    self.pipeline.save_log()
            finally:
                try:
                    self.store.close()
                    self.mark.close()
                finally:
                    self._lock_file.release()
                self.woken.notify_all()
        self.outcomes.tell()

    def refuse_in_child(self) -> None:
        """In a forked child: refuse every call from now on."""
        self._closing = threading.RLock()
        self.lock = threading.RLock()
        self.staged, self.woken = threading.Condition(self.lock), threading.Condition(self.lock)
        self.pipeline.refuse_in_child(self.lock, self.woken)
        self.view.refuse_in_child(self.lock)
        self.callbacks = Callbacks()
        self.observers.refuse_in_child(self.lock)
        self.outcomes = Outcomes(self.lock)  # nobody in the child waits for a group
        self.control.refuse_in_child()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
