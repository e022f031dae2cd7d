"""Write control: whether the store takes writes, and if not, why and until when.

    state       a write raises   groups     left for
                                 written
    WRITABLE    nothing          yes        any other
    STALLED     BUSY             yes        WRITABLE, when RocksDB takes a group again
    BEHIND      BUSY             yes        WRITABLE, when sealing went on
    POISONED    READONLY         no         WRITABLE, when the storage was opened again
    READ_ONLY   READONLY         no         none but the last two: it was opened to be read
    CLOSING     CLOSED           yes        CLOSED, when what was staged is done
    GIVEN_UP    CLOSED           no         CLOSED: a write failed, and no healing begins any more
    CLOSED      CLOSED           no         nothing: reads are refused too
    IN_CHILD    CLOSED           no         nothing: the store is the parent's

POISONED and CLOSING may follow a state of the first three. GIVEN_UP follows POISONED when closing
begins, and CLOSING when a write fails. CLOSED and IN_CHILD may follow every state but these two. An
event that leads to no state of the table changes nothing.

Rule: BUSY passes by itself. A failed write or fsync poisons. An fsync is never retried, so nothing
but healing turns writing on again. A full disk is a failure like any other.

The caller holds the engine's lock, except where it says otherwise.
"""

from __future__ import annotations

import threading
import time
from enum import Enum
from pathlib import Path
from traceback import clear_frames
from typing import Final, NamedTuple

from timeline.commit.gate import Gate
from timeline.engine.statistics import Statistics
from timeline.errors import BusyError, ClosedError, ReadOnlyError, StallError, TimelineError
from timeline.options import Options
from timeline.storage.probe import disk_takes_bytes

_HEAL_SECONDS: Final = 1.0  # between two tries


class State(Enum):
    WRITABLE = "writable"
    STALLED = "stalled"
    BEHIND = "behind"
    POISONED = "poisoned"
    READ_ONLY = "read only"
    CLOSING = "closing"
    GIVEN_UP = "given up"
    CLOSED = "closed"
    IN_CHILD = "in a child"


class _Row(NamedTuple):
    refusal: type[TimelineError] | None  # what a write raises
    writes: bool  # whether groups go to the disk
    leads_to: frozenset[State]


def _row(refusal: type[TimelineError] | None, writes: bool, *leads_to: State) -> _Row:
    return _Row(refusal, writes, frozenset(leads_to))


_FAILS = (State.POISONED, State.CLOSING)
_ENDS = (State.CLOSED, State.IN_CHILD)
_OTHERS = set(State) - {State.WRITABLE, State.GIVEN_UP}

_TABLE: Final = {
    State.WRITABLE: _row(None, True, *_OTHERS),
    State.STALLED: _row(BusyError, True, State.WRITABLE, *_FAILS, *_ENDS),
    State.BEHIND: _row(BusyError, True, State.WRITABLE, *_FAILS, *_ENDS),
    State.POISONED: _row(
        ReadOnlyError, False, State.WRITABLE, State.POISONED, State.GIVEN_UP, *_ENDS
    ),
    State.READ_ONLY: _row(ReadOnlyError, False, *_ENDS),
    State.CLOSING: _row(ClosedError, True, State.GIVEN_UP, *_ENDS),
    State.GIVEN_UP: _row(ClosedError, False, *_ENDS),
    State.CLOSED: _row(ClosedError, False),
    State.IN_CHILD: _row(ClosedError, False),
}


class OpenedReadOnlyError(ReadOnlyError):
    """The store was opened to be read, and trying again does not help."""

    retryable = False


class WriteControl:
    def __init__(
        self,
        gate: Gate,
        options: Options,
        path: Path,
        lock: threading.RLock,
        statistics: Statistics,
    ) -> None:
        self.state = State.WRITABLE
        self.writes = True  # whether groups go to the disk in this state
        self.closed = False  # whether reads are refused, too
        self._gate = gate  # open in a state in which a write raises nothing, else shut
        self._options = options
        self._path = path
        self._lock = lock
        self._statistics = statistics
        self._tried_at = 0.0  # when it failed, or was last tried
        self._stalled_at = 0.0  # when RocksDB first asked for a pause, 0 when it does not

    @property
    def refusal(self) -> TimelineError | None:
        """What a write raises in this state."""
        return self._gate.refusal

    @property
    def poisoned(self) -> bool:
        """Whether writing is off until the storage was opened again."""
        return self.state is State.POISONED

    def check_usable(self) -> None:
        """Raise `ClosedError` where reads are refused."""
        if self.closed:
            self._gate.check()

    def _enter(self, state: State, refusal: TimelineError | None = None) -> None:
        if state not in _TABLE[self.state].leads_to:
            return
        row = _TABLE[state]
        self.state, self.writes, self.closed = state, row.writes, state in _ENDS
        if row.refusal is None:
            self._gate.open()
        else:
            assert isinstance(refusal, row.refusal)
            self._gate.shut(refusal)

    # --- pauses -------------------------------------------------------------------------------

    def stalled(self, error: StallError) -> None:
        """RocksDB asked for a pause. A short one is waited out; in a longer one new writes are
        refused meanwhile. Without the lock held.
        """
        now = time.monotonic()
        self._stalled_at = self._stalled_at or now
        if now - self._stalled_at > self._options.stall_ms / 1000:
            with self._lock:
                self._enter(State.STALLED, error)

    def written(self) -> None:
        """RocksDB took a group. Without the lock held."""
        if self._stalled_at or self.state is State.BEHIND:
            self._stalled_at = 0.0
            with self._lock:
                self._resume(State.STALLED, State.BEHIND)

    def behind(self, error: StallError, unsealed: int) -> None:
        """Sealing met a pause: memory stays bounded meanwhile."""
        if unsealed > self._options.unsealed_bytes:
            self._enter(State.BEHIND, error)

    def relent(self, unsealed: int) -> None:
        """Sealing went on: writes that were refused for want of memory are welcome again."""
        if not self._stalled_at and unsealed <= self._options.unsealed_bytes:
            self._resume(State.BEHIND)

    def _resume(self, *states: State) -> None:
        if self.state in states:
            self._enter(State.WRITABLE)

    # --- failing and healing ------------------------------------------------------------------

    def poison(self, cause: Exception) -> ReadOnlyError:
        """Writing is off until the storage was opened again; what writes raise until then."""
        refusal = ReadOnlyError(
            f"writing is off after a failure ({cause}): free space or mend the disk; "
            "reads go on, and writing resumes by itself"
        )
        self._keep(refusal, cause)
        self._statistics.poisoned += 1
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
        self._resume(State.POISONED)
        self._statistics.healed += 1

    def not_healed(self, cause: Exception) -> None:
        """The storage could not be opened again; it is tried again later."""
        self._keep(ReadOnlyError(f"the store could not be opened again: {cause}"), cause)

    def _keep(self, refusal: ReadOnlyError, cause: Exception) -> None:
        """Writes raise `refusal` from now on. What the failure left in its frames, such as an open
        scan, would keep RocksDB open, so it goes.
        """
        error: BaseException | None = cause
        while error is not None:
            clear_frames(error.__traceback__)
            error = error.__cause__ or error.__context__
        refusal.__cause__ = cause
        if self.state is State.CLOSING:
            self._enter(State.GIVEN_UP, _closed())
        else:
            self._enter(State.POISONED, refusal)

    # --- opening and closing ------------------------------------------------------------------

    def only_read(self) -> None:
        """The store was opened to be read."""
        self._enter(
            State.READ_ONLY,
            OpenedReadOnlyError(f"{self._path} was opened read only: nothing was done"),
        )

    def begin_closing(self) -> None:
        """What is staged becomes durable, and nothing is staged any more."""
        ending = State.GIVEN_UP if self.poisoned else State.CLOSING
        self._enter(ending, _closed())

    def close(self) -> None:
        self._enter(State.CLOSED, _closed())

    def refuse_in_child(self) -> None:
        self._enter(
            State.IN_CHILD,
            ClosedError("this engine belongs to the parent process: fork before a store is opened"),
        )


def _closed() -> ClosedError:
    return ClosedError("the engine was closed")
