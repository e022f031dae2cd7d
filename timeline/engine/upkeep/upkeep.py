"""Upkeep: the work that a store does by itself, in slices between groups.

Responsibility: after each group, seal as much as that group brought, and flush what is sealed when
enough has piled up. When there is time, compact segments, make the files forget what was deleted,
expire in-boxes, delete old log, do the chores.

Rule: sealing comes first, since it keeps memory bounded; compaction comes second. A slice takes
about the time that it is given. It raises what the storage raises. After a `StallError` nothing was
written, and the slice is done again. The caller holds the engine's lock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from timeline.commit.deleted import forget
from timeline.commit.draft import Draft
from timeline.engine.store.store import Store
from timeline.engine.upkeep.chores import Chores
from timeline.engine.upkeep.retention import Observer, RetentionKeeper
from timeline.log.ledger import LogFullError


class Upkeep:
    """The upkeep of one opening of the storage."""

    def __init__(self, store: Store, chores: Chores, trimmed: Sequence[Observer]) -> None:
        """`trimmed` are told in the same commit when retention trims a timeline."""
        self._store = store
        self._chores = chores
        self._options = store.options
        self._trimmed = trimmed
        self._forgetting = False  # whether the log is to let go of what is to be erased
        self.retention = RetentionKeeper(store.state, store.timelines, store.compaction)
        chores.begin(self._keep_retention, self._forget_deleted)

    def keep_pace(self) -> None:
        """After a group: seal as much as it brought, and forget what is beyond the caches."""
        store = self._store
        store.sealing.keep_pace(store.begin_pass)
        self._keep_flushed()
        store.tidy()

    def _keep_flushed(self) -> None:
        flushing = self._store.flushing
        if flushing.conclude():
            self._store.let_log_go()
        if flushing.due or self._store.erasure.log:
            flushing.begin()

    def work(self, seconds: float) -> bool:
        """Do about `seconds` of what waits; True while there is more."""
        store = self._store
        sealing, compaction, expiry = store.sealing, store.compaction, store.expiry
        more = False
        self._keep_flushed()
        if sealing.under_way:
            sealing.run(seconds)
        elif sealing.due() or sealing.overdue():
            store.begin_pass()
        elif compaction.due():
            compaction.step()
        else:
            more = self._erase(seconds)
            self._forget_log()
            expiry.step(store.stage.now())
        store.tidy()
        if sealing.due() or compaction.due():
            return True
        return self._chores.work(store.stage, seconds) or more or expiry.due

    def seal(self) -> None:
        """Seal everything applied so far."""
        store = self._store
        store.finish_pass()
        if store.log.applied > store.sealing.sealed:
            store.begin_pass()
            store.finish_pass()
        store.tidy()

    # --- chores of its own --------------------------------------------------------------------

    def _keep_retention(self, draft: Draft) -> bool:
        return self.retention.trim_next(draft, self._trimmed)

    def _forget_deleted(self, draft: Draft) -> bool:
        return forget(draft, self._options.deleted_names)

    # --- erasing ------------------------------------------------------------------------------

    def _erase(self, seconds: float) -> bool:
        """Make the files forget what was replaced or deleted, in slices and on a thread. True while
        there is more to do now.
        """
        store = self._store
        erasure, expiry = store.erasure, store.expiry
        if erasure.rewriting:
            return False
        if not erasure.conclude():
            expiry.deleted = True
        more = store.compaction.erase(time.perf_counter() + seconds)
        if more:
            return True
        expired = expiry.deleted and not expiry.sweeping
        if more is None and not expired:
            return False
        store.let_log_go()
        self._forgetting = True
        if erasure.ranges or expired:
            erasure.begin(inboxes=expired)
            expiry.deleted = expiry.deleted and not expired
        return False

    def _forget_log(self) -> None:
        """Have the log go on elsewhere, and the rest sealed, so that the part of the log that holds
        what is to be erased can go. This is tried again while the next part is being made.
        """
        store = self._store
        wanted = store.erasure.log
        if not self._forgetting or not wanted:
            return
        with suppress(LogFullError):
            if not store.log.turn(wanted, store.stage.now()):
                return
            if store.log.applied > store.sealing.sealed:
                store.begin_pass()
            store.let_log_go()
        self._forgetting = False
