"""State: small values by key, in memory and on the disk, read as one.

Responsibility: read what was applied, from the memtable first, then from the store. Commits write
it. The first byte of a key is its family, see `formats.keys`. The caller holds the engine's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timeline.lsm.memtable import Memtable
from timeline.storage.rocks import STATE, Storage


class State:
    def __init__(self, storage: Storage, memtable: Memtable) -> None:
        self._storage = storage
        self._memtable = memtable

    def get(self, key: bytes) -> bytes | None:
        known, value = self._memtable.state(key)
        return value if known else self._storage.get(STATE, key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key. For ascending keys a fraction of the cost of `get` for each."""
        values: list[bytes | None] = []
        below: list[int] = []  # places of those that only the storage may know
        for place, key in enumerate(keys):
            known, value = self._memtable.state(key)
            values.append(value)
            if not known:
                below.append(place)
        if len(below) == 1:
            values[below[0]] = self._storage.get(STATE, keys[below[0]])
        elif below:
            stored = self._storage.get_many(STATE, [keys[place] for place in below])
            for place, value in zip(below, stored, strict=True):
                values[place] = value
        return values

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs from `start` up to, without, `stop`, in order of keys, as of the first step."""
        return merge(self._storage.scan(STATE, start, stop), self._memtable.scan(start, stop))


def merge(
    below: Iterator[tuple[bytes, bytes]], above: Iterator[tuple[bytes, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """Two ascending runs of pairs as one, where `above` overrides and None removes."""
    lower = next(below, None)
    for key, value in above:
        while lower is not None and lower[0] < key:
            yield lower
            lower = next(below, None)
        if lower is not None and lower[0] == key:
            lower = next(below, None)
        if value is not None:
            yield key, value
    if lower is not None:
        yield lower
        yield from below
