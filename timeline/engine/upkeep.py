"""Upkeep: the work on a store that is nobody's request, in slices between groups.

Responsibility: seal as much as each group earned; when there is time, compact, bring what was
deleted out of the files, expire in-boxes, let go of log, and do the chores.

Rule: what keeps memory bounded comes first, then what merges segments, then the rest. A slice takes
about the time that it is given. Raises what the storage raises: `StallError` means that nothing was
written, and the slice is done again. The caller holds the engine's lock.
"""

from __future__ import annotations

import time

from timeline.commit.draft import Draft
from timeline.engine.chores import Chores
from timeline.engine.store import Store
from timeline.errors import BusyError
from timeline.lsm.log import superseded


class Upkeep:
    """Of one opening of the storage."""

    def __init__(self, store: Store, chores: Chores) -> None:
        self._store = store
        self._chores = chores
        self._options = store.options

    def keep_pace(self) -> None:
        """After a group: seal as much as it earned, and forget what is beyond the caches."""
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

    # --- erasing ------------------------------------------------------------------------------

    def _erase(self, seconds: float) -> bool:
        """Bring what was replaced or deleted out of the files, in slices and on a thread; True
        while there is more to do at once.
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
        """Let go of sealed log that nobody needs any more; whether what is to be erased from it is
        among that.
        """
        store = self._store
        batch = store.storage.batch()
        store.log.let_more_go(
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
        # It is the newest, which is never let go. Where it holds itself what it takes back, another
        # commit has to follow.
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
