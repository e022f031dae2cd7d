"""What a store must answer, in plain Python: dicts and lists, no disk, no cleverness.

Responsibility: keep what every acknowledged commit did to timelines, in-boxes and the log, so that
a test can ask both sides the same question. An oracle knows nothing of tails, segments or crashes;
whoever drives it applies a commit only when the engine has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

Items = tuple[bytes, ...]  # field, value, field, value, …
OPEN = 2**64 - 1


@dataclass(eq=False)
class Kept:
    """One life of a timeline; after a drop the name gets another."""

    created: int
    id: int | None = None
    first: int = 1
    head: int = 0
    entries: dict[int, tuple[int, Items]] = field(default_factory=dict)
    retention: tuple[int, int] = (0, 0)  # age in ms, length

    def __deepcopy__(self, memo: dict[int, object]) -> Kept:
        copy = Kept(
            self.created, self.id, self.first, self.head, dict(self.entries), self.retention
        )
        memo[id(self)] = copy
        return copy

    def range(
        self,
        first: int = 0,
        last: int = OPEN,
        since: int = 0,
        until: int = OPEN,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> list[tuple[int, int, Items]]:
        found = [
            (seq, time, items)
            for seq, (time, items) in self.entries.items()
            if first <= seq <= last and since <= time <= until
        ]
        if reverse:
            found.reverse()
        return found[:limit]


@dataclass
class Change:
    """What a follower of the log should see of one thing a commit did."""

    kind: str
    target: Kept
    first: int
    last: int
    audience: int = 0


@dataclass
class Commit:
    lsn: int
    time: int
    changes: list[Change]


@dataclass
class Inbox:
    references: list[tuple[int, int, int, int]] = field(default_factory=list)


class Oracle:
    """A whole store. `begin` gives the oracle of a commit, `accept` makes it stand."""

    def __init__(self) -> None:
        self.timelines: dict[bytes, Kept] = {}
        self.deleted: dict[bytes, int] = {}  # names that nothing has now, and what they gave out
        self.spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.inboxes: dict[int, Inbox] = {}
        self.log: list[Commit] = []
        self.lsn = 0
        self.time = 0
        self.ids: set[int] = set()

    def begin(self, clock: int) -> Pending:
        """A commit at `clock`, or at the time of the last commit if that is later."""
        return Pending(self, self.lsn + 1, max(self.time, clock))

    def entry_count(self) -> int:
        return sum(len(kept.entries) for kept in self.timelines.values())


class Pending:
    """One commit in the making, on copies, so that it can be dropped."""

    def __init__(self, oracle: Oracle, lsn: int, time: int) -> None:
        self._oracle = oracle
        self.lsn = lsn
        self.time = time
        self.timelines = dict(oracle.timelines)
        self._deleted = dict(oracle.deleted)
        self._begun: set[bytes] = set()  # names made by this commit, with no entry so far
        self._copied: set[bytes] = set()
        self._spans = deepcopy(oracle.spans)
        self._appends: list[Change] = []
        self._operations: list[Change] = []
        self._deliveries: list[tuple[Sequence[int], Kept, int, int]] = []
        self.changed = False

    def find(self, name: bytes) -> Kept | None:
        kept = self.timelines.get(name)
        if kept is not None and name not in self._copied:
            kept = self.timelines[name] = deepcopy(kept)
            self._copied.add(name)
        return kept

    def find_or_create(self, name: bytes) -> Kept:
        kept = self.find(name)
        if kept is None:
            head = self._deleted.pop(name, 0)
            kept = self.timelines[name] = Kept(self.time, first=head + 1, head=head)
            self._copied.add(name)
            self._begun.add(name)
            self.changed = True
        return kept

    def append(self, name: bytes, items: Items, seq: int | None = None) -> int | None:
        """The number given, or None when `seq` must be refused."""
        kept = self.timelines.get(name)
        begins = kept is None or name in self._begun
        if seq is not None and seq <= (kept.head if kept and not begins else 0):
            return None
        kept = self.find_or_create(name)
        self._begun.discard(name)
        number = kept.head + 1
        if seq is not None and seq != number:
            if not kept.entries:
                kept.first = seq
            number = seq
        kept.head = number
        kept.entries[number] = (self.time, items)
        last = self._appends[-1] if self._appends else None
        if last is not None and last.target is kept and last.last == number - 1:
            last.last = number
        else:
            self._appends.append(Change("append", kept, number, number))
        self.changed = True
        return number

    def delete(self, name: bytes, seqs: Sequence[int]) -> int:
        kept = self.find(name)
        removed = 0
        for seq in dict.fromkeys(seqs):
            if kept is not None and kept.entries.pop(seq, None) is not None:
                self._operate("patch", kept, seq)
                removed += 1
        return removed

    def replace(self, name: bytes, seq: int, items: Items) -> bool:
        kept = self.find(name)
        if kept is None or seq not in kept.entries:
            return False
        kept.entries[seq] = (kept.entries[seq][0], items)
        self._operate("patch", kept, seq)
        return True

    def trim(self, name: bytes, before: int) -> int:
        kept = self.find(name)
        if kept is None or min(before, kept.head + 1) <= kept.first:
            return 0
        kept.first = min(before, kept.head + 1)
        gone = [seq for seq in kept.entries if seq < kept.first]
        for seq in gone:
            del kept.entries[seq]
        self._operate("trim", kept, kept.first)
        return len(gone)

    def trim_to_length(self, name: bytes, length: int) -> int:
        kept = self.timelines.get(name)
        if kept is None or len(kept.entries) <= length:
            return 0
        if length == 0:
            return self.trim(name, kept.head + 1)
        return self.trim(name, sorted(kept.entries)[-length])

    def drop(self, name: bytes) -> bool:
        kept = self.find(name)
        if kept is None:
            return False
        del self.timelines[name]
        if kept.head:
            self._deleted[name] = kept.head
        self._operations.append(Change("drop", kept, 0, 0))
        self.changed = True
        return True

    def retain(self, name: bytes, age: int, length: int) -> None:
        self.find_or_create(name).retention = (age, length)
        self.changed = True

    # --- in-boxes -----------------------------------------------------------------------------

    def join(self, audience: int, inboxes: Sequence[int]) -> int:
        count = 0
        for inbox in inboxes:
            spans = self._spans.setdefault((audience, inbox), [])
            if spans and spans[-1][1] == OPEN:
                continue
            if spans and spans[-1][1] == self.lsn:
                spans[-1] = (spans[-1][0], OPEN)
            else:
                spans.append((self.lsn, OPEN))
            count += 1
            self.changed = True
        return count

    def leave(self, audience: int, inboxes: Sequence[int]) -> int:
        count = 0
        for inbox in inboxes:
            spans = self._spans.get((audience, inbox), [])
            if spans and spans[-1][1] == OPEN:
                spans[-1] = (spans[-1][0], self.lsn)
                count += 1
                self.changed = True
        return count

    def deliver(self, audience: int, kept: Kept, seq: int, kind: int) -> None:
        self._operations.append(Change("deliver", kept, seq, kind, audience))
        self._deliveries.append((self._members(audience), kept, seq, kind))
        self.changed = True

    def notify(self, inboxes: Sequence[int], kept: Kept, seq: int, kind: int) -> None:
        self._operations.append(Change("notify", kept, seq, kind))
        self._deliveries.append((inboxes, kept, seq, kind))
        self.changed = True

    # --- the end ------------------------------------------------------------------------------

    def _operate(self, kind: str, kept: Kept, position: int) -> None:
        self._operations.append(Change(kind, kept, position, position))
        self.changed = True

    def accept(self) -> None:
        """The commit stands. An empty one leaves no trace."""
        if not self.changed:
            return
        oracle = self._oracle
        assert self.lsn == oracle.lsn + 1
        oracle.lsn = self.lsn
        oracle.time = self.time
        oracle.timelines = self.timelines
        oracle.deleted = self._deleted
        oracle.spans = self._spans
        for inboxes, kept, seq, kind in self._deliveries:
            assert kept.id is not None
            reference = (self.lsn, kept.id, seq, kind)
            for inbox in inboxes:
                oracle.inboxes.setdefault(inbox, Inbox()).references.append(reference)
        oracle.log.append(Commit(self.lsn, self.time, self._appends + self._operations))

    def _members(self, audience: int) -> list[int]:
        return [
            inbox
            for (owner, inbox), spans in self._spans.items()
            if owner == audience and spans and spans[-1][1] == OPEN
        ]
