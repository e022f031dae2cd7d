"""Checkpoints: the LSN that each named follower of the log has reached.

Responsibility: hold them in memory, say what a record of the log has to note of their moves, take
them from such a record again, and write them when sealing does.

Rule: moving a checkpoint is not a commit. It is noted in a record without one. That record notes
all moves since the last commit, so that the newest of such records is enough. A replay sets each
checkpoint to where it was last moved, whatever is stored already. The caller holds the engine's
lock.
"""

from __future__ import annotations

from timeline.formats import keys
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.records import CHECKPOINT, Operation
from timeline.storage.rocks import META, Batch, Storage


class Checkpoints:
    def __init__(self, storage: Storage, reached: dict[bytes, int] | None = None) -> None:
        """`reached` takes the place of those that are stored."""
        if reached is None:
            pairs = storage.scan(META, keys.CHECKPOINT, keys.successor(keys.CHECKPOINT))
            reached = {
                key[len(keys.CHECKPOINT) :]: keys.split_number(value) for key, value in pairs
            }
        self.reached = reached
        self._moved: dict[bytes, None] = {}  # since commit `_at`
        self._at = 0
        self._unwritten: dict[bytes, None] = {}  # changed since they were written

    def move(self, name: bytes, lsn: int | None) -> None:
        """Set checkpoint `name` to `lsn`, or with None forget it."""
        if lsn is None:
            self.reached.pop(name, None)
        else:
            self.reached[name] = lsn
        self._unwritten[name] = None

    def noted(self, last: int, name: bytes, lsn: int | None) -> list[Operation]:
        """What a record behind LSN `last` has to hold when `name` is moved next."""
        self._note(last, name)
        reached = {**self.reached, name: lsn}
        return [_operation(Lsn(last + 1), each, reached.get(each)) for each in self._moved]

    def _note(self, last: int, name: bytes) -> None:
        if last != self._at:
            self._moved.clear()
            self._at = last
        self._moved[name] = None

    def take(self, operation: Operation) -> None:
        """Do again what a record notes. If no commit follows, the next record notes it too."""
        self._note(operation.lsn - 1, operation.body)
        self.move(operation.body, operation.argument if operation.id else None)

    def clip(self, lsn: int) -> None:
        """Move those above LSN `lsn`, where the log ends, back to it."""
        for name, reached in self.reached.items():
            if reached > lsn:
                self.move(name, lsn)

    def keep(self, batch: Batch) -> None:
        """Write those that changed with `batch`; then call `kept`."""
        for name in self._unwritten:
            lsn = self.reached.get(name)
            if lsn is None:
                batch.delete(META, keys.CHECKPOINT + name)
            else:
                batch.put(META, keys.CHECKPOINT + name, keys.number(lsn))

    def kept(self) -> None:
        self._unwritten.clear()


def _operation(lsn: Lsn, name: bytes, reached: int | None) -> Operation:
    return Operation(CHECKPOINT, lsn, TimelineId(reached is not None), reached or 0, name)
