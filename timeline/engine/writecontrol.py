"""Health: whether the store takes writes, and if not, why and until when.

Responsibility: keep the gate, which every write asks, shut while writing is off, and say when
the storage may be opened again. Three things turn writing off: RocksDB asks for a pause, memory is
full since sealing does not keep up, a write or an fsync failed.

Rule: the first two are BUSY and pass by themselves. The third poisons and is READONLY until the
storage was opened again, since an fsync is never retried: the group in flight is UNCERTAIN, what
was staged behind it was never written. Nothing turns a poisoned store back on but `healed`.

The caller holds the engine's lock, except where it says otherwise.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

from timeline.commit.gate import Gate
from timeline.engine.statistics import Measures
from timeline.errors import BusyError, ReadOnlyError, StallError
from timeline.options import Options
from timeline.storage.probe import disk_takes_bytes

_HEAL_SECONDS: Final = 1.0


class Health:
    def __init__(
        self,
        gate: Gate,
        options: Options,
        path: Path,
        woken: threading.Condition,
        measures: Measures,
    ) -> None:
        self.gate = gate
        self._options = options
        self._path = path
        self._woken = woken
        self._measures = measures
        self._tried_at = 0.0  # when it failed, or was last tried
        self._stalled_at = 0.0  # when RocksDB first asked for a pause, 0 when it does not

    # --- pauses -------------------------------------------------------------------------------

    def stalled(self, error: StallError) -> None:
        """RocksDB asked for a pause. A short one is waited out; in a longer one new writes are
        refused meanwhile. Without the lock held.
        """
        now = time.monotonic()
        self._stalled_at = self._stalled_at or now
        if now - self._stalled_at > self._options.stall_ms / 1000:
            with self._woken:
                if self.gate.refusal is None:
                    self.gate.shut(error)

    def written(self) -> None:
        """RocksDB takes writes. Without the lock held."""
        if self._stalled_at or isinstance(self.gate.refusal, BusyError):
            self._stalled_at = 0.0
            with self._woken:
                if isinstance(self.gate.refusal, BusyError):
                    self.gate.open()

    def behind(self, error: StallError, unsealed: int) -> None:
        """Sealing met a pause: memory stays bounded meanwhile."""
        if unsealed > self._options.unsealed_bytes:
            self.gate.shut(error)

    def relent(self, unsealed: int) -> None:
        """Sealing went on: writes that were refused for want of memory are welcome again."""
        if (
            isinstance(self.gate.refusal, BusyError)
            and not self._stalled_at
            and unsealed <= self._options.unsealed_bytes
        ):
            self.gate.open()

    # --- failing and healing ------------------------------------------------------------------

    @property
    def poisoned(self) -> bool:
        return isinstance(self.gate.refusal, ReadOnlyError)

    def poison(self, cause: Exception) -> ReadOnlyError:
        """Writing is off until the storage was opened again; what writes raise until then."""
        refusal = ReadOnlyError(
            f"writing is off after a failure ({cause}): free space or mend the disk; "
            "reads go on, and writing resumes by itself"
        )
        refusal.__cause__ = cause
        self.gate.shut(refusal)
        self._measures.poisoned += 1
        self._tried_at = time.monotonic()
        return refusal

    def may_heal(self) -> bool:
        """Whether it is time to try again and the disk takes bytes. Without the lock held."""
        now = time.monotonic()
        if now - self._tried_at < _HEAL_SECONDS:
            return False
        self._tried_at = now
        return disk_takes_bytes(self._path)

    def healed(self) -> None:
        """The storage was opened again, and memory rebuilt from the log."""
        self.gate.open()
        self._measures.healed += 1

    def not_healed(self, cause: Exception) -> None:
        """The storage could not be opened again; it is tried once more later."""
        refusal = ReadOnlyError(f"the store could not be opened again: {cause}")
        refusal.__cause__ = cause
        self.gate.shut(refusal)
