"""Upkeep: the work that a store does by itself, in slices between groups.

Responsibility: after each group, seal as much as that group brought. When there is time, compact
segments, make the files forget what was deleted, expire in-boxes, delete old log, do the chores.

Rule: sealing comes first, since it keeps memory bounded; compaction comes second. A slice takes
about the time that it is given. It raises what the storage raises. After a `StallError` nothing was
written, and the slice is done again. The caller holds the engine's lock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from timeline.commit.deleted import forget
from timeline.commit.draft import Draft
from timeline.engine.store.store import Store
from timeline.engine.upkeep.chores import Chores
from timeline.engine.upkeep.retention import Observer, RetentionKeeper
from timeline.errors import BusyError
from timeline.lsm.log import superseded


class Upkeep:
    """The upkeep of one opening of the storage."""

    def __init__(self, store: Store, chores: Chores, trimmed: Sequence[Observer]) -> None:
        """`trimmed` are told in the same commit when retention trims a timeline."""
        self._store = store
        self._chores = chores
        self._options = store.options
        self._trimmed = trimmed
        self.retention = RetentionKeeper(store.state, store.timelines, store.compaction)
        chores.begin(self._keep_retention, self._forget_deleted)

    def keep_pace(self) -> None:
        """After a group: seal as much as it brought, and forget what is beyond the caches."""
        store = self._store
        store.sealing.keep_pace(store.begin_pass)
        store.tidy()

    def work(self, seconds: float) -> bool:
        """Do about `seconds` of what waits; True while there is more."""
        store = self._store
        sealing, compaction, expiry = store.sealing, store.compaction, store.expiry
        more = False
        if sealing.under_way:
            sealing.run(seconds)
        elif sealing.due() or sealing.overdue():
            store.begin_pass()
        elif compaction.due():
            compaction.step()
        else:
            more = self._erase(seconds)
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
        log = self._let_log_go()
        if erasure.ranges or (log and erasure.log) or expired:
            erasure.begin(log=log, inboxes=expired)
            expiry.deleted = expiry.deleted and not expired
        return False

    def _let_log_go(self) -> bool:
        """Delete sealed log that nobody needs any more. True when that includes all that is to be
        erased from the log.
        """
        store = self._store
        batch = store.storage.batch()
        store.log.delete_more(
            batch,
            store.sealing.sealed,
            most=self._options.log_bytes,
            oldest=max(0, store.stage.now() - self._options.log_age_ms),
        )
        if len(batch):
            store.storage.write(batch, logged=False)
        kept = store.log.lowest(store.erasure.log) if store.erasure.log else None
        if kept is None or kept.last < store.log.applied:
            return kept is None
        # It is the newest record, which is never deleted. Where one commit holds an entry and takes
        # it back, another commit has to follow.
        taken_back = superseded(kept)
        if taken_back is None:
            return True
        try:
            draft = Draft(store.stage)
        except BusyError:  # another commit follows anyhow
            return False
        draft.pass_on(taken_back)
        draft.commit()
        return False
