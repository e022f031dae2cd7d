"""Walking a family of rows past what RocksDB cannot read.

Rule: a damaged block hides a range of keys. The walk looks ahead, twice as far each time, until a
key can be read again. Then it searches back by halves for the first such key. It tells its caller
which range it could not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from timeline.errors import CorruptError
from timeline.storage.rocks import Storage

Pair = tuple[bytes, bytes]
Blind = Callable[[bytes, bytes | None, str], None]  # from, to (None: to the end), what RocksDB says

LAST = b"\xff" * 32  # above every key there may be
_WIDTH = 32  # bytes of a key that count when looking ahead


def walk(
    storage: Storage,
    family: str,
    start: bytes = b"",
    stop: bytes = LAST,
    blind: Blind | None = None,
) -> Iterator[Pair]:
    """The rows from `start` up to `stop`, exclusive. `blind` hears of each range that cannot be
    read.
    """
    while True:
        try:
            for key, value in storage.scan(family, start, stop):
                yield key, value
                start = key + b"\0"
        except CorruptError as error:
            found = _ahead(storage, family, start, stop)
            if blind is not None:
                blind(start, found, str(error))
            if found is None:
                return
            start = found
        else:
            return


def _ahead(storage: Storage, family: str, start: bytes, stop: bytes) -> bytes | None:
    """About the first key that can be read again; None when there is none."""
    low = int.from_bytes(start[:_WIDTH].ljust(_WIDTH, b"\0"), "big")
    end = int.from_bytes(stop[:_WIDTH].ljust(_WIDTH, b"\0"), "big")
    step = 1
    while True:
        high = min(low + step, end)
        if _clear(storage, family, high, stop):
            break
        if high >= end:
            return None
        step <<= 1
    while high - low > 1:
        middle = (low + high) // 2
        if _clear(storage, family, middle, stop):
            high = middle
        else:
            low = middle
    found = high.to_bytes(_WIDTH, "big")
    return None if storage.at_or_after(family, found, stop) is None else found


def _clear(storage: Storage, family: str, at: int, stop: bytes) -> bool:
    """Whether a scan could begin here: it meets a row that can be read, or the end."""
    try:
        storage.at_or_after(family, at.to_bytes(_WIDTH, "big"), stop)
    except CorruptError:
        return False
    return True
