"""What the engine asks of its log, wherever the log is kept.

    Records     read what was written
    Ledger      write, too; one thread at a time does

Rule: this speaks of LSNs and records only, and of being durable. Nothing of files or fsync is seen
above it. The rest of this folder keeps a log in files of this machine. A replicated log can take
its place: there an append is a publish, and durable means that most machines have it.

A record is known by its first and last LSN. One without a commit has a last LSN one below its
first. It says all that such records said since the last commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from timeline.errors import StorageError, TimelineError


class LogFullError(StorageError):
    """The log cannot go on, mostly for want of room; nothing was written."""


class Part(NamedTuple):
    """A part of the log that can be let go as a whole: not the newest."""

    last: int  # LSN
    bytes: int
    time: int  # when the last commit in it was made, in ms, or a little later


class Records(Protocol):
    last: int  # the last LSN

    @property
    def first(self) -> int:
        """The lowest LSN that is kept; one above the last when there is none."""
        ...

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        ...

    def read(self, after: int, upto: int, most: int) -> list[tuple[int, int, bytes]]:
        """(first LSN, last LSN, record) of the records that hold a commit above LSN `after`, and
        none above `upto`: about `most` bytes of them, one at least. Raises `TrimmedError` when they
        are no longer kept, and `CorruptError`.
        """
        ...

    def replay(self, after: int) -> Iterator[tuple[int, int, bytes]]:
        """The same of all that was written after commit `after`, up to the end as of now, also of
        records without a commit. What is deleted meanwhile can still be read.
        """
        ...

    def close(self) -> None:
        """Let go of what is open. Reading raises `ClosedError` from then on."""
        ...


class Ledger(Records, Protocol):
    @property
    def parts(self) -> Sequence[Part]:
        """The parts that can be let go, the oldest first."""
        ...

    @property
    def failed(self) -> TimelineError | None:
        """What a write or a flush failed with: nothing is taken until `heal` returns."""
        ...

    def append(self, first: int, last: int, body: bytes, now: int, *, sync: bool = True) -> None:
        """Append a record, made at time `now` (ms), after the last one; with `sync` durably. After
        `StallError` and `LogFullError` nothing was written. After another error that is not known,
        and nothing more is taken until `heal` returns.
        """
        ...

    def sync(self) -> None:
        """Make everything appended durable. Raises as `append`."""
        ...

    def heal(self, now: int) -> None:
        """Make what was appended durable after a failure, and take records again. Raises as
        `append`; call it again then.
        """
        ...

    def turn(self, upto: int, now: int) -> bool:
        """Begin another part, unless the present one holds only what lies above LSN `upto`, so that
        what lies below can be let go. False: call it again soon. Raises as `append`.
        """
        ...

    def let_go(self, upto: int) -> None:
        """Delete the parts that hold no commit above LSN `upto`."""
        ...
