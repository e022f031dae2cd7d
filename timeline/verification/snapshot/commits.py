"""The commit log of a store, which may be damaged: its unbroken runs of records, and its flaws.

Responsibility: give the records above the sealed LSN up to the first damage, as an opening applies
them, and those below that lead on to them, for followers. Say what is damaged and what that costs.

Rule: a run is unbroken when each record begins one LSN above the last one. The run that counts is
the one that leads on from the sealed LSN. What lies in others cannot be applied.

    sealed up to 10, records 1 to 4, 6 to 12, 14 to 20      the run from 6 to 12 counts

A store of format 2 keeps its log in files, one of format 1 in a family of RocksDB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.records import Record, decode_record
from timeline.log.salvage import Begin, Flaw, Piece, SalvagedFiles, Whole
from timeline.storage.rocks import FORMER_LOG, Storage
from timeline.verification.snapshot.findings import LOG, Finding
from timeline.verification.snapshot.walk import LAST, walk

Pieces = Callable[[int], Iterator[Piece]]  # those after an LSN, perhaps some before it


class Run(NamedTuple):
    """Records that follow one another. A run without a commit ends one below its first LSN."""

    first: int
    last: int

    def leads_on(self, lsn: int) -> bool:
        """Whether it goes on from commit `lsn`, or holds it."""
        return self.first - 1 <= lsn <= self.last


class Commits:
    """The records of a log that is sealed up to LSN `sealed`; those up to `marked` were
    acknowledged. `pieces` gives all that lies there, and `size` is how many bytes that takes.
    """

    def __init__(self, pieces: Pieces, size: int, sealed: int, marked: int) -> None:
        self._pieces = pieces
        self.size = size
        self.runs: list[Run] = []  # in the order in which they lie there
        self.findings = [*self._look(sealed, marked)]
        self._run = run_from(self.runs, sealed)
        self.last = sealed if self._run is None else self._run.last

    @property
    def first(self) -> int:
        """The lowest LSN of the run that counts; one above the last when there is none."""
        return self.last + 1 if self._run is None else self._run.first

    def _look(self, sealed: int, marked: int) -> Iterator[Finding]:
        """Find the runs; what is wrong between them."""
        told = False
        for piece in _decoded(self._pieces(0)):
            if isinstance(piece, Flaw):
                end = self.runs[-1].last if self.runs else 0
                if not piece.torn or end < max(marked, sealed):
                    told = told or piece.first > 0
                    yield _finding(piece, sealed, marked)
                continue
            last = piece.last if isinstance(piece, Record) else piece.first - 1
            if self.runs and piece.first == self.runs[-1].last + 1:
                self.runs[-1] = Run(self.runs[-1].first, last)
                continue
            if not self.runs and not told and piece.first > sealed + 1:
                text = (
                    f"the log begins at LSN {piece.first}, and only commits up to {sealed} are "
                    "sealed: those between are lost"
                )
                yield Finding(LOG, text, number=sealed + 1, lost=True)
            self.runs.append(Run(piece.first, last))

    def read(self, after: int, upto: int, most: int) -> list[tuple[int, int, bytes]]:
        """As `Records` has it."""
        found: list[tuple[int, int, bytes]] = []
        size = 0
        for first, last, body in self.replay(after):
            if last > upto or size >= most:
                break
            if last > after:
                found.append((first, last, body))
                size += len(body)
        return found

    def replay(self, after: int) -> Iterator[tuple[int, int, bytes]]:
        """As `Records` has it, of the run that counts."""
        run = self._run
        if run is None:
            return
        for record in self.records(run, max(after, run.first - 1)):
            yield record.first, record.last, record.value

    def close(self) -> None:
        """Let go of the files."""
        self._pieces = lambda _: iter(())
        self._run = None

    def records(self, run: Run, after: int) -> Iterator[Record]:
        """The records of a run that begin above LSN `after`."""
        reached = None
        for piece in _decoded(self._pieces(after)):
            if not isinstance(piece, Record):
                continue
            if reached is None and piece.first <= after + 1 <= piece.last + 1:
                reached = piece.first - 1
            if reached is None or piece.first != reached + 1:
                continue
            if piece.last > run.last:  # its owner has just written it
                return
            reached = piece.last
            if piece.first > after:
                yield piece


def run_from(runs: list[Run], lsn: int) -> Run | None:
    """The newest run that goes on from commit `lsn`, or holds it."""
    return next((run for run in reversed(runs) if run.leads_on(lsn)), None)


def in_files(files: SalvagedFiles, marked: int) -> Pieces:
    """What lies in the files of a log of format 2."""
    return lambda after: files.pieces(after, marked)


def in_family(storage: Storage) -> Pieces:
    """What lies in RocksDB as the log of a store of format 1."""
    return lambda after: _former(storage, after)


def _former(storage: Storage, after: int) -> Iterator[Piece]:
    if not storage.has_former_log:
        return
    reached: int | None = None
    start = keys.number(after + 1) if after else b""
    for key, value in walk(storage, FORMER_LOG, start, LAST):
        last = int.from_bytes(key, "big")
        try:
            record = decode_record(Lsn(keys.split_number(key)), value)
        except CorruptError as error:
            yield Flaw(str(error), last if reached is None else reached + 1, last)
            reached = last
            continue
        if reached is not None and record.first != reached + 1:
            text = f"the log goes from LSN {reached} to {record.first}"
            yield Flaw(text, reached + 1, record.first - 1)
        reached = last
        yield Whole(storage.path, record.first, record.last, value)


def _decoded(pieces: Iterator[Piece]) -> Iterator[Record | Begin | Flaw]:
    for piece in pieces:
        if not isinstance(piece, Whole):
            yield piece
            continue
        where, first, last, body = piece
        try:
            record = decode_record(Lsn(last), body)
            if record.first != first:
                raise CorruptError(f"{where}: it begins at LSN {record.first}, not at {first}")
        except CorruptError:
            yield Flaw(f"{where}: the record up to LSN {last} cannot be decoded", first, last)
        else:
            yield record


def _finding(flaw: Flaw, sealed: int, marked: int) -> Finding:
    text, first, upto, _ = flaw
    if not first:
        return Finding(LOG, f"{text}; nothing is lost with it")
    known, upto = upto is not None, marked if upto is None else upto
    if known and upto < first:
        return Finding(
            LOG,
            f"{text}: consumers that were moved before LSN {first} may stand where they stood",
            number=first,
            lost=first > sealed,
        )
    which = f"from LSN {first} " + (f"up to {upto}" if known else "on")
    if upto > sealed:
        follows = ", and what follows cannot be applied" if known else ""
        text = f"{text}: the commits {which} are lost there{follows}"
    else:
        text = f"{text}: followers of the log find nothing of the commits {which}; they are sealed"
    return Finding(LOG, text, number=first, lost=upto > sealed)
