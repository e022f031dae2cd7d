"""Files: whether RocksDB can read all that it keeps.

Checked: every block of every column family has the checksum that was written with it. The files of
the log are looked at elsewhere (`records`).

Example: a flipped bit in an `.sst` file. The keys of that block cannot be read, and the finding
says which timelines or users they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timeline.engine.store.directory import ROCKS
from timeline.errors import CorruptError, StorageError
from timeline.storage.salvage import sort_files
from timeline.verification.snapshot.affected import affected, may_lose
from timeline.verification.snapshot.findings import FILES, Finding
from timeline.verification.snapshot.shadow import Shadow
from timeline.verification.snapshot.snapshot import Snapshot
from timeline.verification.snapshot.walk import LAST, walk

_TRIES: Final = 25  # to read files that a daemon changes meanwhile


def check_files(snapshot: Snapshot) -> Iterator[Finding]:
    """Read every row, and every block where nothing is read any more."""
    found: list[Finding] = []

    def blind(start: bytes, stop: bytes | None, text: str) -> None:
        upto = "the end" if stop is None else stop.rstrip(b"\0").hex()
        found.append(
            Finding(
                FILES,
                f"family {family} cannot be read from {start.hex() or 'its beginning'} to {upto}; "
                f"{affected(snapshot, family, start, stop)}: {text}",
                lost=may_lose(family),
            )
        )

    for family in snapshot.families:
        for _ in snapshot.noted(walk(snapshot.storage, family, b"", LAST, blind)):
            pass
    yield from found or _check_unread(snapshot)


def _unreadable(snapshot: Snapshot) -> list[str]:
    """The tables that RocksDB cannot read from end to end. A running daemon may remove some while
    it reads: then it begins again.
    """
    rocks = snapshot.path / ROCKS
    for left in reversed(range(_TRIES)):
        before = {file.name for file in rocks.glob("*.sst")}
        shadow = Shadow(rocks)
        try:
            return sort_files(shadow.path, snapshot.options)
        except (CorruptError, StorageError):
            if not left or {file.name for file in rocks.glob("*.sst")} == before:
                raise
        finally:
            shadow.close()
    raise AssertionError


def _check_unread(snapshot: Snapshot) -> Iterator[Finding]:
    """Check the blocks that hold deleted rows only. No reader meets them, but a compaction does."""
    tables = set(snapshot.storage.tables())
    damaged = tables.intersection(_unreadable(snapshot))
    for name in sorted(damaged):
        if (snapshot.path / ROCKS / name).exists():  # a running daemon may have removed it
            yield Finding(
                FILES,
                f"{name} is damaged where nothing is read any more: nothing is lost, but RocksDB "
                "stops writing when it compacts that; run `timeline repair` on the stopped store",
            )
