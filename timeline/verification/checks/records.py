"""The commit log, the durable mark, and what the store says about itself.

Checked: every record can be read, no LSN is missing between two records, and the log reaches as far
as the durable mark. No record appends beyond the head of its timeline. The progress of sealing is
not behind the sealed rows. It, checkpoints and the floor of in-boxes are not ahead of the log.

Example: one record ends at LSN 40, and the next begins at 43.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from timeline.engine.store.directory import STORE_KEY
from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.rows import decode_clock, decode_erasure, decode_expiry, decode_openings
from timeline.lsm.clock import CLOCK_KEY
from timeline.lsm.openings import OPENINGS_KEY
from timeline.lsm.upkeep.erasure import ERASURE_KEY
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.storage.rocks import META
from timeline.verification.snapshot.findings import LOG, MARK, Finding, Put, remove
from timeline.verification.snapshot.snapshot import Snapshot, grow


def check_log(snapshot: Snapshot) -> Iterator[Finding]:
    """The records that followers and openings read. What is damaged of the log was found when it
    was opened.
    """
    commits, time = snapshot.commits, 0
    highest: dict[int, int] = {}
    for run in commits.runs:
        counts = run.leads_on(snapshot.progress.sealed)
        for record in commits.records(run, run.first - 1):
            snapshot.note_row()
            if record.last < record.first:  # it holds no commit
                continue
            if record.time < time and not snapshot.clock.steps_at(record.first):
                text = "its time is before that of the commits before it"
                yield Finding(LOG, text, number=record.last)
            time = record.time
            if counts:
                appends = record.appends
                highest.update(zip(appends.timelines, appends.seqs, strict=True))
    yield from _check_heads(snapshot, highest)
    yield from _check_end(snapshot)


def _check_end(snapshot: Snapshot) -> Iterator[Finding]:
    """The log reaches the sealed LSN and the durable mark."""
    sealed, runs = snapshot.progress.sealed, snapshot.commits.runs
    last = max((run.last for run in runs), default=sealed)
    if last < sealed:  # the newest record is never let go
        yield Finding(
            META,
            f"commits are said to be sealed up to LSN {sealed}, but the log ends at {last}: "
            "followers find nothing of those between",
            PROGRESS_KEY,
            number=sealed,
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


def check_reached(snapshot: Snapshot, reached: int) -> Iterator[Finding]:
    """The progress of sealing is not behind the sealed rows, which reach up to LSN `reached`."""
    progress = snapshot.progress
    sealed = max(progress.sealed, progress.upto)
    if sealed < reached <= snapshot.applied:
        yield Finding(
            META,
            f"commits are said to be sealed up to LSN {sealed}, but rows of {reached} are there: "
            "what lies between would be applied twice",
            PROGRESS_KEY,
            number=reached,
        )


def check_meta(snapshot: Snapshot) -> Iterator[Finding]:
    """What the store says about itself, and its consumers."""
    progress, applied = snapshot.progress, snapshot.applied
    if progress.upto and progress.upto < progress.sealed:
        yield Finding(META, "sealing is further than the LSN that it was to reach", PROGRESS_KEY)
    for key, value in snapshot.pairs(META):
        try:
            if key.startswith(keys.CHECKPOINT):
                name = key[len(keys.CHECKPOINT) :]
                keys.split_number(value)
                lsn = snapshot.checkpoints.reached.get(name, 0)
                if lsn > applied:
                    yield Finding(
                        META,
                        f"consumer {shown(name)} stands at LSN {lsn}, above "
                        f"the last one, {applied}: it would miss what comes next",
                        key,
                        number=lsn,
                        fix=(Put(META, key, keys.number(applied)),),
                    )
            elif key.startswith(keys.CHAPTER) and snapshot.is_former:
                keys.split_pair(value)
                lsn = keys.split_number(key[len(keys.CHAPTER) :])
                if lsn > progress.sealed:
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
