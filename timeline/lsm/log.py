"""The commit log: records of groups, read in order by followers of the store.

Responsibility: write the record of a group and make it durable, read commits back, keep named
checkpoints, and decide up to where the log may be deleted. Where records are kept is the `Ledger`'s
business.

Rule: the log holds every record above the LSN that is sealed and flushed. Below that it keeps what
the lowest checkpoint needs, within bounds of bytes and age, so that a follower that nobody runs any
more cannot fill the disk. A reader sees commits that were applied, and are therefore durable. A
position that is no longer kept raises `TrimmedError`.

Moving a checkpoint is not a commit. A power cut may take the last moves back, and the follower then
sees some commits again. A killed process takes none back. The checkpoint itself is never lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, NamedTuple

from timeline.errors import NotFoundError, TimelineError, TrimmedError, UsageError, shown
from timeline.formats.keys import MAX
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.records import (
    DELIVER,
    DROP,
    NOTIFY,
    PATCH,
    TRIM,
    Appends,
    Operation,
    Record,
    decode_record,
    decode_target,
    encode_record,
)
from timeline.log.ledger import Ledger, Records
from timeline.lsm.checkpoints import Checkpoints
from timeline.storage.mark import DurableMark

_PAGE_BYTES: Final = 64 << 10  # of log, read at a time

APPENDED: Final = "append"
PATCHED: Final = "patch"
TRIMMED: Final = "trim"
DROPPED: Final = "drop"
DELIVERED: Final = "deliver"
NOTIFIED: Final = "notify"


class Change(NamedTuple):
    """One thing that a commit did to a timeline: append `first` to `last`, patch or trim at
    `first`, or drop. `timeline` is its name, None when it was dropped since.

    Of a delivery `id`, `first` and `last` are the timeline, the number and the kind that the
    reference names. `audience` is who gets it, 0 when the commit names the in-boxes.
    """

    kind: str
    id: TimelineId
    first: int
    last: int
    audience: int = 0
    timeline: bytes | None = None


class LogCommit(NamedTuple):
    lsn: Lsn
    time: int
    changes: list[Change]


def consumer_name(name: bytes) -> bytes:
    """Raises `UsageError` for what cannot be one."""
    if not 1 <= len(name) <= 255:
        raise UsageError("a consumer's name is 1 to 255 bytes")
    return name


class Log:
    def __init__(
        self,
        records: Records,
        checkpoints: Checkpoints,
        ledger: Ledger | None = None,
        mark: DurableMark | None = None,
    ) -> None:
        """`ledger` is where to write, and `mark` notes how far that is durable; without them the
        log is only read.
        """
        self._records = records
        self._checkpoints = checkpoints
        self._written, self._mark = ledger, mark
        self.applied = 0  # last LSN that readers may see
        self.bytes = 0  # that were written, or applied again, since the store was opened

    # --- records ------------------------------------------------------------------------------

    def append(self, first: int, last: int, record: bytes, now: int, *, durable: bool) -> None:
        """Write the record of the group with LSNs `first` to `last`, made at time `now` (ms); with
        `durable` it is when this returns, else after `sync`.

        Raises `StallError` and `LogFullError`: nothing was written. After any other error perhaps
        all of it was.
        """
        self._ledger.append(first, last, record, now, sync=durable)
        self.bytes += len(record)
        if durable:
            self._note(last)

    def sync(self, last: int) -> None:
        """Make durable what was written, up to LSN `last`. Where it raised, it is never tried
        again: what it should have written may be lost.
        """
        self._ledger.sync()
        self._note(last)

    @property
    def failed(self) -> TimelineError | None:
        """What a write or an fsync failed with, until it is healed."""
        return self._ledger.failed

    def heal(self, now: int) -> None:
        """Make durable what was in doubt after a failure. Raises as `append`; try it again then."""
        self._ledger.heal(now)
        self._ledger.sync()

    def turn(self, upto: int, now: int) -> bool:
        """Begin another part of the log, if need be, so that what lies up to LSN `upto` can be
        deleted as soon as nothing needs it. False when that takes a while: call it again. Raises as
        `append`.
        """
        return self._ledger.turn(upto, now)

    def close(self) -> None:
        self._records.close()

    @property
    def _ledger(self) -> Ledger:
        assert self._written is not None, "opened to be read"
        return self._written

    def _note(self, last: int) -> None:
        assert self._mark is not None, "opened to be read"
        self._mark.write(last)

    def records(self, after: int) -> Iterator[Record]:
        """Records that were written after commit `after`, in order, applied or not; also those
        without a commit.
        """
        for _, last, value in self._records.replay(after):
            self.bytes += len(value)
            yield decode_record(Lsn(last), value)

    def copied(self, sealed: int) -> Iterator[tuple[int, int, bytes]]:
        """What a copy of the store, which is sealed up to LSN `sealed`, needs of the log: each
        record up to its end as of now, with its first and last LSN. They can be read later, without
        the lock.
        """
        return self._records.replay(max(min(self._needed, sealed), self._records.first - 1))

    @property
    def _needed(self) -> int:
        """The LSN above which the lowest checkpoint needs the log."""
        return min(self._checkpoints.reached.values(), default=MAX)

    def stored(self, after: int, most: int) -> list[tuple[Lsn, bytes]]:
        """The next applied records above LSN `after` as they are stored, by their last LSN: about
        `most` bytes of them, and one at least. Where they are no longer kept, those that are.
        Without the engine's lock. Raises `ClosedError` where the log was closed meanwhile.
        """
        upto = self.applied
        found = self._records.read(max(after, self._records.first - 1), upto, most)
        return [(Lsn(last), value) for _, last, value in found]

    def first(self) -> int:
        """The lowest LSN still kept; one above the last when there is none."""
        return min(self._records.first, self.applied + 1)

    def read(self, after: int, limit: int) -> list[LogCommit]:
        """At most `limit` commits above LSN `after`. Raises `TrimmedError`."""
        commits: list[LogCommit] = []
        reached = after
        while reached < self.applied and len(commits) < limit:
            try:
                found = self._records.read(reached, self.applied, _PAGE_BYTES)
            except TrimmedError:
                raise TrimmedError(
                    f"the log no longer holds what follows LSN {reached} (it begins at "
                    f"{self.first()}): read the timelines themselves and go on from there"
                ) from None
            for _, last, value in found:
                split = split_record(decode_record(Lsn(last), value))
                commits += [commit for commit in split if commit.lsn > reached]
                reached = last
                if len(commits) >= limit:
                    break
        return commits[:limit]

    # --- checkpoints --------------------------------------------------------------------------

    def checkpoint(self, name: bytes) -> int:
        """The LSN that follower `name` has reached. Raises `NotFoundError`."""
        lsn = self._checkpoints.reached.get(name)
        if lsn is None:
            raise NotFoundError(f"there is no consumer {shown(name)}: move it to an LSN to make it")
        return lsn

    def checkpoints(self) -> dict[bytes, int]:
        return dict(self._checkpoints.reached)

    def check_given_out(self, lsn: int) -> None:
        """Raises `UsageError` for an LSN that this store has not reached. A follower that has one
        followed another store, or this one before it was rolled back, and would wait for ever.
        """
        if lsn > self.applied:
            raise UsageError(f"LSN {lsn} is above the last one, {self.applied}")

    def move(self, name: bytes, lsn: int | None, now: int) -> bool:
        """Set checkpoint `name` to `lsn`, or with None forget it; whether that is durable, which it
        is for a new one. Raises what `append` raises.
        """
        if lsn is not None:
            self.check_given_out(lsn)
        reached = self._checkpoints.reached
        if lsn == reached.get(name):
            return True
        last = self._ledger.last
        operations = self._checkpoints.noted(last, name, lsn)
        record = encode_record(Lsn(last + 1), 0, now, Appends.none(), (), operations)
        durable = name not in reached
        self.append(last + 1, last, record, now, durable=durable)
        self._checkpoints.move(name, lsn)
        return durable

    # --- deleting -----------------------------------------------------------------------------

    def let_go(self, flushed: int, *, most: int, oldest: int) -> None:
        """Delete what may go of the log up to LSN `flushed`, which is sealed and flushed.

        A part of it goes when every checkpoint has passed it, when more than `most` bytes of such
        log are kept, or when its last commit was made before time `oldest` (ms).
        """
        parts = [part for part in self._ledger.parts if part.last <= flushed]
        if not parts:
            return
        needed = min(self._needed, flushed)
        kept = sum(part.bytes for part in parts)
        upto = 0
        # Nothing was made later than what follows it, whatever the clock said at the time.
        times = accumulate(reversed([part.time for part in parts]), min)
        for part, time in zip(parts, reversed([*times]), strict=True):
            if part.last > needed and kept <= most and time >= oldest:
                break
            kept -= part.bytes
            upto = part.last
        self._ledger.let_go(upto)

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self._records.size

    def kept(self, sealed: int) -> int:
        """Bytes of log that are kept for followers and no longer needed for what is sealed."""
        return sum(part.bytes for part in self._ledger.parts if part.last <= sealed)

    def waiting_since(self, after: int) -> int:
        """When the first commit above LSN `after` that is kept was made, in ms; 0 when there is
        none.
        """
        found = self.stored(after, 1)
        return decode_record(*found[0]).time if found else 0


def split_record(record: Record) -> Iterator[LogCommit]:
    """The commits of a record, one after another, with what each changed."""
    timeline_id: Any
    changes: dict[Any, list[Change]] = {lsn: [] for lsn in range(record.first, record.last + 1)}
    appends = record.appends
    for timeline_id, seq, lsn in zip(
        appends.timelines, appends.seqs, appends.lsns(record.first), strict=True
    ):
        _note_append(changes[lsn], timeline_id, seq)
    for operation in record.operations:
        change = _describe(operation)
        if change is not None:
            changes[operation.lsn].append(change)
    for lsn, found in changes.items():
        yield LogCommit(lsn, record.time, found)


def _note_append(changes: list[Change], timeline_id: TimelineId, seq: int) -> None:
    if changes and changes[-1].id == timeline_id and changes[-1].last == seq - 1:
        changes[-1] = changes[-1]._replace(last=seq)
    else:
        changes.append(Change(APPENDED, timeline_id, seq, seq))


def _describe(operation: Operation) -> Change | None:
    kind, _, target, argument, body = operation
    if kind == PATCH:
        return Change(PATCHED, target, argument, argument)
    if kind == TRIM:
        return Change(TRIMMED, target, argument, argument)
    if kind == DROP:
        return Change(DROPPED, target, 0, 0)
    if kind in (DELIVER, NOTIFY):
        to = decode_target(body)
        verb = DELIVERED if kind == DELIVER else NOTIFIED
        return Change(verb, to.timeline_id, argument, to.kind, target)
    return None
