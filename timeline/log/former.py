"""The log of a store of format 1: records in a column family of RocksDB, which is only read.

Responsibility: give the records as the log of files does, so that a store of format 1 can be moved
on, checked and repaired.

Rule: nothing is written here. A record is found under its last LSN. Where one is missing the log
ends or begins anew: whoever reads sees that from the LSNs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.records import decode_record
from timeline.storage.rocks import FORMER_LOG, Storage


class FormerLog:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def last(self) -> int:
        """The last LSN, 0 when there is none. Raises `CorruptError` when it cannot be read."""
        newest = self._storage.at_or_before(FORMER_LOG, keys.number(keys.MAX), keys.number(0))
        return 0 if newest is None else keys.split_number(newest[0])

    @property
    def first(self) -> int:
        """The lowest LSN that is kept; one above the last when there is none."""
        oldest = self._storage.at_or_after(FORMER_LOG, keys.number(0), keys.number(keys.MAX))
        if oldest is None:
            return self.last + 1
        return decode_record(Lsn(keys.split_number(oldest[0])), oldest[1]).first

    @property
    def size(self) -> int:
        """Bytes that it takes, as RocksDB estimates."""
        return self._storage.measure("live-sst-files-size", FORMER_LOG)

    def leads_on(self, sealed: int) -> int:
        """The lowest LSN from which whole records follow one another up to LSN `sealed`. What lies
        below them is for followers only.
        """
        after = sealed
        with suppress(CorruptError):
            while (value := self._storage.get(FORMER_LOG, keys.number(after))) is not None:
                after = decode_record(Lsn(after), value).first - 1
        return after

    def replay(self, after: int) -> Iterator[tuple[int, int, bytes]]:
        """(first LSN, last LSN, record) of those that hold a commit above LSN `after`. Raises
        `CorruptError` for a damaged one.
        """
        pairs = self._storage.scan(FORMER_LOG, keys.number(after + 1), keys.number(keys.MAX))
        for key, value in pairs:
            record = decode_record(Lsn(keys.split_number(key)), value)
            yield record.first, record.last, value

    def read(self, after: int, upto: int, most: int) -> list[tuple[int, int, bytes]]:
        """As `replay`, of records that end at or below LSN `upto`: about `most` bytes of them, one
        at least.
        """
        found: list[tuple[int, int, bytes]] = []
        size = 0
        for first, last, value in self.replay(after):
            if last > upto or size >= most:
                break
            found.append((first, last, value))
            size += len(value)
        return found

    def close(self) -> None:
        """The storage belongs to others."""
