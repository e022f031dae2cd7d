"""Erasure: what was replaced or deleted leaves the files.

Responsibility: remember which key ranges of segments and patches, and which part of the log, still
hold bytes that no reader may see. Rewrite those files on a thread. Forget a range when its files
have been rewritten.

Rule: a range is noted in the same write that removes the last other trace of it: the patch that is
folded in, or the row of the dropped timeline. It is forgotten in a write after the rewriting. So
after a crash, a stall or a failure a range may be done again, and none is left out. There are few
ranges. When there are too many, the nearest neighbours become one. That rewrites more than is
needed.

The caller holds the engine's lock, except where a method says otherwise. The store decides when
files are rewritten, and when the log may go.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from timeline.errors import TimelineError
from timeline.formats.rows import ErasureRow, decode_erasure, encode_erasure
from timeline.storage.rocks import INBOXES, META, PATCHES, SEGMENTS, Batch, Storage

ERASURE_KEY: Final = b"erasure"

_MOST_RANGES: Final = 64  # beyond that the nearest neighbours become one

Range = tuple[bytes, bytes]


class Erasure:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        value = storage.get(META, ERASURE_KEY)
        row = ErasureRow(0, ()) if value is None else decode_erasure(value)
        self._ranges: list[Range] = list(row.ranges)
        self._log = row.log  # up to which LSN the log holds what is to go; 0: nothing
        self._under_way: Sequence[Range] = ()  # what is being rewritten
        self._thread: threading.Thread | None = None
        self._inboxes = False  # whether those of in-boxes are too
        self._succeeded = False
        self._noted = False  # since it was last written

    # --- what is to be done -------------------------------------------------------------------

    @property
    def ranges(self) -> Sequence[Range]:
        """Of keys of segments and patches, whose files are to be rewritten."""
        return self._ranges

    @property
    def log(self) -> int:
        """Up to which LSN the log holds what is to go; 0 when it holds nothing."""
        return self._log

    def note(self, start: bytes, stop: bytes, lsn: int) -> None:
        """Note that files with keys from `start` up to, without, `stop`, and the log up to `lsn`,
        hold what is to go. An empty range notes the log alone. Call `keep` next, with the batch
        that makes it so.
        """
        if start < stop:
            self._ranges = add_range(self._ranges, start, stop)
        self._log = max(self._log, lsn)
        self._noted = True

    def log_begins(self, lsn: int) -> None:
        """The log holds nothing below LSN `lsn` any more."""
        if 0 < self._log < lsn:
            self._log = 0
            self._noted = True

    def keep(self, batch: Batch) -> None:
        """Write what was noted with `batch`; then call `kept`."""
        if self._noted:
            self._put(batch)

    def kept(self) -> None:
        self._noted = False

    def _put(self, batch: Batch) -> None:
        ranges = self._ranges
        for start, stop in self._under_way:
            ranges = add_range(ranges, start, stop)
        row = ErasureRow(self._log, tuple(ranges))
        if row.log or row.ranges:
            batch.put(META, ERASURE_KEY, encode_erasure(row))
        else:
            batch.delete(META, ERASURE_KEY)

    # --- doing it -----------------------------------------------------------------------------

    @property
    def rewriting(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def begin(self, *, inboxes: bool) -> None:
        """Rewrite the files of all ranges on a thread; with `inboxes` also those of in-boxes, of
        which some were deleted.
        """
        self._under_way = tuple(self._ranges)
        self._ranges = []
        self._inboxes = inboxes
        self._succeeded = False
        thread = threading.Thread(
            target=self._rewrite, args=(inboxes,), name="timeline-erase", daemon=True
        )
        thread.start()  # before others can see it, who wait for it
        self._thread = thread

    def _rewrite(self, inboxes: bool) -> None:
        # What fails here turns writing off, and is done over when the store was opened again.
        with suppress(TimelineError):
            done = self.rewrite(self._under_way)
            if inboxes:
                done &= self._storage.compact(INBOXES, None, None)
            self._succeeded = done

    def rewrite(self, ranges: Sequence[Range]) -> bool:
        """Make RocksDB drop from its files what was deleted in `ranges`. Returns whether it did.
        Called without the engine's lock.
        """
        done = True
        for start, stop in ranges:
            done &= self._storage.compact(SEGMENTS, start, stop, force=True)
            done &= self._storage.compact(PATCHES, start, stop, force=True)
        return done

    def conclude(self) -> bool:
        """Note what the thread has done, if it has ended. False when the files of in-boxes were to
        be rewritten and are not. After `StallError` call it again.
        """
        if self._thread is None or self._thread.is_alive():
            return True
        done = self._under_way
        self._under_way = ()
        if self._succeeded:
            batch = self._storage.batch()
            self._put(batch)
            try:
                self._storage.write(batch)
            except BaseException:
                self._under_way = done
                raise
        else:
            for start, stop in done:
                self._ranges = add_range(self._ranges, start, stop)
        self._thread = None
        return self._succeeded or not self._inboxes

    def wait(self) -> None:
        """Return when no files are being rewritten. Without the engine's lock."""
        thread = self._thread
        if thread is not None:
            thread.join()


def add_range(ranges: list[Range], start: bytes, stop: bytes) -> list[Range]:
    """Disjoint ranges in order, and one more, joined with those that it touches. When there are too
    many, the two nearest neighbours become one.
    """
    low = bisect_left(ranges, start, key=_stop)
    high = bisect_right(ranges, stop, low, key=_start)
    if low < high:
        start = min(start, ranges[low][0])
        stop = max(stop, ranges[high - 1][1])
    found = [*ranges[:low], (start, stop), *ranges[high:]]
    if len(found) > _MOST_RANGES:
        at = min(range(len(found) - 1), key=lambda at: _gap(found[at], found[at + 1]))
        found[at : at + 2] = [(found[at][0], found[at + 1][1])]
    return found


def _gap(one: Range, other: Range) -> int:
    return int.from_bytes(other[0], "big") - int.from_bytes(one[1], "big")


def _start(range_: Range) -> bytes:
    return range_[0]


def _stop(range_: Range) -> bytes:
    return range_[1]
