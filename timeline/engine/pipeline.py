"""The pipeline: the way of a group to the disk, into memory, and to those who wait.

    close     no other commit joins the group: it is pending
    append    its record goes into the log, durably in `sync` durability; else within `interval_ms`
    apply     what it brought goes into memory, where readers see it
    tell      callbacks of the group are called, when the locks are free

Rule: group n+1 is not written before the flush of group n returned, so a crash can lose only the
end of the log. All other writes to the store are made between groups: `standing_still`, `work`.

A failed write or fsync turns writing off (poisons). The pending group ends as UNCERTAIN. What was
staged after it was never written, and ends with the refusal. So does the pending group where the
log has no room to go on: nothing of it was written. Only a store that was opened again is written
to: `adopt`.

Two locks are taken, in this order: `writing` to write, the engine's to change memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from timeline.commit.group import Group
from timeline.commit.outcomes import Outcomes
from timeline.engine.statistics import Statistics
from timeline.engine.store.store import STALL_SECONDS, Store
from timeline.engine.upkeep.upkeep import Upkeep
from timeline.engine.writecontrol import WriteControl
from timeline.errors import (
    CorruptError,
    ReadOnlyError,
    StallError,
    TimelineError,
    UncertainError,
    UsageError,
    shown,
)
from timeline.formats.records import encode_record
from timeline.log.ledger import LogFullError
from timeline.options import Options


class Pipeline:
    def __init__(
        self,
        options: Options,
        lock: threading.RLock,
        woken: threading.Condition,
        control: WriteControl,
        outcomes: Outcomes,
        statistics: Statistics,
        applied: Sequence[Callable[[Group], None]],
        note_due: Callable[[], None],
    ) -> None:
        """`woken`, of the engine's `lock`, is notified when a group is done. Each of `applied` is
        called with every group that is applied. `note_due()` is called when something has to be
        done soon, though nobody may call.
        """
        self._options = options
        self._lock, self._woken = lock, woken
        self._control = control
        self._outcomes = outcomes
        self._statistics = statistics
        self._applied = applied
        self._note_due = note_due
        self.writing = threading.Lock()
        self.fsync_seconds = 0.0  # a moving average
        self.unsynced = False  # whether something was written and not fsynced
        self._synced = time.monotonic()

    def adopt(self, store: Store, upkeep: Upkeep) -> None:
        """Write to `store` from now on."""
        self._store, self._upkeep = store, upkeep

    # --- groups -------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Write, fsync and apply the open group.

        Returns False when the disk asked for a pause: nothing was written, call again soon.
        Never raises for what happens to the group: the group carries its error.
        """
        with self.writing:
            store = self._store
            stage = store.stage
            with self._lock:
                if not self.may_write():
                    return True
                group = stage.pending
                if group is None:
                    if not stage.open.commits:
                        return True
                    group = stage.close_group()
                applied = store.log.applied
            try:
                appends = group.appends()
                record = encode_record(
                    group.first,
                    group.commits,
                    group.time,
                    appends,
                    group.appended.parts,
                    [*store.openings.noted(group.first), *group.operations],
                )
                if not self._append(store, group, record):
                    return False
            except Exception as error:
                self.poison(error, None if isinstance(error, LogFullError) else group)
                return True
            with self._lock:
                assert group.first == applied + 1, "groups are applied in order"
                try:
                    delivered = store.applier.apply(group, record, appends)
                    store.log.applied = group.last
                    for observe in self._applied:
                        observe(group)
                except Exception as error:  # memory can no longer be trusted: rebuild it
                    self.poison(error, group)
                    return True
                stage.pending = None
                statistics = self._statistics
                statistics.groups.add(group.commits)
                statistics.appends += len(group.appended)
                statistics.deliveries += delivered
                self._keep_pace()
                self._outcomes.finish(group, None)
                self._woken.notify_all()
            self.sync_if_due()
            return True

    def _append(self, store: Store, group: Group, record: bytes) -> bool:
        """Write the record of `group`; False when the disk asked for a pause."""
        durable = self._options.durability == "sync"
        begin = time.perf_counter()
        try:
            store.log.append(group.first, group.last, record, group.time, durable=durable)
        except StallError as error:
            self._control.stalled(error)
            return False
        self._control.written()
        store.openings.written()
        if durable:
            self._note_fsync(time.perf_counter() - begin)
        else:
            self.leave_unsynced()
        return True

    def _keep_pace(self) -> None:
        memtable = self._store.memtable
        try:
            self._upkeep.keep_pace()
            self._control.relent(memtable.size)
        except StallError as error:
            # Nothing was written, and the next group tries again.
            self._control.behind(error, memtable.size)
        except Exception as error:
            self.poison(error)

    # --- fsync --------------------------------------------------------------------------------

    def sync(self, lsn: int) -> None:
        """Make the log durable, which ends at `lsn`. Raises what the storage raises."""
        begin = time.perf_counter()
        self._store.log.sync(lsn)
        self._note_fsync(time.perf_counter() - begin)

    def save_log(self) -> None:
        """Before closing, where writing is off: make durable what was acknowledged before, if the
        disk takes it now. Nobody is left in doubt of more than they were told of.
        """
        deadline = time.monotonic() + self._options.stall_ms / 1000
        with suppress(TimelineError):
            while True:
                try:
                    self._store.log.heal(self._store.stage.now())
                    break
                except StallError:  # a file of the log is being made
                    if time.monotonic() > deadline:
                        raise
                time.sleep(STALL_SECONDS)

    def _note_fsync(self, took: float) -> None:
        self.fsync_seconds += (took - self.fsync_seconds) * 0.05
        self._statistics.fsyncs.add(took)
        self._synced = time.monotonic()
        self.unsynced = False

    def leave_unsynced(self) -> None:
        """What was just written is fsynced within `interval_ms`, also when nothing follows it."""
        if not self.unsynced:
            self.unsynced = True
            self._note_due()

    def sync_if_due(self) -> None:
        """Fsync what was left unsynced when its time has come."""
        if not self.unsynced or self.sync_in > 0:
            return
        try:
            self.sync(self._store.log.applied)
        except Exception as error:
            self.poison(error)

    @property
    def sync_in(self) -> float:
        """Seconds until what was left unsynced is due."""
        return self._synced + self._options.interval_ms / 1000 - time.monotonic()

    # --- between groups -----------------------------------------------------------------------

    def do_due(self) -> None:
        """Do what was left for later and is due by now."""
        with self.writing:
            if self.may_write():
                self.sync_if_due()

    def work(self, seconds: float) -> bool:
        """Do about `seconds` of what waits; True while there is more."""
        with self.writing:
            if self.may_write():
                self.sync_if_due()
            with self._lock:
                if not self.may_write():
                    return False
                try:
                    more = self._upkeep.work(seconds)
                    self._control.relent(self._store.memtable.size)
                except (StallError, CorruptError):
                    # Done again later; damage is reported by whoever reads or verifies.
                    return False
                except Exception as error:
                    self.poison(error)
                    return False
                return more

    def seal(self) -> None:
        """Seal everything applied so far, waiting out write stalls."""
        while True:
            self._control.check_usable()
            try:
                with self.writing, self._lock:
                    return self._seal()
            except StallError:
                time.sleep(STALL_SECONDS)

    def _seal(self) -> None:
        try:
            self._upkeep.seal()
        except (StallError, CorruptError):
            raise
        except Exception as error:
            if self._control.writes:
                self.poison(error)
            raise

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Keep both locks, so that no group is under way, to write outside the pipeline."""
        with self.writing, self._lock:
            self._control.check_usable()
            yield

    def move_checkpoint(self, name: bytes, lsn: int | None) -> None:
        """Set a named checkpoint of the log to `lsn`, or forget it; a new one durably. Waits out a
        short pause of the log, and raises `StallError` in a longer one. Raises `UncertainError`
        where the write failed, and `ReadOnlyError` where nothing was done.
        """
        begin = time.monotonic()
        while True:
            self._store.stage.gate.check()
            try:
                with self.standing_still():
                    return self._move_checkpoint(name, lsn)
            except StallError:
                if time.monotonic() - begin > self._options.stall_ms / 1000:
                    raise
            time.sleep(STALL_SECONDS)

    def _move_checkpoint(self, name: bytes, lsn: int | None) -> None:
        store = self._store
        store.stage.gate.check()
        try:
            if not store.log.move(name, lsn, store.stage.now()):
                self.leave_unsynced()
        except (StallError, UsageError):
            raise
        except LogFullError as error:  # nothing was done, as when a group meets it
            raise self.poison(error) from error
        except Exception as error:
            self.poison(error)
            raise UncertainError(
                f"the write failed under way ({error}): consumer {shown(name)} may or may not have "
                "been moved; try again"
            ) from error

    def refuse_in_child(self, lock: threading.RLock, woken: threading.Condition) -> None:
        """In a forked child: take locks that no thread of the parent's holds."""
        self.writing = threading.Lock()
        self._lock, self._woken = lock, woken

    # --- failing ------------------------------------------------------------------------------

    def may_write(self) -> bool:
        """Whether the store may be written to. What failed outside the pipeline, say a compaction,
        turns writing off here, before a group is refused and leaves its callers in doubt.
        """
        failed = self._store.storage.failed or self._store.log.failed
        if failed is not None and self._control.writes:
            self.poison(failed)
        return self._control.writes

    def poison(self, cause: Exception, group: Group | None = None) -> ReadOnlyError:
        """A failure: writing is off until the storage was opened again. `group` may or may not have
        been written; nothing was of what else is staged. Returns what writes raise until then.
        """
        with self._lock:
            refusal = self._control.poison(cause)
            pending, following = self._store.stage.abandon()
            if group is not None:
                uncertain = UncertainError(
                    f"the write failed under way ({cause}): it may or may not be stored; "
                    "try again with the same key"
                )
                uncertain.__cause__ = cause
                self._outcomes.finish(group, uncertain)
            elif pending is not None:  # it waited, and nothing of it was written
                self._outcomes.finish(pending, refusal)
            self._outcomes.finish(following, refusal)
            self._woken.notify_all()
        self._note_due()
        return refusal
