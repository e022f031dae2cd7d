"""Sealing: from the memtable to the store, in slices between groups.

Responsibility: begin a pass when the active generation holds half of what may be unsealed. Rotate
it, and write it in key order: entries, in-boxes, patches, what trims and drops left, state. At the
end move the sealed LSN.

Rule: sealing changes no answer. A slice is one write into RocksDB's memory. Our memory is released
after it.

A crash loses the slices written since RocksDB last flushed, and their progress with them. The log
is kept until they are flushed, so it is there to be replayed. The replay skips what is on the disk
already: entries at or below the last number of their timeline there, references at or below
the last LSN of their in-box. State needs no such check: a replay ends with its last value. Records
are checked up to the LSN `upto`, which is kept with the progress.

A pass keeps ahead of the writers. It is done when the active generation has grown to three quarters
of the size at which the next pass begins.

How it fails: `StallError` from a slice means that nothing was written. The slice is done again.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np

from timeline.formats.keys import AUDIENCE, pair
from timeline.formats.references import (
    begin_references,
    compact_references,
    cut_references,
    finish_references,
    lsn_of,
)
from timeline.formats.rows import ProgressRow, encode_progress
from timeline.formats.segments import Column, encode_segments
from timeline.lsm.log import Log
from timeline.lsm.memtable import Generation, Memtable
from timeline.lsm.timeline import Timeline
from timeline.lsm.upkeep.erasure import Erasure
from timeline.lsm.upkeep.expiry import Expiry
from timeline.options import Options
from timeline.storage.rocks import INBOXES, META, PATCHES, SEGMENTS, STATE, Batch, Storage

PROGRESS_KEY: Final = b"progress"

_OPEN: Final = b"\xff" * 8  # how a row of membership ends while it lasts

_SLICE_ROWS: Final = 1_024  # entries of a slice at most
_SLICE_OWNERS: Final = 64  # timelines or in-boxes of a slice at most
REFERENCES_A_SEGMENT: Final = 1_024  # after so many a segment of an in-box ends with its commit
_WORTH_COMPACTING: Final = 64  # references of each of several in-boxes
EntryColumns = tuple[Column, Column, Column, Sequence[bytes]]
_NOTHING: Final[EntryColumns] = (array("Q"), array("Q"), array("Q"), ())


class Kept(Protocol):
    """Something that the store remembers besides, and writes with the next slice."""

    def keep(self, batch: Batch) -> None:
        """Write what has changed with `batch`; `kept` is called once that is written."""
        ...

    def kept(self) -> None: ...


class Sealing:
    def __init__(
        self,
        storage: Storage,
        memtable: Memtable,
        log: Log,
        options: Options,
        progress: ProgressRow,
        note: Callable[[int], None],
        expiry: Expiry,
        erasure: Erasure,
        remembered: Sequence[Kept],
    ) -> None:
        """`note(timeline_id)` is called for every small segment that is written. Whatever changed
        of `remembered` is written with the next slice.
        """
        self._storage = storage
        self._memtable = memtable
        self._log = log
        self._options = options
        self._note = note
        self._expiry = expiry
        self._erasure = erasure
        self._remembered = remembered
        self.progress = self._reached = progress  # as written, as the next slice writes it
        self.passes = 0
        self._ended = time.monotonic()  # when the last pass ended
        self._steps: Iterator[Callable[[Batch], None]] | None = None
        self._after: list[Callable[[], None]] = []  # run once the slice is written: frees memory
        self._pending: Callable[[Batch], None] | None = None  # a slice that met a stall
        self._done = self._total = 0
        self._upto = 0  # the last LSN of the pass

    @property
    def sealed(self) -> int:
        return self.progress.sealed

    @property
    def under_way(self) -> bool:
        return self._steps is not None

    @property
    def fraction(self) -> float:
        """How much of the pass under way is done, 0 to 1; 0 when there is none."""
        return self._done / self._total if self.under_way else 0.0

    def due(self) -> bool:
        """Whether a pass is under way or should begin."""
        return self._steps is not None or self._fill() >= 1.0

    def overdue(self) -> bool:
        """Whether something has waited in memory for longer than `seal_after_ms`."""
        waited = time.monotonic() - self._ended
        return self._log.applied > self.sealed and waited * 1000 >= self._options.seal_after_ms

    def begin(self, upto: int, now: int, next_id: int, staged: Iterable[Timeline] = ()) -> None:
        """Begin a pass over what was applied, up to LSN `upto`.

        `staged` are the timelines with entries that are not applied yet.
        """
        generation = self._memtable.rotate(upto, staged)
        self._total = max(
            1,
            generation.tails
            + len(generation.columns)
            + len(generation.state)
            + len(generation.patches),
        )
        self._done = 0
        self._upto = upto
        # A pass that a crash interrupted may have come further than this one will.
        further = max(upto, self.progress.upto)
        self._reached = self.progress._replace(upto=further, next_id=next_id, time=now)
        self._steps = self._pass(generation)

    def keep_pace(self, begin: Callable[[], None]) -> None:
        """Do as many slices as the last groups make necessary, often none. `begin()` is called to
        begin a pass when one is due.
        """
        fill = self._fill()
        if self._steps is None:
            if fill < 1.0:
                return
            begin()
            fill = 0.0
        while self._steps is not None and self._done / self._total < fill / 0.75:
            self.slice()

    def run(self, seconds: float) -> None:
        """Go on with a pass for about `seconds`."""
        deadline = time.perf_counter() + seconds
        while self._steps is not None and time.perf_counter() < deadline:
            self.slice()

    def slice(self) -> None:
        """Write one slice. Raises what storage raises; after `StallError` call again."""
        if self._steps is None:
            return
        if self._pending is None:
            step = next(self._steps)
            batch = self._storage.batch()
            step(batch)
            self._pending = step
        else:
            batch = self._storage.batch()
            self._after.clear()
            self._pending(batch)
        batch.put(META, PROGRESS_KEY, encode_progress(self._reached))
        for each in self._remembered:
            each.keep(batch)
        self._storage.write(batch)
        for each in self._remembered:
            each.kept()
        self._pending = None
        self.progress = self._reached
        after, self._after = self._after, []
        for action in after:
            action()

    def _fill(self) -> float:
        """How full the active generation is, 1.0 being the moment to rotate."""
        active = self._memtable.active
        return 2 * max(
            active.size / self._options.unsealed_bytes, active.tails / self._options.tails
        )

    # --- one pass -----------------------------------------------------------------------------

    def _pass(self, generation: Generation) -> Iterator[Callable[[Batch], None]]:
        for timeline_ids in _sorted_chunks(generation.timelines, _SLICE_OWNERS):
            yield from self._entries(generation, timeline_ids)
        for inbox_ids in _sorted_chunks(generation.inboxes, _SLICE_OWNERS):
            yield partial(self._references, generation, inbox_ids)
        yield from self._chunks(generation.patches.items(), self._write_patches)
        yield from self._chunks(generation.garbage.items(), self._write_garbage)
        yield from self._chunks(generation.state.items(), self._write_state)
        yield self._finish

    def _entries(
        self, generation: Generation, timeline_ids: list[int]
    ) -> Iterator[Callable[[Batch], None]]:
        """Slices of at most `_SLICE_ROWS` rows; a long tail takes several."""
        waiting: list[tuple[Timeline, int]] = []
        room = _SLICE_ROWS
        unsealed = self._memtable.unsealed
        for timeline_id in timeline_ids:
            timeline = generation.timelines[timeline_id]
            left = unsealed(timeline)
            while left > room:
                if room:
                    waiting.append((timeline, room))
                yield partial(self._write_entries, generation, waiting)
                waiting, room = [], _SLICE_ROWS
                left = unsealed(timeline)
            if left:
                waiting.append((timeline, left))
                room -= left
        if waiting:
            yield partial(self._write_entries, generation, waiting)

    def _write_entries(
        self, generation: Generation, parts: list[tuple[Timeline, int]], batch: Batch
    ) -> None:
        memtable, options = self._memtable, self._options
        # A trim may have taken some since the slice was cut.
        parts = [(each, min(most, memtable.unsealed(each))) for each, most in parts]
        parts = [(each, most) for each, most in parts if most]
        written: list[tuple[Timeline, int, int]] = []
        rows = b"".join([timeline.tail[:most] for timeline, most in parts])
        seqs, lsns, times, payloads = generation.columns.gather(rows) if rows else _NOTHING
        start = 0
        for timeline, count in parts:
            stop = start + count
            last = seqs[stop - 1]
            columns: EntryColumns = (
                seqs[start:stop], lsns[start:stop], times[start:stop], payloads[start:stop],
            )  # fmt: skip
            if timeline.patched is not None:
                columns = _patched(*columns, timeline.patched)
            for key, value, entries in encode_segments(
                timeline.id, *columns, options.segment_entries, options.segment_bytes
            ):
                batch.put(SEGMENTS, key, value)
                if 2 * entries < options.segment_entries and 2 * len(value) < options.segment_bytes:
                    self._note(timeline.id)
            written.append((timeline, count, last))
            start = stop

        def release() -> None:
            for timeline, count, last in written:
                memtable.sealed(timeline, count, last)
            self._done += len(written) + len(seqs)

        self._after.append(release)

    def _references(self, generation: Generation, inbox_ids: list[int], batch: Batch) -> None:
        number = generation.number
        inboxes = [generation.inboxes[inbox_id] for inbox_id in inbox_ids]
        before: list[bytes] = []
        segments: list[tuple[int, bytes]] = []
        shared = False
        for inbox in inboxes:
            references = inbox.immutable if inbox.generation > number else inbox.tail
            # Members of one group mostly have the same ones: to compare them costs a third.
            if references != before:
                before, shared = references, False
                segments = [
                    (lsn_of(run[-1]), begin_references(run))
                    for run in cut_references(references, REFERENCES_A_SEGMENT)
                ]
            elif not shared and len(references) >= _WORTH_COMPACTING:
                shared = True
                segments = [(last, compact_references(begun)) for last, begun in segments]
            for last, begun in segments:
                key = pair(inbox.id, last)
                batch.put(INBOXES, key, finish_references(key, begun))

        def release() -> None:
            for inbox in inboxes:
                if inbox.generation > number:
                    sealed, inbox.immutable = inbox.immutable, []
                else:
                    sealed, inbox.tail = inbox.tail, []
                self._expiry.grew(inbox.id, len(sealed))
            self._done += len(inboxes)

        self._after.append(release)

    def _chunks(
        self, items: Iterable[Any], write: Callable[[Batch, Any], None]
    ) -> Iterator[Callable[[Batch], None]]:
        """Slices of pairs, each in key order; ordering all of them at once would stall a group."""
        iterator = iter(items)
        while chunk := sorted(islice(iterator, 8 * _SLICE_OWNERS)):

            def step(batch: Batch, chunk: list[Any] = chunk) -> None:
                for item in chunk:
                    write(batch, item)
                self._after.append(lambda: self._advance(len(chunk)))

            yield step

    def _advance(self, count: int) -> None:
        self._done += count

    @staticmethod
    def _write_patches(batch: Batch, item: tuple[tuple[int, int], bytes]) -> None:
        (timeline_id, seq), payload = item
        batch.put(PATCHES, pair(timeline_id, seq), payload)

    @staticmethod
    def _write_state(batch: Batch, item: tuple[bytes, bytes | None]) -> None:
        """Write a value of state, but remove a membership that has ended: what it decides was
        delivered, and a pass writes in-boxes before state.
        """
        key, value = item
        if value is None or (key[:1] == AUDIENCE and value[-8:] != _OPEN):
            batch.delete(STATE, key)
        else:
            batch.put(STATE, key, value)

    def _write_garbage(self, batch: Batch, item: tuple[int, int | None]) -> None:
        """Delete the segments that lie wholly below `first`, or all of a dropped timeline, whose
        content is then to leave the files.

        Compaction drops the rest of a segment that was cut. Patches of trimmed entries stay until
        erasure finds them, which would not know of them otherwise.
        """
        timeline_id, first = item
        start = pair(timeline_id, 0)
        if first is not None:
            self._storage.clear(batch, SEGMENTS, start, pair(timeline_id, first))
            return
        stop = pair(timeline_id + 1, 0)
        gone = self._storage.clear(batch, SEGMENTS, start, stop)
        gone |= self._storage.clear(batch, PATCHES, start, stop)
        self._erasure.note(start, stop if gone else start, self._upto)
        self._storage.clear(batch, INBOXES, start, stop)

    def _finish(self, batch: Batch) -> None:
        progress = self._reached
        upto = self._upto
        further = progress.upto if progress.upto > upto else 0
        self._reached = progress._replace(sealed=upto, upto=further)
        self._expiry.keep(batch, upto, progress.time)
        self._after.append(self._release)

    def _release(self) -> None:
        self._memtable.release()
        self._steps = None
        self.passes += 1
        self._ended = time.monotonic()


def _patched(
    seqs: Sequence[int],
    lsns: Sequence[int],
    times: Sequence[int],
    payloads: Sequence[bytes],
    patches: Mapping[int, bytes],
) -> EntryColumns:
    """The entries with their patches, without those that were deleted."""
    present: list[bytes] = list(map(patches.get, seqs, payloads))
    kept = [index for index, payload in enumerate(present) if payload]
    return (
        array("Q", [seqs[index] for index in kept]),
        array("Q", [lsns[index] for index in kept]),
        array("Q", [times[index] for index in kept]),
        [present[index] for index in kept],
    )


def _sorted_chunks(objects: Mapping[int, object], size: int) -> Iterator[list[int]]:
    """The ids in ascending order, in lists of `size`. By numpy: another sort stalls a group."""
    ids = np.fromiter(objects, dtype=np.uint64, count=len(objects))
    ids.sort()
    for start in range(0, len(ids), size):
        yield ids[start : start + size].tolist()
