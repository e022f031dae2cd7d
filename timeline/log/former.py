"""The log of a store of format 1: records in a column family of RocksDB, which is only read.

Responsibility: give the records in order, so that a store of format 1 can be moved on.

Rule: nothing is written here. A record is found under its last LSN. Where one is missing the log
ends or begins anew: whoever reads sees that from the LSNs.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.numbers import Lsn
from timeline.formats.records import Record, decode_record
from timeline.storage.rocks import FORMER_LOG, Storage


def leads_on_to(storage: Storage, sealed: int) -> int:
    """The lowest LSN from which whole records follow one another up to LSN `sealed`. What lies
    below them is for followers only.
    """
    after = sealed
    with suppress(CorruptError):
        while (value := storage.get(FORMER_LOG, keys.number(after))) is not None:
            after = decode_record(Lsn(after), value).first - 1
    return after


def former_records(storage: Storage, after: int) -> Generator[Record, None, None]:
    """The records that hold a commit above LSN `after`. Raises `CorruptError` for a damaged one.
    Close it, or exhaust it, before closing the storage.
    """
    pairs = storage.scan(FORMER_LOG, keys.number(after + 1), keys.number(keys.MAX))
    for key, value in pairs:
        yield decode_record(Lsn(keys.split_number(key)), value)
