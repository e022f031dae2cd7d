"""Pairs by owner: what each of many ids has in a column family whose keys begin with an id.

Rule: one iterator goes forward over all owners. It seeks only where it would have to step over the
pairs of others. A damaged block is an error, never an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from rocksdict import RdictIter

from timeline.formats.keys import pair

Pair: TypeAlias = tuple[bytes, bytes]


def pairs_of_owners(
    iterator: RdictIter, owners: Iterable[int], position: int, most: int, most_bytes: int
) -> Iterator[tuple[list[Pair], bool]]:
    """The pairs of each of `owners`, which ascend, and whether it has more of them than are given
    here; those of the first one from `position` on.

    They are at most `most`. They end with the one that makes them `most_bytes` long, but are two
    at least where there are so many.
    """
    key_of, value_of, step = iterator.key, iterator.value, iterator.next
    key: bytes | None = b""
    for owner in owners:
        start = pair(owner, position)
        position = 0
        if key is not None and key < start:
            iterator.seek(start)
            key = key_of()
        found: list[Pair] = []
        more = False
        if key is not None and key[:8] == start[:8]:
            prefix = start[:8]
            size = 0
            while key is not None and key[:8] == prefix:
                if len(found) == most or (size >= most_bytes and len(found) > 1):
                    more = True
                    break
                value = value_of()
                found.append((key, value))
                size += len(value)
                step()
                key = key_of()
        if key is None:
            iterator.status()
        yield found, more
