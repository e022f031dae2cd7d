"""The commit log: records of groups, read in order by followers of the store.

Responsibility: write the record of a group and make it durable, read commits back, keep named
checkpoints, and decide up to where the log may be deleted.

Rule: the log holds every record above the sealed LSN, and always the newest one. Below that it
keeps what the lowest checkpoint needs, within bounds of bytes and age, so that a follower that
nobody runs any more cannot fill the disk. A reader sees commits that were applied, and are
therefore durable. A position that is no longer kept raises `TrimmedError`.

Moving a checkpoint is not a commit. A power cut may take the last moves back, and the follower then
sees some commits again. The checkpoint itself is never lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from struct import Struct
from typing import Any, Final, NamedTuple

from timeline.errors import NotFoundError, TrimmedError, UsageError, shown
from timeline.formats import keys
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.records import (
    DELIVER,
    DROP,
    NOTIFY,
    PATCH,
    TRIM,
    Operation,
    Record,
    decode_record,
    decode_target,
)
from timeline.lsm.openings import Openings
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import LOG, META, Batch, Storage

_CHAPTER_VALUE = Struct("<QQ")

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
    def __init__(self, storage: Storage, mark: DurableMark | None = None) -> None:
        """`mark` notes how far the log is durable; without one it is only read."""
        self._storage = storage
        self._mark = mark
        self.applied = 0  # last LSN that readers may see

    # --- records ------------------------------------------------------------------------------

    def put(self, last: int, record: bytes, openings: Openings) -> None:
        """Write the record of the group that ends at LSN `last`, with `openings` if they are new.

        It is durable after `sync`. Raises what the storage raises; then nothing was written after
        `StallError`, and perhaps all of it after any other.
        """
        batch = self._storage.batch()
        batch.put(LOG, keys.number(last), record)
        if openings.unwritten:
            openings.keep(batch)
        self._storage.write(batch)
        openings.unwritten = False

    def sync(self, last: int) -> None:
        """Make durable what was put, up to LSN `last`. Where it raised, it is never tried again:
        what it should have written may be lost.
        """
        assert self._mark is not None, "opened to be read"
        self._storage.sync()
        self._mark.write(last)

    def records(self, after: int) -> Iterator[Record]:
        """Stored records that hold a commit above LSN `after`, in order, applied or not."""
        pairs = self._storage.scan(LOG, keys.number(after + 1), keys.number(keys.MAX))
        for key, value in pairs:
            yield decode_record(Lsn(keys.split_number(key)), value)

    def stored(self, after: int, most: int) -> list[tuple[Lsn, bytes]]:
        """The next applied records above LSN `after` as they are stored, by their last LSN: about
        `most` bytes of them, and one at least. A follower decodes them without the lock.
        """
        found: list[tuple[Lsn, bytes]] = []
        size = 0
        pairs = self._storage.scan(LOG, keys.number(after + 1), keys.number(self.applied + 1))
        for key, value in pairs:
            found.append((Lsn(keys.split_number(key)), value))
            size += len(value)
            if size >= most:
                break
        return found

    def first(self) -> int:
        """The lowest LSN still kept; one above the last when there is none."""
        found = self._storage.at_or_after(LOG, keys.number(0), keys.number(keys.MAX))
        if found is None:
            return self.applied + 1
        return decode_record(Lsn(keys.split_number(found[0])), found[1]).first

    def read(self, after: int, limit: int) -> list[LogCommit]:
        """At most `limit` commits above LSN `after`. Raises `TrimmedError`."""
        if after >= self.applied or limit <= 0:
            return []
        commits: list[LogCommit] = []
        reached = after
        begins = self.applied + 1
        for record in self.records(after):
            begins = record.first
            if begins > reached + 1:
                break
            reached = record.last
            for commit in split_record(record):
                if commit.lsn > self.applied or len(commits) == limit:
                    return commits
                if commit.lsn > after:
                    commits.append(commit)
        if not commits:
            raise TrimmedError(
                f"the log no longer holds what follows LSN {after} (it begins at {begins}): "
                "read the timelines themselves and go on from there"
            )
        return commits

    # --- checkpoints --------------------------------------------------------------------------

    def checkpoint(self, name: bytes) -> int:
        """The LSN that follower `name` has reached. Raises `NotFoundError`."""
        value = self._storage.get(META, keys.CHECKPOINT + name)
        if value is None:
            raise NotFoundError(f"there is no consumer {shown(name)}: move it to an LSN to make it")
        return keys.split_number(value)

    def knows(self, name: bytes) -> bool:
        """Whether there is a checkpoint of that name."""
        return self._storage.get(META, keys.CHECKPOINT + name) is not None

    def checkpoints(self) -> dict[bytes, int]:
        pairs = self._storage.scan(META, keys.CHECKPOINT, keys.successor(keys.CHECKPOINT))
        return {key[len(keys.CHECKPOINT) :]: keys.split_number(value) for key, value in pairs}

    def check_given_out(self, lsn: int) -> None:
        """Raises `UsageError` for an LSN that this store has not reached. A follower that has one
        followed another store, or this one before it was rolled back, and would wait for ever.
        """
        if lsn > self.applied:
            raise UsageError(f"LSN {lsn} is above the last one, {self.applied}")

    def move(self, batch: Batch, name: bytes, lsn: int | None) -> None:
        """Set checkpoint `name` to `lsn`, or with None forget it."""
        if lsn is None:
            batch.delete(META, keys.CHECKPOINT + name)
        else:
            self.check_given_out(lsn)
            batch.put(META, keys.CHECKPOINT + name, keys.number(lsn))

    # --- deleting -----------------------------------------------------------------------------

    def delete_sealed(
        self, batch: Batch, sealed: int, size: int, now: int, *, most: int, oldest: int
    ) -> None:
        """Note that `size` bytes of log up to LSN `sealed` are sealed, and drop what may go.

        Sealed log goes when every checkpoint has passed it, when more than `most` bytes of it
        are kept, or when it was sealed before time `oldest`.
        """
        batch.put(META, keys.CHAPTER + keys.number(sealed), _CHAPTER_VALUE.pack(size, now))
        self._drop(batch, [*self._chapters(), (sealed, size, now)], sealed, most, oldest)

    def delete_more(self, batch: Batch, sealed: int, *, most: int, oldest: int) -> None:
        """Drop more of what was sealed before: checkpoints have moved, and time has passed."""
        self._drop(batch, self._chapters(), sealed, most, oldest)

    def _drop(
        self,
        batch: Batch,
        chapters: list[tuple[int, int, int]],
        sealed: int,
        most: int,
        oldest: int,
    ) -> None:
        needed = min(self.checkpoints().values(), default=sealed)
        kept = sum(chapter[1] for chapter in chapters)
        upto = 0
        # Nothing was sealed later than what follows it, whatever the clock said at the time.
        times = accumulate(reversed([time for _, _, time in chapters]), min)
        for (lsn, weight, _), time in zip(chapters, reversed([*times]), strict=True):
            if lsn > needed and kept <= most and time >= oldest:
                break
            batch.delete(META, keys.CHAPTER + keys.number(lsn))
            kept -= weight
            upto = lsn
        if upto:  # the record that ends at `upto` stays: the newest one is never deleted
            batch.delete_range(LOG, keys.number(0), keys.number(upto))

    def cut(self, batch: Batch, lsn: int) -> None:
        """Drop every record above LSN `lsn`, and move checkpoints above it back to it."""
        batch.delete_range(LOG, keys.number(lsn + 1), keys.number(keys.MAX))
        for name, reached in self.checkpoints().items():
            if reached > lsn:
                batch.put(META, keys.CHECKPOINT + name, keys.number(lsn))

    def lowest(self, upto: int) -> Record | None:
        """The first record that is kept, if it ends at or below LSN `upto`."""
        found = self._storage.at_or_after(LOG, keys.number(0), keys.number(upto + 1))
        return None if found is None else decode_record(Lsn(keys.split_number(found[0])), found[1])

    def _chapters(self) -> list[tuple[int, int, int]]:
        """What is kept of the sealed log: up to which LSN, bytes, and when it was sealed."""
        pairs = self._storage.scan(META, keys.CHAPTER, keys.successor(keys.CHAPTER))
        return [
            (keys.split_number(key[len(keys.CHAPTER) :]), *_CHAPTER_VALUE.unpack(value))
            for key, value in pairs
        ]

    def kept(self) -> int:
        """Bytes of log that are sealed and kept for followers."""
        return sum(size for _, size, _ in self._chapters())

    def waiting_since(self, after: int) -> int:
        """When the first commit above LSN `after` that is kept was made, in ms; 0 when there is
        none.
        """
        found = self.stored(after, 1)
        return decode_record(*found[0]).time if found else 0


def superseded(record: Record) -> int | None:
    """The id of a timeline of which the record holds an entry, or a patch, that another of its
    operations replaces or deletes; None when it holds nothing of the kind.
    """
    appends = record.appends
    held = set(zip(appends.timelines, appends.seqs, strict=True))
    for operation in record.operations:
        if operation.kind == PATCH:
            if (operation.id, operation.argument) in held:
                return operation.id
            held.add((operation.id, operation.argument))
        elif operation.kind == DROP and any(each == operation.id for each, _ in held):
            return operation.id
    return None


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
