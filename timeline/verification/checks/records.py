"""The commit log, the durable mark, and what the store says about itself.

Checked: every record can be read, no LSN is missing between two records, and the log reaches as far
as the durable mark. No record appends beyond the head of its timeline. The progress of sealing,
checkpoints, chapters and the floor of in-boxes are not ahead of the log.

Example: one record ends at LSN 40, and the next begins at 43.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from timeline.engine.store.directory import STORE_KEY
from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.records import decode_record
from timeline.formats.rows import decode_clock, decode_erasure, decode_expiry, decode_openings
from timeline.lsm.clock import CLOCK_KEY
from timeline.lsm.openings import OPENINGS_KEY
from timeline.lsm.upkeep.erasure import ERASURE_KEY
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.storage.rocks import LOG, META
from timeline.verification.snapshot.findings import MARK, Finding, Put, remove
from timeline.verification.snapshot.snapshot import Snapshot, grow

_CHAPTER_SIZE: Final = 16  # bytes of the value of a chapter


def check_log(snapshot: Snapshot) -> Iterator[Finding]:
    """Every record, and that each follows on the one before it."""
    sealed = snapshot.progress.sealed
    previous = time = 0
    seen: list[bytes] = []
    highest: dict[int, int] = {}
    broken = False
    for key, value in snapshot.pairs(LOG):
        last = int.from_bytes(key, "big")
        try:
            record = decode_record(Lsn(keys.split_number(key)), value)
        except CorruptError as error:
            # Above the sealed LSN the records after it are void. Below it the log serves followers
            # only.
            yield Finding(
                LOG,
                str(error),
                key,
                number=last,
                lost=last > sealed,
                fix=remove(LOG, key) if last > sealed else remove(LOG, *seen, key),
            )
            broken, previous = broken or last > sealed, 0
            continue
        seen.append(key)
        needed = record.first > sealed + 1  # commits between the two are needed to apply it
        if (previous and record.first != previous + 1) or (broken and last > sealed):
            yield Finding(
                LOG,
                f"the log goes from LSN {previous or 'a damaged record'} to {record.first}: what "
                "lies between is lost, and "
                + ("what follows cannot be applied" if needed else "followers stop there"),
                key,
                number=record.first,
                lost=needed,
                fix=remove(LOG, key) if needed else remove(LOG, *seen[:-1]),
            )
            broken = broken or needed
        elif not previous and record.first > sealed + 1:
            yield Finding(
                LOG,
                f"the log begins at LSN {record.first}, and only commits up to {sealed} are sealed",
                key,
                number=record.first,
                lost=True,
                fix=remove(LOG, key),
            )
            broken = True
        if record.time < time and not snapshot.clock.steps_at(record.first):
            yield Finding(LOG, "its time is before that of the commits before it", key, number=last)
        previous, time = last, record.time
        if not broken:
            appends = record.appends
            highest.update(zip(appends.timelines, appends.seqs, strict=True))
    yield from _check_heads(snapshot, highest)
    yield from _check_end(snapshot, 0 if broken else previous, seen)


def _check_end(snapshot: Snapshot, last: int, seen: list[bytes]) -> Iterator[Finding]:
    """The log reaches the sealed LSN and the durable mark. Its unbroken end is `last`, 0 for
    none.
    """
    sealed = snapshot.progress.sealed
    if last and last < sealed:  # the newest record is never trimmed
        yield Finding(
            META,
            f"commits are said to be sealed up to LSN {sealed}, but the log ends at {last}: "
            "followers find nothing of those between",
            PROGRESS_KEY,
            number=sealed,
            fix=remove(LOG, *seen),
        )
    if snapshot.applied < snapshot.marked:
        yield Finding(
            MARK,
            f"the log ends at LSN {snapshot.applied}, but commits up to {snapshot.marked} were "
            "acknowledged: the newest are lost",
            number=snapshot.marked,
            lost=True,
        )


def _check_heads(snapshot: Snapshot, highest: dict[int, int]) -> Iterator[Finding]:
    for timeline_id, seq in highest.items():
        head = snapshot.head(timeline_id)
        if head is not None and head < seq:
            yield Finding(
                "segments",
                f"the log gave out number {seq}, but the newest entry is {head}: those between are "
                "lost",
                timeline=snapshot.name(timeline_id),
                number=seq,
                lost=True,
                fix=grow(snapshot, timeline_id, seq),
            )


def check_meta(snapshot: Snapshot) -> Iterator[Finding]:
    """What the store says about itself, and its consumers."""
    progress, applied = snapshot.progress, snapshot.applied
    if progress.upto and progress.upto < progress.sealed:
        yield Finding(META, "sealing is further than the LSN that it was to reach", PROGRESS_KEY)
    for key, value in snapshot.pairs(META):
        try:
            if key.startswith(keys.CHECKPOINT):
                lsn = keys.split_number(value)
                if lsn > applied:
                    yield Finding(
                        META,
                        f"consumer {shown(key[len(keys.CHECKPOINT) :])} stands at LSN {lsn}, above "
                        f"the last one, {applied}: it would miss what comes next",
                        key,
                        number=lsn,
                        fix=(Put(META, key, keys.number(applied)),),
                    )
            elif key.startswith(keys.CHAPTER):
                lsn = keys.split_number(key[len(keys.CHAPTER) :])
                if len(value) != _CHAPTER_SIZE or lsn > progress.sealed:
                    raise CorruptError(f"the chapter of the log up to LSN {lsn} is damaged")
            elif key == EXPIRY_KEY:
                yield from _check_expiry(snapshot, value)
            elif key == CLOCK_KEY:
                decode_clock(value)
            elif key == ERASURE_KEY:
                decode_erasure(value)
            elif key == OPENINGS_KEY:
                decode_openings(value)
            elif key not in (STORE_KEY, PROGRESS_KEY):
                raise CorruptError(f"{key!r} is nothing that the store knows")
        except CorruptError as error:
            yield Finding(META, str(error), key, fix=remove(META, key))


def _check_expiry(snapshot: Snapshot, value: bytes) -> Iterator[Finding]:
    row = decode_expiry(value)
    marks = row.marks
    ascending = all(one <= next_ for one, next_ in pairwise(marks))
    late = bool(marks) and (
        marks[-1][0] > snapshot.applied
        or snapshot.clock.by_order(marks[-1][0], marks[-1][1]) > snapshot.time
    )
    if late or row.floor > snapshot.progress.sealed or row.swept > row.floor or not ascending:
        yield Finding(
            META,
            "the floor of in-boxes is above what is sealed, or its marks are out of order: "
            "references would be missing",
            EXPIRY_KEY,
            fix=remove(META, EXPIRY_KEY),
        )
