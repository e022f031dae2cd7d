"""Expiry: in-boxes drop references that are so old, or so many, that no device may ask for them.

Responsibility: keep the floor of all in-boxes, move it up as time goes by, and delete from the disk
what lies below it, some in-boxes at a time.

Rule: the floor is an LSN. What commits up to the floor delivered counts as gone from every in-box,
even while it is still on the disk: readers stop at the floor, and a position below it leads
nowhere. The floor moves to a mark. A mark says by what time the commits up to an LSN were made.
Each pass of sealing makes one, and so does each record replayed. Of three marks within a sixteenth
of `inbox_age_ms` the middle one goes. So a reference stays for that age, and at most a sixteenth
longer, and nothing is kept for each commit.

    inbox_age_ms of 90 days     a reference stays for 90 to 96 days

An in-box that holds more than `inbox_references`, a home with more than `home_references`, or one
of notes with more than `note_references` gets a floor of its own, too. It is counted again when an
eighth of that number has come since the last count, or since the store was opened.

Floors, marks and deletions are written as sealing writes. RocksDB brings them to the disk in their
order. So a crash that takes the floor back brings the rows below it back, and no
floor on the disk is above the sealed LSN. The caller holds the engine's lock.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from timeline.errors import CorruptError
from timeline.formats.keys import MAX, pair, split_pair
from timeline.formats.names import HOMES, NOTES
from timeline.formats.numbers import Lsn
from timeline.formats.references import count_references, decode_floor, encode_floor
from timeline.formats.rows import ExpiryRow, decode_expiry, encode_expiry
from timeline.lsm.inboxes import Inboxes
from timeline.options import Options
from timeline.storage.rocks import INBOXES, META, Batch, Storage

EXPIRY_KEY: Final = b"expiry"

_MARKS_IN_AGE: Final = 16  # marks within `inbox_age_ms`, about
_SLICE_INBOXES: Final = 32  # in-boxes swept in one slice at most
_SLICE_DELETIONS: Final = 256  # deletions after which a slice of the sweep ends
_SLICE_SEGMENTS: Final = 64  # segments whose references are counted in one slice at most
_COUNTS_IN_LIMIT: Final = 8  # how often it is counted while as many references come as it keeps
_NOTED_INBOXES: Final = 100_000  # in-boxes whose growth is remembered at most


class Expiry:
    def __init__(
        self,
        storage: Storage,
        inboxes: Inboxes,
        options: Options,
        name_of: Callable[[int], bytes | None],
    ) -> None:
        """`name_of` gives the name of an in-box; None when there is none."""
        self._storage = storage
        self._inboxes = inboxes
        self._name_of = name_of
        self._age = options.inbox_age_ms
        self._period = options.retention_check_ms / 1000
        self._next_round = 0.0
        self._position = 0  # the in-box at which the sweep goes on
        value = storage.get(META, EXPIRY_KEY)
        self._row = ExpiryRow(0, 0, ()) if value is None else decode_expiry(value)
        inboxes.floor = Lsn(self._row.floor)
        # How many references an in-box keeps at least, by how its name begins; 0: all.
        self._most = {HOMES: options.home_references, NOTES: options.note_references}
        self._most_of_others = options.inbox_references
        self._least = min(filter(None, (*self._most.values(), self._most_of_others)), default=0)
        self._grown: OrderedDict[int, int] = OrderedDict()  # in-box → references noted
        self._ready: OrderedDict[int, tuple[int, int]] = OrderedDict()  # in-box → count so far
        self.deleted = False  # since the files were last rewritten

    @property
    def due(self) -> bool:
        """Whether there is something to go on with at once."""
        return self.sweeping or bool(self._ready)

    @property
    def sweeping(self) -> bool:
        """Whether rows below the floor may be left on the disk."""
        return self._row.swept < self._row.floor

    def note(self, lsn: int, now: int) -> None:
        """Make a mark: commits up to `lsn` were made by time `now`."""
        if not self._age:
            return
        # No commit is later than one that follows it: a mark of a clock that was ahead comes down.
        marks = tuple((upto, min(time, now)) for upto, time in self._row.marks)
        if len(marks) > 1 and now - marks[-2][1] < self._age // _MARKS_IN_AGE:
            marks = marks[:-1]  # the new one takes the place of the last
        # Of those that are old enough only the last will ever be asked for.
        old = bisect_right(marks, now - self._age, key=_time)
        self._row = self._row._replace(marks=(*marks[max(0, old - 1) :], (lsn, now)))

    def keep(self, batch: Batch, lsn: int, now: int) -> None:
        """Make a mark, and write all with `batch`, which ends a pass of sealing up to `lsn`."""
        self.note(lsn, now)
        if self._row.marks:
            batch.put(META, EXPIRY_KEY, encode_expiry(self._row))

    def step(self, now: int) -> None:
        """Do a slice of the sweep, or move the floor when that is due. Raises what storage does."""
        if self.sweeping:
            self._sweep()
        elif self._ready:
            inbox_id, so_far = self._ready.popitem(last=False)
            further = self._count(inbox_id, *so_far)  # where it fails, later growth brings it back
            if further is not None:
                self._ready[inbox_id] = further
        elif self._age and time.monotonic() >= self._next_round:
            self._next_round = time.monotonic() + self._period
            marks = self._row.marks
            old = min(
                bisect_right(marks, now - self._age, key=_time),
                bisect_right(marks, self._inboxes.sealed, key=_lsn),
            )
            if old:
                row = ExpiryRow(marks[old - 1][0], self._row.swept, marks[old:])
                self._write(self._storage.batch(), row)

    def grew(self, inbox_id: int, count: int) -> None:
        """`count` more references of an in-box were sealed."""
        if not self._least:
            return
        count += self._grown.pop(inbox_id, 0)
        most = self._most_of(inbox_id) if count * _COUNTS_IN_LIMIT > self._least else MAX
        if count * _COUNTS_IN_LIMIT > most > 0:
            self._ready.setdefault(inbox_id, (MAX, 0))
        else:
            self._grown[inbox_id] = count
            if len(self._grown) > _NOTED_INBOXES:
                self._grown.popitem(last=False)

    def _most_of(self, inbox_id: int) -> int:
        """How many references an in-box keeps at least; 0: all."""
        name = self._name_of(inbox_id)
        kind = b"" if name is None else name[: name.find(b":") + 1]
        return self._most.get(kind, self._most_of_others)

    def _count(self, inbox_id: int, position: int, count: int) -> tuple[int, int] | None:
        """Count references back from `position`; `count` lie above it. Make a floor below as many
        as are kept. Returns the position and count to go on with, None when all is done.
        """
        start, most = pair(inbox_id, 1), self._most_of(inbox_id)
        if not most:  # it has been dropped since
            return None
        segments = self._storage.scan_back(INBOXES, pair(inbox_id, position), start)
        for looked, (key, value) in enumerate(segments):
            if looked == _SLICE_SEGMENTS:
                return position, count
            last = split_pair(key)[1]
            if count >= most:
                batch = self._storage.batch()
                batch.put(INBOXES, pair(inbox_id, 0), encode_floor(pair(inbox_id, 0), last))
                self._storage.clear(batch, INBOXES, start, pair(inbox_id, last + 1))
                self._storage.write(batch)
                self._inboxes.inbox(inbox_id).floor = Lsn(last)
                return None
            position, count = last - 1, count + count_references(value)
        return None

    def _sweep(self) -> None:
        """Delete the rows below the floor of the next in-boxes."""
        batch, row = self._storage.batch(), self._row
        position = self._position
        for _ in range(_SLICE_INBOXES):
            found = self._storage.at_or_after(INBOXES, pair(position, 0), pair(MAX, MAX))
            if found is None:
                position = 0
                row = row._replace(swept=row.floor)
                break
            inbox_id, last = split_pair(found[0])
            if last <= row.floor and not (last == 0 and _stays(*found, row.floor)):
                stop = pair(inbox_id, row.floor + 1)
                self._storage.clear(batch, INBOXES, pair(inbox_id, 0), stop)
            position = inbox_id + 1
            if len(batch) >= _SLICE_DELETIONS:
                break
        self.deleted = self.deleted or len(batch) > 0
        self._write(batch, row)
        self._position = position

    def _write(self, batch: Batch, row: ExpiryRow) -> None:
        if row != self._row:
            batch.put(META, EXPIRY_KEY, encode_expiry(row))
        if len(batch):
            self._storage.write(batch)
        self._row = row
        self._inboxes.floor = Lsn(row.floor)


def _stays(key: bytes, value: bytes, floor: int) -> bool:
    """Whether the floor of one in-box is above `floor`, so that it must stay. What lies below it
    went when it was made.

    A damaged one stays, with all of its in-box: readers of that get an error.
    """
    try:
        return decode_floor(key, value) > floor
    except CorruptError:
        return True


def _lsn(mark: tuple[int, int]) -> int:
    return mark[0]


def _time(mark: tuple[int, int]) -> int:
    return mark[1]
